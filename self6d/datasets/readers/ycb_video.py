"""YCB-Video as first published: data/0000/000001-{color, depth, label}.png, -meta.mat, -box.txt.

Source: Xiang et al., PoseCNN, RSS 2018.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.images import decode
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.labels import checked_pose
from self6d.datasets.recording import FrameSource, Recording, Truth, models_beside, splits_file
from self6d.errors import InputError
from self6d.files import read_bytes, read_text
from self6d.scene import GroundTruth
from self6d.scene.known import known_id

_COLOR = re.compile(r"(\d{6})-color\.(png|jpg)$")
_FIELDS = ["cls_indexes", "factor_depth", "intrinsic_matrix", "poses"]


class YcbVideoRecording(Recording):
    """The whole set, its data folder, or one video; object numbers are places in its class list."""

    kind = "ycb_video"

    def __init__(self, root: Path, videos: dict[int, Path], **options: Any) -> None:
        self._videos = videos
        self._suffix: dict[int, str] = {}
        keys = []
        for number in sorted(videos):
            images, self._suffix[number] = _colour_images(videos[number])
            keys += [FrameKey(number, i) for i in images]
        super().__init__(root, keys, **options)
        self._splits.update(_image_sets(root, set(self.keys)))
        self._splits.update(splits_file(root, self.keys))

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames."""
        videos = {_number(f): f for f in _folders(path)}
        return cls(path, videos, reason=reason, models_path=models_beside(path))

    def source(self, key: FrameKey) -> FrameSource:
        path = self._path(key, "meta.mat")
        meta = read_meta(path)
        depth = self._path(key, "depth.png")
        return FrameSource(
            f"{key.scene_id:04d}/{key.image_id:06d}",
            self._path(key, f"color{self._suffix[key.scene_id]}"),
            depth if depth.is_file() else None,
            1 / float(meta["factor_depth"].reshape(-1)[0]),
            Intrinsics(meta["intrinsic_matrix"], source=path),
        )

    def _path(self, key: FrameKey, name: str) -> Path:
        return self._videos[key.scene_id] / f"{key.image_id:06d}-{name}"

    def _truth(self, key: FrameKey) -> Truth:
        path = self._path(key, "meta.mat")
        meta = read_meta(path)
        classes = meta["cls_indexes"].reshape(-1).astype(int)
        poses = meta["poses"].reshape(3, 4, -1)
        if poses.shape[2] != len(classes):
            raise InputError(
                f"meta.mat has {len(classes)} classes and {poses.shape[2]} poses",
                path=path,
                remedy="Copy it again.",
            )
        label_path = self._path(key, "label.png")
        label = decode(label_path, "label image") if label_path.is_file() else None
        boxes = _boxes(self._path(key, "box.txt"))
        where = f"image {key.image_id}"
        return tuple(
            GroundTruth(
                int(number),
                checked_pose(poses[:, :3, i], poses[:, 3, i], path, where),
                None,
                None if label is None else label == number,
                boxes.get(int(number)),
            )
            for i, number in enumerate(classes)
        )


def read_meta(path: Path) -> dict[str, np.ndarray]:
    """Labels and camera of one frame; its large vertex map is not read."""
    from scipy.io import loadmat

    data = read_bytes(path, "meta file")
    try:
        meta = loadmat(io.BytesIO(data), variable_names=_FIELDS)
    except Exception as error:  # loadmat raises whatever the damaged bytes lead it to
        raise InputError(
            f"meta file is not a MATLAB file ({type(error).__name__})",
            path=path,
            remedy="Copy it again.",
        ) from None
    table = {name: meta.get(name) for name in _FIELDS}
    numeric = all(isinstance(v, np.ndarray) and v.dtype.kind in "uif" for v in table.values())
    shaped = numeric and table["intrinsic_matrix"].shape == (3, 3) and table["poses"].size % 12 == 0
    if not shaped or not table["factor_depth"].size or not table["factor_depth"].reshape(-1)[0] > 0:
        raise InputError(
            f"meta file lacks one of {', '.join(_FIELDS)}", path=path, remedy="Copy it again."
        )
    return {name: np.asarray(v, dtype=np.float64) for name, v in table.items()}


def _boxes(path: Path) -> dict[int, np.ndarray]:
    """Object number -> x0 y0 x1 y1, pixels, of a box file."""
    if not path.is_file():
        return {}
    boxes = {}
    for line in read_text(path, "box file").splitlines():
        words = line.split()
        try:
            number = known_id(words[0]) if len(words) == 5 else None
            if number is not None:
                boxes[number] = np.array([float(w) for w in words[1:]])
        except ValueError:
            raise InputError(
                "box file holds a line without four numbers", path=path, remedy="Copy it again."
            ) from None
    return boxes


def _image_sets(root: Path, keys: set[FrameKey]) -> dict[str, list[FrameKey]]:
    """image_sets/keyframe.txt and the like, lines `0048/000001`, as splits."""
    splits = {}
    for path in sorted((root / "image_sets").glob("*.txt")):
        found = []
        for line in read_text(path, "image set").splitlines():
            video, _, image = line.strip().partition("/")
            if video.isdecimal() and image.isdecimal():
                found.append(FrameKey(int(video), int(image)))
        present = sorted(set(found) & keys)
        if present:
            splits[path.stem] = present
    return splits


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    count = len(_folders(path))
    return f"-color.png and -meta.mat in {count} video(s): YCB-Video layout" if count else ""


def _folders(path: Path) -> list[Path]:
    if _is_video(path):
        return [path]
    for parent in (path / "data", path):
        try:
            with os.scandir(parent) as entries:
                folders = sorted(Path(e.path) for e in entries if e.is_dir())
        except OSError:
            continue
        found = [f for f in folders if f.name.isdecimal() and _is_video(f)]
        if found:
            return found
    return []


def _is_video(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(e.name.endswith("-meta.mat") for _, e in zip(range(50), entries))
    except OSError:
        return False


def _number(folder: Path) -> int:
    name = folder.absolute().name
    return int(name) if name.isdecimal() else 0


def _colour_images(folder: Path) -> tuple[list[int], str]:
    with os.scandir(folder) as entries:
        matches = [m for e in entries if (m := _COLOR.match(e.name))]
    suffix = f".{matches[0].group(2)}" if matches else ".png"
    return sorted(int(m.group(1)) for m in matches), suffix
