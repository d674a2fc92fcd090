"""Camera files in the spellings people use, all brought to one `Intrinsics`.

K.txt and its kin, camera.json, intrinsics.json, camera_data.json (happypose), camera.yaml, ROS
camera_info, OpenCV's FileStorage, Open3D. All of them put pixel centres at whole numbers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError
from self6d.files import note, read_json, read_text, read_yaml
from self6d.geometry import Camera

_SUFFIXES = (".json", ".yaml", ".yml", ".txt")
FILE_NAMES = tuple(
    stem + suffix
    for stem in (
        "camera", "camera_data", "camera_info", "intrinsics", "intrinsic", "camera_intrinsic",
        "camera_intrinsics", "cam_K", "K", "calibration", "calib",
    )
    for suffix in _SUFFIXES
)  # fmt: skip

_MATRIX_KEYS = (
    "cam_K", "K", "k", "camera_matrix", "intrinsic_matrix", "intrinsics", "intrinsic",
    "camera_intrinsics", "depth_intrinsics", "color_intrinsics", "rgb", "color", "camera",
)  # fmt: skip
_REMEDY = 'Write {"fx": 600, "fy": 600, "cx": 320, "cy": 240, "width": 640, "height": 480}.'


@dataclass(frozen=True)
class Intrinsics:
    """What a camera file states.

    Attributes:
        K: (3, 3) float64, pixels, pixel centres at whole numbers (OpenCV's convention).
        width, height: size it is valid for, pixels; None if not stated.
        depth_scale: the number stated for depth, as written; None if not stated.
    """

    K: np.ndarray
    width: int | None = None
    height: int | None = None
    depth_scale: float | None = None
    source: Path | None = None

    def camera(self, width: int, height: int) -> Camera:
        """The camera of an image of this size; a K stated for another size is rescaled.

        Raises:
            InputError: K is not a camera matrix, or was made for another aspect ratio.
        """
        try:
            if self.width is None or self.height is None or (width, height) == (
                self.width, self.height
            ):  # fmt: skip
                return Camera.from_opencv(self.K, width, height)
            camera = Camera.from_opencv(self.K, self.width, self.height)
        except InputError as error:
            raise InputError(error.what, path=self.source, remedy=error.remedy) from None
        if abs(self.width * height / (self.height * width) - 1) > 0.01:
            raise InputError(
                f"camera file is for {self.width}x{self.height} images, these are {width}x{height}",
                path=self.source,
                remedy="Give the intrinsics of these images.",
            )
        note(
            self.source or "camera",
            f"intrinsics for {self.width}x{self.height} rescaled to images of {width}x{height}",
        )
        return camera.resized(width, height)


def find_camera_file(folder: Path) -> Path | None:
    """The camera file of a folder: a usual name, else any file whose name says intrinsics."""
    names = {p.name.lower(): p for p in _files(folder)}
    for name in FILE_NAMES:
        if name.lower() in names:
            return names[name.lower()]
    for name, path in sorted(names.items()):
        if "intrinsic" in name or "camera" in name:
            return path
    return None


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if e.name.lower().endswith(_SUFFIXES)]
    except OSError:
        return []


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
    try:
        numbers = [
            float(word)
            for line in read_text(path, "camera file").splitlines()
            for word in line.split("#")[0].replace(",", " ").replace("[", " ").replace("]", " ")
            .replace(";", " ").split()
        ]  # fmt: skip
    except ValueError:
        raise InputError(
            "camera file is not a table of numbers", path=path, remedy=_REMEDY
        ) from None
    return Intrinsics(matrix(numbers, path), source=path)


def from_table(table: Any, path: Path) -> Intrinsics:
    """Intrinsics of parsed JSON or YAML."""
    if isinstance(table, list):
        return Intrinsics(matrix(table, path), source=path)
    K = _find_matrix(table, path)
    if K is None:
        raise InputError("camera file states no intrinsics", path=path, remedy=_REMEDY)
    width, height = _size(table)
    return Intrinsics(K, width, height, _depth_scale(table), path)


def _find_matrix(table: dict, path: Path) -> np.ndarray | None:
    if "fx" in table and ("cx" in table or "ppx" in table):
        try:
            fx, cx = float(table["fx"]), float(table.get("cx", table.get("ppx", "")))
            fy = float(table.get("fy", fx))
            cy = float(table.get("cy", table.get("ppy", "")))
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                "camera file states intrinsics that are not numbers", path=path, remedy=_REMEDY
            ) from None
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    for key in _MATRIX_KEYS:
        value = table.get(key)
        if isinstance(value, dict):
            inner = _find_matrix(value, path)
            if inner is None and "data" in value:  # ROS calibration and OpenCV FileStorage
                inner = matrix(value["data"], path)
            if inner is None:
                continue
            return inner
        if isinstance(value, list):
            if key == "intrinsic_matrix" and len(value) == 9 and value[8] == 1 and value[2] == 0:
                return matrix(value, path).T  # Open3D writes columns first
            return matrix(value, path)
    return None


def matrix(value: Any, path: Path | None) -> np.ndarray:
    """A 3x3 camera matrix from nine numbers (or rows), twelve or sixteen, or fx fy cx cy."""
    try:
        a = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "camera matrix is not made of numbers", path=path, remedy=_REMEDY
        ) from None
    flat = a.reshape(-1)
    if flat.size == 4:
        fx, fy, cx, cy = flat
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    if flat.size in (12, 16):
        return flat.reshape(-1, 4)[:3, :3].copy()
    if flat.size != 9:
        raise InputError(
            f"camera matrix has {flat.size} numbers instead of 9", path=path, remedy=_REMEDY
        )
    return flat.reshape(3, 3).copy()


def _size(table: dict) -> tuple[int | None, int | None]:
    for w, h in (("width", "height"), ("image_width", "image_height"), ("w", "h")):
        if w in table and h in table:
            return _count(table[w]), _count(table[h])
    resolution = table.get("resolution")  # happypose: rows, columns
    if isinstance(resolution, list) and len(resolution) == 2:
        return _count(resolution[1]), _count(resolution[0])
    for key in _MATRIX_KEYS:
        if isinstance(table.get(key), dict):
            return _size(table[key])
    return None, None


def _count(value: Any) -> int | None:
    try:
        n = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return n if 0 < n < 100_000 else None


def _depth_scale(table: dict) -> float | None:
    for key in ("depth_scale", "depth_factor", "factor_depth", "png_depth_scale", "scale"):
        value = table.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
    for key in _MATRIX_KEYS:
        if isinstance(table.get(key), dict):
            return _depth_scale(table[key])
    return None
