"""BOP layout: ROOT/SPLIT/SCENE/{rgb|gray, depth, scene_camera.json, scene_gt.json, ...}.

Source: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.images import (
    DEPTH_SUFFIXES,
    RGB_SUFFIXES,
    read_mask,
)
from self6d.datasets.intrinsics import Intrinsics, matrix, read_intrinsics
from self6d.datasets.labels import box_from_bop, pose_from_bop
from self6d.datasets.recording import FrameSource, Recording, Truth, read_frame, splits_file
from self6d.errors import InputError
from self6d.files import note, read_json
from self6d.scene import GroundTruth

_SCENE_NAME = re.compile(r"(?:scene[_-]?)?(\d{1,9})$", re.IGNORECASE)
_LABEL_SCENES = 4  # scenes whose parsed labels stay in memory


class BopRecording(Recording):
    """A BOP dataset, one of its splits, or one scene."""

    kind = "bop"

    def __init__(self, root: Path, scenes: list[Scene], **options: Any) -> None:
        self._scenes = {scene.scene_id: scene for scene in scenes}
        self._labels: OrderedDict[tuple[int, str], dict] = OrderedDict()
        self._folders: dict[str, Path] = options.pop("folders", {})
        keys = [FrameKey(s.scene_id, i) for s in scenes for i in s.image_ids]
        super().__init__(root, keys, **options)

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames of a BOP folder.

        Raises:
            InputError: no scene in it, or a scene without images or camera.
        """
        groups = scene_groups(path)
        if not groups:
            raise InputError(
                "holds no BOP scene",
                path=path,
                remedy="A scene folder has a number as its name and a scene_camera.json in it.",
            )
        chosen = min(groups, key=_preference)
        scenes = sorted((open_scene(f) for f in groups[chosen]), key=lambda s: s.scene_id)
        if len(groups) > 1:
            others = ", ".join(sorted(g for g in groups if g != chosen))
            reason = f"{reason}; frames of '{chosen}' (also there, as splits: {others})"
        levels = [*_levels(scenes[0].folder), path]
        recording = cls(
            path,
            scenes,
            reason=reason,
            models_path=_models_path(levels),
            folders={name: path / name for name in groups if name != chosen},
        )
        for folder in dict.fromkeys(f.absolute() for f in reversed(levels)):
            recording._splits.update(splits_file(folder, recording.keys))
            recording._splits.update(target_splits(folder))
        return recording

    def split_names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._splits, *self._folders}))

    def split(self, name: str) -> Self:
        if name in self._folders and name not in self._splits:
            return type(self).open(self._folders[name], reason=f"folder '{name}' of {self.root}")
        return super().split(name)

    def scene_folder(self, scene_id: int) -> Path:
        """Folder of a scene."""
        return self._scenes[scene_id].folder

    def source(self, key: FrameKey) -> FrameSource:
        scene = self._scenes[key.scene_id]
        return FrameSource(
            f"{scene.folder.name}/{key.image_id:06d}",
            scene.rgb_path(key.image_id),
            scene.depth_path(key.image_id),
            scene.metres_per_unit(key.image_id),
            scene.intrinsics(key.image_id),
        )

    def _truth(self, key: FrameKey) -> Truth:
        return self._instances(key, "scene_gt.json")

    def upper_bound(self, index: int) -> Truth:
        key = self.keys[index]
        held_back = self._instances(key, "scene_gt_upper_bound_only.json")
        return held_back or self._truth(key)

    def _instances(self, key: FrameKey, file_name: str) -> Truth:
        scene = self._scenes[key.scene_id]
        image = str(key.image_id)
        entries = self._table(key.scene_id, file_name).get(image, [])
        info = self._table(key.scene_id, "scene_gt_info.json").get(image, [])
        path = scene.folder / file_name
        if not isinstance(entries, list) or not isinstance(info, list):
            raise InputError(
                f"labels of image {image} are not a list",
                path=path,
                remedy="Write one a BOP frame.",
            )
        size = None
        truths = []
        for number, entry in enumerate(entries):
            object_id, pose = pose_from_bop(entry, path, image)
            extra = info[number] if len(info) == len(entries) else {}
            mask_path = scene.folder / "mask_visib" / f"{key.image_id:06d}_{number:06d}.png"
            mask = None
            if mask_path.is_file():
                size = size or read_frame(key, self.source(key)).camera.size
                mask = read_mask(mask_path, size)
            fraction, box = box_from_bop(extra, path)
            truths.append(GroundTruth(object_id, pose, fraction, mask, box))
        return tuple(truths)

    def _table(self, scene_id: int, file_name: str) -> dict:
        address = (scene_id, file_name)
        if address not in self._labels:
            path = self._scenes[scene_id].folder / file_name
            self._labels[address] = read_json(path, "label file") if path.is_file() else {}
            while len(self._labels) > 3 * _LABEL_SCENES:
                self._labels.popitem(last=False)
        self._labels.move_to_end(address)
        return self._labels[address]


@dataclass(eq=False)
class Scene:
    """One scene folder: file names by image id and the table of its cameras.

    Attributes:
        K: (N, 3, 3) float64, pixels, pixel centres at whole numbers, by `row`.
        mm_per_unit: (N,) float64, BOP's depth_scale.
    """

    folder: Path
    scene_id: int
    rgb: dict[int, str]
    depth: dict[int, str]
    row: dict[int, int]
    K: np.ndarray
    mm_per_unit: np.ndarray

    @property
    def image_ids(self) -> list[int]:
        return sorted(i for i in self.rgb if i in self.row)

    def rgb_path(self, image_id: int) -> Path:
        return self.folder / self.rgb[image_id]

    def depth_path(self, image_id: int) -> Path | None:
        name = self.depth.get(image_id)
        return None if name is None else self.folder / name

    def intrinsics(self, image_id: int) -> Intrinsics:
        return Intrinsics(self.K[self.row[image_id]], source=self.folder / "scene_camera.json")

    def metres_per_unit(self, image_id: int) -> float:
        return float(self.mm_per_unit[self.row[image_id]]) / 1000


def open_scene(folder: Path) -> Scene:
    """List a scene folder without opening its images."""
    match = _SCENE_NAME.match(folder.name)
    scene_id = int(match.group(1)) if match else 0
    rgb = numbered_images(folder, "rgb", RGB_SUFFIXES)
    if not rgb:
        rgb = numbered_images(folder, "gray", RGB_SUFFIXES)
    if not rgb:
        raise InputError(
            "scene has no images", path=folder, remedy="Put them into rgb/ as 000000.png or .jpg."
        )
    depth = numbered_images(folder, "depth", DEPTH_SUFFIXES)
    scene = Scene(folder, scene_id, rgb, depth, *_camera_table(folder, rgb))
    _note_pairs(scene)
    return scene


def _note_pairs(scene: Scene) -> None:
    path = scene.folder / "scene_camera.json"
    cameraless = len(scene.rgb.keys() - scene.row.keys())
    if cameraless:
        note(path, f"states no camera for {cameraless} of {len(scene.rgb)} images; left out")
    imageless = len(scene.row.keys() - scene.rgb.keys())
    if imageless:
        note(path, f"names {imageless} images that are not there; left out")
    depthless = len(scene.rgb.keys() - scene.depth.keys())
    if scene.depth and depthless:
        note(scene.folder / "depth", f"{depthless} of {len(scene.rgb)} frames have no depth")


def numbered_images(folder: Path, sub: str, suffixes: tuple[str, ...]) -> dict[int, str]:
    """Image number -> path below `folder`, for files of `sub` named by a number."""
    found: dict[int, str] = {}
    try:
        with os.scandir(folder / sub) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if stem.isdecimal() and len(stem) < 16 and suffix.lower() in suffixes:
                    found[int(stem)] = f"{sub}/{entry.name}"
    except OSError:
        return {}
    return found


def _camera_table(
    folder: Path, rgb: dict[int, str]
) -> tuple[dict[int, int], np.ndarray, np.ndarray]:
    path = folder / "scene_camera.json"
    if not path.is_file():
        return _one_camera(folder, rgb)
    table = read_json(path, "scene camera file")
    try:
        row = {int(image): n for n, image in enumerate(table)}
        K = np.array([entry["cam_K"] for entry in table.values()], dtype=np.float64)
        K = K.reshape(len(row), 3, 3)
        scales = [entry.get("depth_scale", 1.0) for entry in table.values()]
        scale = np.array(scales, dtype=np.float64).reshape(len(row))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise _first_fault(table, path) from None
    if not (np.isfinite(scale) & (scale > 0)).all():
        bad = list(row)[int(np.argmin(np.isfinite(scale) & (scale > 0)))]
        raise InputError(
            f"depth_scale of image {bad} is not a positive number",
            path=path,
            remedy="State the millimetres of one depth unit, 1.0 for depth in millimetres.",
        )
    return row, K, scale


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


def _one_camera(folder: Path, rgb: dict[int, str]) -> tuple[dict[int, int], np.ndarray, np.ndarray]:
    """The dataset's camera.json stands in for a missing scene_camera.json."""
    for parent in _levels(folder):
        if (parent / "camera.json").is_file():
            intrinsics = read_intrinsics(parent / "camera.json")
            note(folder, "has no scene_camera.json; the dataset's camera.json is used")
            scale = np.array([intrinsics.depth_scale or 1.0])
            return dict.fromkeys(rgb, 0), intrinsics.K[None], scale
    raise InputError(
        "scene has no scene_camera.json, so its intrinsics are unknown",
        path=folder,
        remedy="Add it, or a camera.json with fx, fy, cx, cy, depth_scale in the dataset's folder.",
    )


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    count = sum(len(scenes) for scenes in scene_groups(path).values())
    return f"{count} folder(s) with scene_camera.json: BOP layout" if count else ""


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
    return (folder / "scene_gt.json").is_file() and any(
        (folder / name).is_dir() for name in ("rgb", "gray")
    )


def _folders(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir())
    except OSError:
        return []


def _preference(group: str) -> tuple[int, str]:
    order = ("test", "val", "train_real", "train")
    place = next((i for i, name in enumerate(order) if group.startswith(name)), len(order))
    return place, group


def _levels(scene: Path) -> list[Path]:
    """The folders a scene belongs to, innermost first: scene, split, dataset."""
    split = scene.absolute().parent
    named = split.name.startswith(("test", "train", "val"))
    return [scene, split, split.parent] if named else [scene, split]


def _models_path(levels: Iterable[Path]) -> Path | None:
    found = (f / name for f in levels for name in ("models", "models_eval"))
    return next((folder for folder in found if folder.is_dir()), None)


@dataclass(frozen=True)
class Target:
    """One line of a BOP targets file: how many instances of an object an image holds."""

    scene_id: int
    image_id: int
    object_id: int
    instances: int


def read_targets(path: str | Path) -> list[Target]:
    """A BOP targets file, such as test_targets_bop19.json."""
    targets = []
    for entry in read_json(path, "targets file", list):
        try:
            targets.append(
                Target(
                    int(entry["scene_id"]),
                    int(entry["im_id"]),
                    int(entry.get("obj_id", 0)),
                    int(entry.get("inst_count", 1)),
                )
            )
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise InputError(
                f"targets file holds a line that is no target: {str(entry)[:60]}",
                path=path,
                remedy='Each must be {"scene_id": 1, "im_id": 2, "obj_id": 3, "inst_count": 1}.',
            ) from None
    return targets


def target_splits(folder: Path) -> dict[str, list[FrameKey]]:
    """A split for each targets file of a folder: test_targets_bop19.json -> "bop19"."""
    splits = {}
    for path in sorted(folder.glob("*targets*.json")):
        name = re.sub(r"^test_targets_", "", path.stem)
        splits[name] = sorted({FrameKey(t.scene_id, t.image_id) for t in read_targets(path)})
    return splits
