"""One BOP scene folder: its files by image number and its table of cameras."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from self6d.datasets.camera_files import is_transposed, matrix, stated_size
from self6d.datasets.distortion import stated_distortion
from self6d.datasets.images import DEPTH_SUFFIXES, RGB_SUFFIXES
from self6d.datasets.intrinsics import (
    Intrinsics,
    read_intrinsics,
)
from self6d.datasets.pairing import once
from self6d.errors import InputError
from self6d.files import note, read_json, read_text

_ENTRY = re.compile(r'"(\d{1,15})"\s*:\s*(\{[^{}]*\})')
_PLAIN = frozenset(("cam_K", "depth_scale", "cam_R_w2c", "cam_t_w2c", "view_level"))
_SENSOR_CAMERA = re.compile(r"scene_camera_(\w+)\.json")
SPLITS = ("test", "train", "val")  # how the names of splits begin
_SCENE_NAME = re.compile(r"(?:scene[_-]?)?(\d{1,9})$", re.IGNORECASE)


@dataclass(eq=False)
class Scene:
    """One scene folder: file names by image id and the table of its cameras.

    Attributes:
        sensor: which of several cameras, "" where there is one.
        K: (N, 3, 3) float64, pixels, pixel centres at whole numbers, by `row`.
        mm_per_unit: (N,) float64, BOP's depth_scale.
        stated: by row, what else a camera file says of some cameras: size, distortion.
    """

    folder: Path
    scene_id: int
    rgb: dict[int, str]
    depth: dict[int, str]
    row: dict[int, int]
    K: np.ndarray
    mm_per_unit: np.ndarray
    stated: dict[int, Intrinsics]
    sensor: str = ""

    def part(self, name: str) -> Path:
        """A file or folder of the scene by its plain name, such as depth or scene_gt.json."""
        return self.folder / of_sensor(name, self.sensor)

    @property
    def image_ids(self) -> list[int]:
        return sorted(i for i in self.rgb if i in self.row)

    def rgb_path(self, image_id: int) -> Path:
        return self.folder / self.rgb[image_id]

    def depth_path(self, image_id: int) -> Path | None:
        name = self.depth.get(image_id)
        return None if name is None else self.folder / name

    def intrinsics(self, image_id: int) -> Intrinsics:
        row = self.row[image_id]
        return self.stated.get(row) or Intrinsics(
            self.K[row], source=self.part("scene_camera.json")
        )

    def metres_per_unit(self, image_id: int) -> float:
        return float(self.mm_per_unit[self.row[image_id]]) / 1000


def of_sensor(name: str, sensor: str) -> str:
    """What a multi-sensor set calls a part of a scene: depth_cam1, scene_gt_cam1.json."""
    stem, dot, suffix = name.partition(".")
    return f"{stem}_{sensor}{dot}{suffix}" if sensor else name


def sensors_of(folder: Path) -> list[str]:
    """Cameras of a scene whose parts bear their names, those with colour and depth first."""
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except OSError:
        return []
    cameras = [m.group(1) for name in names if (m := _SENSOR_CAMERA.fullmatch(name))]
    cameras = [c for c in cameras if {f"rgb_{c}", f"gray_{c}"} & names]
    return sorted(cameras, key=lambda c: (f"rgb_{c}" not in names, f"depth_{c}" not in names, c))


def open_scene(folder: Path, sensor: str = "") -> Scene:
    """List a scene folder without opening its images."""
    match = _SCENE_NAME.match(folder.name)
    scene_id = int(match.group(1)) if match else 0
    rgb = numbered_images(folder, of_sensor("rgb", sensor), RGB_SUFFIXES)
    if not rgb:
        rgb = numbered_images(folder, of_sensor("gray", sensor), RGB_SUFFIXES)
    if not rgb:
        raise InputError(
            "scene has no images", path=folder, remedy="Put them into rgb/ as 000000.png or .jpg."
        )
    depth = numbered_images(folder, of_sensor("depth", sensor), DEPTH_SUFFIXES)
    scene = Scene(folder, scene_id, rgb, depth, *_camera_table(folder, rgb, sensor), sensor)
    _note_pairs(scene)
    return scene


def _note_pairs(scene: Scene) -> None:
    path = scene.part("scene_camera.json")
    cameraless = len(scene.rgb.keys() - scene.row.keys())
    if cameraless:
        note(path, f"states no camera for {cameraless} of {len(scene.rgb)} images; left out")
    imageless = len(scene.row.keys() - scene.rgb.keys())
    if imageless:
        note(path, f"names {imageless} images that are not there; left out")
    depthless = len(scene.rgb.keys() - scene.depth.keys())
    if scene.depth and depthless:
        note(scene.part("depth"), f"{depthless} of {len(scene.rgb)} frames have no depth")


def numbered_images(folder: Path, sub: str, suffixes: tuple[str, ...]) -> dict[int, str]:
    """Image number -> path below `folder`, for files of `sub` named by a number."""
    names = []
    try:
        with os.scandir(folder / sub) as entries:
            for entry in entries:
                name = entry.name
                stem, _, suffix = name.rpartition(".")
                if stem.isdecimal() and len(stem) < 16 and f".{suffix.lower()}" in suffixes:
                    names.append(name)
    except OSError:
        return {}
    if len({name.rpartition(".")[0] for name in names}) < len(names):
        kind = "depth" if sub.startswith("depth") else "colour"
        names = once(sorted(names), folder / sub, kind)
    return {int(name.rpartition(".")[0]): f"{sub}/{name}" for name in names}


def _camera_table(
    folder: Path, rgb: dict[int, str], sensor: str
) -> tuple[dict[int, int], np.ndarray, np.ndarray, dict[int, Intrinsics]]:
    path = folder / of_sensor("scene_camera.json", sensor)
    if not path.is_file():
        return _one_camera(folder, rgb)
    text = read_text(path, "scene camera file")
    rows, entries = _distinct_entries(text) or _all_entries(read_json(path, "scene camera file"))
    try:
        row = {int(image): n for image, n in rows}
        K = np.array([entry["cam_K"] for entry in entries], dtype=np.float64)
        K = K.reshape(len(entries), 3, 3)
        scales = [entry.get("depth_scale", 1.0) for entry in entries]
        scale = np.array(scales, dtype=np.float64).reshape(len(entries))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise _first_fault(read_json(path, "scene camera file"), path) from None
    good = np.isfinite(scale) & (scale > 0)
    if not good.all():
        image = next(image for image, n in row.items() if not good[n])
        raise InputError(
            f"depth_scale of image {image} is not a positive number",
            path=path,
            remedy="State the millimetres of one depth unit, 1.0 for depth in millimetres.",
        )
    turned = is_transposed(K)
    if turned.any():
        note(path, f"camera matrices of {turned.sum()} entries read as columns first")
        K[turned] = K[turned].transpose(0, 2, 1)
    more = ((n, entry) for n, entry in enumerate(entries) if not _PLAIN.issuperset(entry))
    stated = {n: _stated(K[n], entry, path) for n, entry in more}
    return row, K, scale, stated


def _stated(K: np.ndarray, entry: dict, path: Path) -> Intrinsics:
    return Intrinsics(
        K, *stated_size(entry), source=path, distortion=stated_distortion([entry], path)
    )


def _distinct_entries(text: str) -> tuple[list[tuple[str, int]], list[dict]] | None:
    """Image number and index of its entry, and the distinct entries of a regular file.

    Most recordings state one camera again for every frame: parsing it once makes 100 000 frames
    a matter of a tenth of a second. None where the file is not as regular as that.
    """
    found = _ENTRY.findall(text)
    if not found or text.count("{") != len(found) + 1 or text.count(":") < 2 * len(found):
        return None
    index: dict[str, int] = {}
    rows = [(image, index.setdefault(entry, len(index))) for image, entry in found]
    try:
        return rows, [json.loads(entry) for entry in index]
    except (ValueError, RecursionError):
        return None


def _all_entries(table: dict) -> tuple[list[tuple[str, int]], list]:
    return [(image, n) for n, image in enumerate(table)], list(table.values())


def _first_fault(table: dict, path: Path) -> InputError:
    """The entry that kept the camera table from being read as a whole."""
    remedy = 'Write {"0": {"cam_K": [fx, 0, cx, 0, fy, cy, 0, 0, 1], "depth_scale": 1.0}}.'
    for image, entry in table.items():
        if not str(image).isdecimal():
            return InputError(f"image '{image}' is not a number", path=path, remedy=remedy)
        if not isinstance(entry, dict) or "cam_K" not in entry:
            return InputError(f"image {image} has no cam_K", path=path, remedy=remedy)
        try:
            matrix(entry["cam_K"], path)
            float(entry.get("depth_scale", 1.0))
        except InputError as error:
            return InputError(f"image {image}: {error.what}", path=path, remedy=remedy)
        except (TypeError, ValueError, OverflowError):
            return InputError(f"image {image}: depth_scale is no number", path=path, remedy=remedy)
    return InputError("camera matrices differ in shape", path=path, remedy=remedy)


def _one_camera(
    folder: Path, rgb: dict[int, str]
) -> tuple[dict[int, int], np.ndarray, np.ndarray, dict[int, Intrinsics]]:
    """The dataset's camera.json stands in for a missing scene_camera.json."""
    for parent in scene_levels(folder):
        sensor = folder.absolute().parent.name.rpartition("_")[2]  # test_kinect: camera_kinect.json
        names = ("camera.json", f"camera_{sensor}.json")
        path = next((parent / n for n in names if (parent / n).is_file()), None)
        if path is not None:
            intrinsics = read_intrinsics(path)
            note(folder, f"has no scene_camera.json; the dataset's {path.name} is used")
            scale = np.array([intrinsics.depth_scale or 1.0])
            return dict.fromkeys(rgb, 0), intrinsics.K[None], scale, {0: intrinsics}
    raise InputError(
        "scene has no scene_camera.json, so its intrinsics are unknown",
        path=folder,
        remedy="Add it, or a camera.json with fx, fy, cx, cy, depth_scale in the dataset's folder.",
    )


def scene_groups(path: Path, depth: int = 2) -> dict[str, list[Path]]:
    """Scene folders at or below `path`, by the folder (relative to it) that holds them."""
    if _is_scene(path):
        return {".": [path]}
    groups: dict[str, list[Path]] = {}
    for child in _folders(path):
        if _SCENE_NAME.match(child.name) and _is_scene(child):
            groups.setdefault(".", []).append(child)
        elif depth and not child.name.startswith(("models", ".")):
            for name, scenes in scene_groups(child, depth - 1).items():
                if name == "." and scenes == [child]:
                    continue  # a scene whose folder has no number
                groups[child.name if name == "." else f"{child.name}/{name}"] = scenes
    return groups


def _is_scene(folder: Path) -> bool:
    """scene_gt.json alone also accompanies single images, so it counts beside an image folder."""
    if (folder / "scene_camera.json").is_file():
        return True
    if (folder / "scene_gt.json").is_file():
        return any((folder / name).is_dir() for name in ("rgb", "gray"))
    return bool(_SCENE_NAME.match(folder.name) and sensors_of(folder))


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir())
    except OSError:
        return []


def scene_levels(scene: Path) -> list[Path]:
    """The folders a scene belongs to, innermost first: scene, split, dataset."""
    split = scene.absolute().parent
    named = split.name.startswith(SPLITS)
    return [scene, split, split.parent] if named else [scene, split]
