"""LineMOD as DenseFusion prepared it: data/OO/{rgb, depth, mask, gt.yml, info.yml, train.txt}.

train.txt is the 15 % of the frames that the field trains on, test.txt the rest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.camera_files import matrix
from self6d.datasets.images import (
    DEPTH_SUFFIXES,
    RGB_SUFFIXES,
    read_mask,
    size_of_rgb,
)
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.labels import pose_from_bop
from self6d.datasets.readers.bop_scene import numbered_images
from self6d.datasets.recording import FrameSource, Recording, Truth, models_beside, splits_file
from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note, read_text, read_yaml
from self6d.scene import GroundTruth


class PreprocessedLinemod(Recording):
    """One object's folder or several; the scene number is the object's number."""

    kind = "linemod_preprocessed"

    def __init__(self, root: Path, folders: dict[int, Path], **options: Any) -> None:
        self._folders = folders
        self._rgb = {n: numbered_images(f, "rgb", RGB_SUFFIXES) for n, f in folders.items()}
        self._depth = {n: numbered_images(f, "depth", DEPTH_SUFFIXES) for n, f in folders.items()}
        self._infos: dict[int, dict[int, tuple[np.ndarray, float]]] = {}
        self._labels: dict[int, dict] = {}
        keys = [FrameKey(n, i) for n in sorted(folders) for i in sorted(self._rgb[n])]
        super().__init__(root, keys, **options)
        for name in ("train", "test"):
            listed = [FrameKey(n, i) for n, f in folders.items() for i in _numbers(f, name)]
            present = sorted(set(listed) & set(self.keys))
            if present:
                self._splits[name] = present
        self._splits.update(splits_file(root, self.keys))

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames of the whole set (LINEMOD/data/...) or of one object's folder."""
        folders = _objects(path)
        numbers = {_number(f, place): f for place, f in enumerate(folders, 1)}
        return cls(path, numbers, reason=reason, models_path=models_beside(path))

    def source(self, key: FrameKey) -> FrameSource:
        info_path = self._folders[key.scene_id] / "info.yml"
        if key.scene_id not in self._infos:
            self._infos[key.scene_id] = read_info(info_path)
        if key.image_id not in self._infos[key.scene_id]:
            raise InputError(
                f"info.yml states no camera for image {key.image_id}",
                path=info_path,
                remedy="Add its cam_K and depth_scale.",
            )
        K, mm_per_unit = self._infos[key.scene_id][key.image_id]
        folder = self._folders[key.scene_id]
        rgb = folder / self._rgb[key.scene_id][key.image_id]
        depth = self._depth[key.scene_id].get(key.image_id)
        return FrameSource(
            f"{folder.name}/{rgb.stem}",
            rgb,
            None if depth is None else folder / depth,
            mm_per_unit / 1000,
            Intrinsics(K, source=info_path),
        )

    def _truth(self, key: FrameKey) -> Truth:
        folder = self._folders[key.scene_id]
        path = folder / "gt.yml"
        if key.scene_id not in self._labels:
            self._labels[key.scene_id] = read_table(path, "label file") if path.is_file() else {}
        entries = self._labels[key.scene_id].get(key.image_id) or []
        if not isinstance(entries, list):
            raise InputError(
                f"labels of image {key.image_id} are not a list", path=path, remedy="Copy it again."
            )
        truths = []
        for entry in entries:
            object_id, pose = pose_from_bop(entry, path, str(key.image_id))
            mask = None
            if object_id == key.scene_id:  # the masks show this folder's object only
                mask_path = folder / "mask" / self._rgb[key.scene_id][key.image_id][4:]
                mask = read_mask(mask_path.with_suffix(".png"), self._size(key))
            box = entry.get("obj_bb")
            corners = None
            if isinstance(box, list) and len(box) == 4:
                x, y, w, h = (float(v) for v in box)  # w counts the mask's columns, not as BOP's
                corners = np.array([x, y, x + w, y + h])
            truths.append(GroundTruth(object_id, pose, None, mask, corners))
        return tuple(truths)

    def _size(self, key: FrameKey) -> tuple[int, int]:
        return size_of_rgb(self.source(key).rgb)


def read_table(path: Path, what: str) -> dict:
    """gt.yml or info.yml: image number -> list of tables, or one table.

    The files are as regular as tables; reading them line by line is ten times faster than YAML,
    which stands behind it for files written in another style.
    """
    text = read_text(path, what)
    table: dict[int, Any] = {}
    try:
        for line in text.splitlines():
            name, _, value = line.lstrip("- ").partition(":")
            if not line.startswith(("-", " ")):
                image = int(name)
                entry: dict[str, Any] = {}
                table[image] = entry
                continue
            if line.startswith("- "):
                if not isinstance(table[image], list):
                    table[image] = []
                entry = {}
                table[image].append(entry)
            entry[name] = json.loads(value)
    except (ValueError, NameError, RecursionError):
        return read_yaml(path, what)
    return table


def read_info(path: Path) -> dict[int, tuple[np.ndarray, float]]:
    """Image number -> (K (3, 3), millimetres per depth unit) of an info.yml."""
    table = read_table(path, "camera file")
    infos = {}
    for image, entry in table.items():
        try:
            scale = float(entry.get("depth_scale", 1.0))
            infos[int(image)] = matrix(entry["cam_K"], path), scale
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise InputError(
                f"info.yml has a faulty entry for image {image}",
                path=path,
                remedy="Each needs cam_K (9 numbers) and depth_scale.",
            ) from None
        if not 0 < scale < 1e4:
            raise InputError(
                f"depth_scale of image {image} is not a positive number",
                path=path,
                remedy="State the millimetres of one depth unit.",
            )
    return infos


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    count = len(_objects(path))
    folders = counted(count, "folder", "folders")
    return f"gt.yml and info.yml in {folders}: preprocessed LineMOD layout" if count else ""


def _objects(path: Path) -> list[Path]:
    if _is_object(path):
        return [path]
    for parent in (path, path / "data"):
        try:
            with os.scandir(parent) as entries:
                folders = sorted(Path(e.path) for e in entries if e.is_dir())
        except OSError:
            continue
        found = [f for f in folders if _is_object(f)]
        if found:
            return found
    return []


def _is_object(folder: Path) -> bool:
    return (folder / "info.yml").is_file() and (folder / "rgb").is_dir()


def _number(folder: Path, place: int) -> int:
    name = folder.absolute().name
    return int(name) if name.isdecimal() else place


def _numbers(folder: Path, name: str) -> list[int]:
    path = folder / f"{name}.txt"
    if not path.is_file():
        return []
    words = read_text(path, "split file").split()
    numbers = [int(w) for w in words if w.isdecimal()]
    if len(numbers) < len(words):
        note(path, f"{len(words) - len(numbers)} entries that are not numbers were left out")
    return numbers
