"""Camera files in the spellings people use, all brought to one `Intrinsics`.

K.txt and its kin, camera.json, intrinsics.json, camera_data.json (happypose), camera.yaml, ROS
camera_info, OpenCV's FileStorage, Open3D; `camera_files` adds COLMAP, NumPy, CSV and XML. All but
COLMAP and nerfstudio put pixel centres at whole numbers.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets import camera_files
from self6d.datasets.camera_files import (
    CAMERA_REMEDY,
    OF_COLOUR,
    OF_DEPTH,
    doubt,
    impossible,
    matrix,
    size_ratio,
    stated_depth_scale,
    stated_size,
)
from self6d.datasets.distortion import (
    STRAIGHT,
    Distortion,
    distortion,
    plain_keys,
    stated_distortion,
)
from self6d.datasets.images import same_view
from self6d.errors import InputError
from self6d.files import note, read_json, read_text, read_yaml
from self6d.geometry import Camera

CAMERA_SUFFIXES = (".json", ".yaml", ".yml", ".txt", ".xml", ".csv", ".npy", ".npz")
_TABLES = (".json", ".yaml", ".yml")
FILE_NAMES = tuple(
    stem + suffix
    for stem in (
        "camera", "camera_data", "camera_info", "intrinsics", "intrinsic", "camera_intrinsic",
        "camera_intrinsics", "cam_K", "K", "calibration", "calib",
    )
    for suffix in CAMERA_SUFFIXES
)  # fmt: skip

_MATRIX_KEYS = (
    "camk", "k", "cameramatrix", "intrinsicmatrix", "mtx", "m1", "intrinsicsmatrix",
)  # fmt: skip
_TABLE_KEYS = (
    "color", "colour", "rgb", "colorintrinsics", "colourintrinsics", "rgbintrinsics",
    "intrinsiccolor", "intrinsicrgb", "intrinsicscolor", "intrinsicsrgb", "colorcamera",
    "rgbcamera", "cameracolor", "camerargb", "colorcamerainfo", "rgbcamerainfo",
    "colorstream", "intrinsics", "intrinsic", "cameraintrinsics", "cameraintrinsic", "camera",
    "camerainfo", "calibration", "cam", "cam0", "cameras",
)  # fmt: skip
_SAYS_CAMERA = re.compile(
    r"^(?!.*(?:extrinsic|pose|traject)).*(?:intrinsic|camera|calib)", re.IGNORECASE
)
_SAYS_ALIGNED = re.compile(r"aligned|registered", re.IGNORECASE)


@dataclass(frozen=True)
class Intrinsics:
    """What a camera file states.

    Attributes:
        K: (3, 3) float64, pixels, pixel centres at whole numbers (OpenCV's convention).
        width, height: size it is valid for, pixels; None if not stated.
        depth_scale: the number stated for depth, as written; None if not stated.
        source: the file.
        distortion: how the lens bends the image; None where it does not, or none is stated.
        straight: it is stated that the lens bends nothing.
    """

    K: np.ndarray
    width: int | None = None
    height: int | None = None
    depth_scale: float | None = None
    source: Path | None = None
    distortion: Distortion | None = None
    straight: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.distortion == STRAIGHT:
            object.__setattr__(self, "distortion", None)
            object.__setattr__(self, "straight", True)

    def camera(
        self, width: int, height: int, *, checked: bool = True, image: Path | None = None
    ) -> Camera:
        """The camera of an image of this size; a K stated for another size is rescaled.

        Args:
            checked: refuse a K that no camera of such images has. image: named if it does not fit.

        Raises:
            InputError: K is no camera matrix, is impossible, or made for another aspect ratio.
        """
        if checked:
            self.check(width, height)
        try:
            if self.width is None or self.height is None or (width, height) == (
                self.width, self.height
            ):  # fmt: skip
                return Camera.from_opencv(self.K, width, height)
            camera = Camera.from_opencv(self.K, self.width, self.height)
        except InputError as error:
            self.check(width, height)  # may say more
            raise InputError(error.what, path=self.source, remedy=error.remedy) from None
        if not same_view((self.width, self.height), (width, height)):
            made = f"{(image and self.source) or 'camera file'} is for {self.width}x{self.height}"
            text = f"image is {width}x{height}, {made}"
            remedy = "Turn it (its EXIF was heeded), or give the intrinsics of such images."
            raise InputError(text, path=image or self.source, remedy=remedy)
        note(
            self.source or "camera",
            f"intrinsics for {self.width}x{self.height} rescaled to images of {width}x{height}",
        )
        return camera.resized(width, height)

    def check(self, width: int, height: int) -> None:
        """Raise InputError if no camera of images of this size has this K."""
        w, h = (self.width, self.height) if self.width and self.height else (width, height)
        fault, remedy = impossible(self.K, w, h)
        if not fault and self.width is None:
            ratio = size_ratio(self.K, width, height)
            if ratio is not None:
                fault = (
                    f"K is for images of about {width * ratio:.0f}x{height * ratio:.0f}, "
                    f"these are {width}x{height}"
                )
                remedy = "State the width and height of the images that K was made for, beside it."
        if not fault and (why := doubt(self.K, w, h, self.width is not None)):
            note(self.source or "camera", why)
        if fault:
            raise InputError(fault, path=self.source, remedy=remedy)


def intrinsics_of(folder: Path) -> Intrinsics:
    """The colour camera of a folder.

    Raises:
        InputError: no camera file, one of depth alone, or a damaged one.
    """
    file = find_camera_file(folder)
    if file is None:
        depth = [p for p in files_of(folder) if _SAYS_CAMERA.search(p.name)]
        if depth:
            raise InputError(
                f"states the depth camera alone ({depth[0].name}); colour's is unknown",
                path=folder,
                remedy='Add camera.json of the colour camera: {"fx": , "fy": , "cx": , "cy": , '
                '"width": , "height": }.',
            )
        other = _of_another_name(folder)
        if other is not None:
            return other
        raise InputError(
            "has no intrinsics file, so the camera is unknown",
            path=folder,
            remedy='Add camera.json: {"fx": , "fy": , "cx": , "cy": , "width": , "height": }.',
        )
    taken = read_intrinsics(file)
    for rival in _other_camera_files(folder, file):
        with contextlib.suppress(InputError):
            K = read_intrinsics(rival).K
            if np.isfinite(K).all() and not np.allclose(K, taken.K, rtol=0.01):
                note(file, f"is used; {rival.name} states another K (fx {K[0, 0]:.4g})")
    return taken


def _other_camera_files(folder: Path, file: Path) -> list[Path]:
    """A few more files of usual names that state colour's camera, as far as names tell."""
    usual = {name.lower() for name in FILE_NAMES}
    files = [p for p in sorted(files_of(folder)) if p.name.lower() in usual and p != file]
    return files[:4]


def _of_another_name(folder: Path) -> Intrinsics | None:
    """Intrinsics of the only small file of a folder that states some, such as 105322251564.yaml."""
    found = []
    files = [p for p in sorted(files_of(folder)) if p.stat().st_size < 100_000]
    files = [p for p in files if p.suffix.lower() not in (".npy", ".npz", ".csv")]  # any numbers
    for file in files if len(files) <= 20 else ():
        if OF_DEPTH.search(file.stem) or re.search(r"extrinsic|scene_gt|split", file.stem):
            continue
        try:
            found.append(read_intrinsics(file))
        except InputError:
            continue  # a file of another purpose
    if len(found) != 1:
        return None
    note(found[0].source or folder, "holds the only intrinsics there are, which are used")
    return found[0]


def of_frames(path: Path | None) -> dict[str, Intrinsics]:
    """Intrinsics of each image, by the stem of its name, that a file states for all (nerfstudio).

    Empty where one K is all there is. An image without intrinsics of its own has the file's.
    """
    if path is None:
        return {}
    found = {}
    for table in camera_tables(path):
        for entry in table["frames"] if isinstance(table.get("frames"), list) else ():
            name = entry.get("file_path") if isinstance(entry, dict) else None
            if isinstance(name, str) and _find_matrix(entry, path) is not None:
                found[Path(name).stem] = from_table(entry, path)
    first = next(iter(found.values()), None)
    if first is None or all(np.array_equal(one.K, first.K) for one in found.values()):
        return {}
    note(path, "states a K for each image, which is used")
    return found


def find_camera_file(folder: Path) -> Path | None:
    """The colour camera's file of a folder: a usual name, else any whose name says intrinsics.

    Colour's is never taken from a file that is depth's, except depth's that was aligned to colour.
    """
    names = {p.name.lower(): p for p in files_of(folder)}
    for name in FILE_NAMES:
        if name.lower() in names:
            return names[name.lower()]
    files = [path for name, path in sorted(names.items()) if _SAYS_CAMERA.search(name)]
    colour = [p for p in files if OF_COLOUR.search(p.stem) and not OF_DEPTH.search(p.stem)]
    others = [p for p in files if not OF_DEPTH.search(p.stem)]
    aligned = [p for p in files if OF_DEPTH.search(p.stem) and _SAYS_ALIGNED.search(p.stem)]
    found = [*colour, *others, *aligned]
    return found[0] if found else camera_files.colmap_file(folder)


def depth_camera_file(folder: Path) -> Path | None:
    """The depth camera's own file of a folder."""
    files = [p for p in files_of(folder) if _SAYS_CAMERA.search(p.name)]
    return next(
        (p for p in sorted(files)
         if OF_DEPTH.search(p.stem) and not _SAYS_ALIGNED.search(p.stem)
         and not OF_COLOUR.search(p.stem)), None,
    )  # fmt: skip


def camera_tables(path: Path) -> list[dict]:
    """The table of a camera file of JSON or YAML, in a list; an empty one of another kind."""
    suffix = path.suffix.lower()
    if suffix not in _TABLES or not path.is_file():
        return []
    table = (read_json if suffix == ".json" else read_yaml)(path, "camera file", (dict, list))
    return [table] if isinstance(table, dict) else []


def files_of(folder: Path) -> list[Path]:
    """Files of a folder that may tell of a camera, hidden ones left out."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(e.path) for e in entries if e.name.lower().endswith(CAMERA_SUFFIXES)]
    except OSError:
        return []
    return [path for path in found if not path.name.startswith(".")]


def read_intrinsics(path: str | Path) -> Intrinsics:
    """Parse a camera file of any known spelling.

    Raises:
        InputError: unreadable, or no 3x3 matrix or focal lengths in it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return from_table(read_json(path, "camera file", (dict, list)), path)
    if suffix in (".yaml", ".yml"):
        return from_table(read_yaml(path, "camera file", (dict, list)), path)
    if suffix == ".xml":
        return from_table(camera_files.xml_table(path), path)
    if suffix in (".npy", ".npz"):
        return from_table(camera_files.numpy_table(path), path)
    text = read_text(path, "camera file")
    colmap = camera_files.colmap_camera(text, path)
    if colmap is not None:
        K, (width, height), bent = colmap
        return Intrinsics(K, width, height, source=path, distortion=bent)
    if suffix == ".csv":
        table = camera_files.csv_table(text)
        if table is not None:
            return from_table(table, path)
    if re.search(r"(?mi)^[ \t]*(?:K|camera_matrix)[ \t]*:[ \t]*\[", text):  # as rostopic echoes
        return from_table(read_yaml(path, "camera file"), path)
    named = re.findall(r"(?m)(?:^|[\s,;{])\"?([A-Za-z]\w*)\"?\s*[:=]\s*([-+.\deE]+)", text)
    if named:  # fx: 600, or fx = 600
        return from_table({key: _number(value) for key, value in named}, path)
    try:
        numbers = [
            float(word)
            for line in text.splitlines()
            for word in line.split("#")[0].replace(",", " ").replace("[", " ").replace("]", " ")
            .replace(";", " ").split()
        ]  # fmt: skip
    except ValueError:
        raise InputError(
            "camera file is not a table of numbers", path=path, remedy=CAMERA_REMEDY
        ) from None
    return Intrinsics(matrix(numbers, path), source=path, distortion=_distortion_beside(path))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _distortion_beside(path: Path) -> Distortion | None:
    """What a table of numbers named dist... or D beside a K without it says."""
    for file in sorted(files_of(path.parent)):
        if file.suffix == ".txt" and re.fullmatch(r"(?i)d|dist.*|.*distortion.*", file.stem):
            try:
                words = read_text(file, "distortion").replace(",", " ").split()
                return distortion([float(w.strip("[]")) for w in words if w.strip("[]")], "", file)
            except ValueError:
                raise InputError(
                    "distortion is not made of numbers", path=file, remedy="Write k1 k2 p1 p2 k3."
                ) from None
    return None


def from_table(table: Any, path: Path) -> Intrinsics:
    """Intrinsics of parsed JSON or YAML."""
    if isinstance(table, list):
        if table and isinstance(table[0], dict):
            return from_table(camera_files.colour_of(table, path), path)
        return Intrinsics(matrix(table, path), source=path)
    table = camera_files.undotted(table)
    found = _find_matrix(table, path)
    if found is None:
        raise InputError("camera file states no intrinsics", path=path, remedy=CAMERA_REMEDY)
    K, holders = found
    size = next((s for s in map(stated_size, holders) if s[0] is not None), (None, None))
    K, size = camera_files.of_region(K, size, holders, path)
    scale = next((s for s in map(stated_depth_scale, holders) if s is not None), None)
    return Intrinsics(K, *size, scale, path, stated_distortion(holders, path))


def _find_matrix(table: dict, path: Path, depth: int = 4) -> tuple[np.ndarray, list[dict]] | None:
    """K, and the tables it stands in, innermost first."""
    flat = plain_keys(table)
    corner = 0.0
    if "flx" in flat and "fx" not in flat:  # nerfstudio, whose image begins at 0 as COLMAP's does
        flat |= {"fx": flat["flx"], "fy": flat.get("fly", flat["flx"])}
        corner = 0.5
    if "fx" in flat and ("cx" in flat or "ppx" in flat):
        try:
            fx, cx = float(flat["fx"]), float(flat.get("cx", flat.get("ppx", "")))
            fy = float(flat.get("fy", fx))
            cy = float(flat.get("cy", flat.get("ppy", "")))
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                "camera file states intrinsics that are not numbers",
                path=path,
                remedy=CAMERA_REMEDY,
            ) from None
        return np.array([[fx, 0, cx - corner], [0, fy, cy - corner], [0, 0, 1.0]]), [table]
    for key in (*_MATRIX_KEYS, *_TABLE_KEYS, *(k for k in flat if k not in _TABLE_KEYS)):
        value = flat.get(key)
        named = key in _MATRIX_KEYS or key in _TABLE_KEYS
        if isinstance(value, list) and len(value) and isinstance(value[0], dict):
            value = camera_files.colour_of(value, path)
        if isinstance(value, dict) and depth:
            if not named and "depth" in key:
                continue
            if named and "data" in value:  # ROS calibration and OpenCV FileStorage
                return matrix(value["data"], path), [table]
            inner = _find_matrix(value, path, depth - 1)
            if inner is not None:
                camera_files.tell_of_others(key, flat, path)
                if not named:
                    note(path, f"intrinsics of '{key}' are used")
                return inner[0], [*inner[1], table]
        elif isinstance(value, list) and named:
            return matrix(value, path, columns_known=key == "intrinsicmatrix"), [table]
    return None
