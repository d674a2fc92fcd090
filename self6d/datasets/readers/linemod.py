"""LineMOD as first published: OBJECT/data/{color0.jpg, depth0.dpt, rot0.rot, tra0.tra}.

Rotations map mesh.ply to the camera; translations are in centimetres, the mesh in millimetres.
Source: Hinterstoisser et al., ACCV 2012.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.labels import checked_pose
from self6d.datasets.recording import FrameSource, Recording, Truth, splits_file
from self6d.errors import InputError
from self6d.files import read_text
from self6d.scene import GroundTruth
from self6d.scene.known import known_id

K_LINEMOD = np.array([[572.4114, 0, 325.2611], [0, 573.57043, 242.04899], [0, 0, 1]])
_COLOR = re.compile(r"color(\d+)\.(jpg|png)$")


class LinemodRecording(Recording):
    """One object's sequence, or several side by side; the scene number is the object's number."""

    kind = "linemod"

    def __init__(self, root: Path, images: dict[int, dict[int, Path]], **options: Any) -> None:
        self._images = images
        keys = [FrameKey(s, i) for s in sorted(images) for i in sorted(images[s])]
        super().__init__(root, keys, **options)
        self._splits.update(splits_file(root, self.keys))

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames of an object folder, of its data folder, or of a folder of objects."""
        objects = _objects(path)
        images: dict[int, dict[int, Path]] = {}
        for place, folder in enumerate(objects, 1):
            number = known_id(folder.absolute().name, linemod=True) or place
            images[number] = _colour_images(folder / "data")
        models = objects[0] if len(objects) == 1 else path
        has_mesh = any((f / "mesh.ply").is_file() for f in objects)
        return cls(path, images, reason=reason, models_path=models if has_mesh else None)

    def source(self, key: FrameKey) -> FrameSource:
        rgb = self._images[key.scene_id][key.image_id]
        depth = rgb.with_name(f"depth{key.image_id}.dpt")
        name = f"{rgb.parents[1].name}/{rgb.stem}"
        intrinsics = Intrinsics(K_LINEMOD, 640, 480, source=rgb)
        return FrameSource(name, rgb, depth if depth.is_file() else None, 1e-3, intrinsics)

    def _truth(self, key: FrameKey) -> Truth:
        data = self._images[key.scene_id][key.image_id].parent
        rot, tra = data / f"rot{key.image_id}.rot", data / f"tra{key.image_id}.tra"
        if not (rot.is_file() and tra.is_file()):
            return ()
        R = read_matrix(rot, 3, 3)
        t_cm = read_matrix(tra, 3, 1)[:, 0]
        pose = checked_pose(R, t_cm / 100, rot, f"image {key.image_id}")
        return (GroundTruth(key.scene_id, pose),)


def read_matrix(path: Path, rows: int, columns: int) -> np.ndarray:
    """A .rot or .tra file: two sizes, then the numbers row by row -> (rows, columns) float64."""
    try:
        numbers = [float(word) for word in read_text(path, "label file").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 2 + rows * columns:
        raise InputError(
            f"label file does not hold two sizes and {rows * columns} numbers",
            path=path,
            remedy="Copy it again.",
        )
    return np.array(numbers[2:]).reshape(rows, columns)


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    objects = _objects(path)
    return f"color0.jpg and rot0.rot of {len(objects)} object(s): LineMOD layout" if objects else ""


def _objects(path: Path) -> list[Path]:
    """Object folders at or below `path`."""
    if _is_data(path):
        return [path.absolute().parent]
    if _is_data(path / "data"):
        return [path]
    with os.scandir(path) as entries:
        folders = sorted(Path(e.path) for e in entries if e.is_dir())
    return [f for f in folders if _is_data(f / "data")]


def _is_data(folder: Path) -> bool:
    return any((folder / f"{stem}").is_file() for stem in ("rot0.rot", "tra0.tra", "depth0.dpt"))


def _colour_images(folder: Path) -> dict[int, Path]:
    with os.scandir(folder) as entries:
        matches = [(_COLOR.match(e.name), e.path) for e in entries]
    return {int(m.group(1)): Path(p) for m, p in matches if m}
