"""TUM RGB-D: rgb.txt and depth.txt list time stamps and files; depth counts 1/5000 m.

Source: https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from self6d.datasets import depth_scale
from self6d.datasets.intrinsics import Intrinsics, find_camera_file, read_intrinsics
from self6d.datasets.pairing import Pair, in_seconds, nearest_in_time
from self6d.datasets.readers.folder import FolderRecording
from self6d.datasets.recording import models_beside
from self6d.errors import InputError
from self6d.files import note, read_text

_MAX_APART_S = 0.02  # associate.py's default
_UNITS_PER_METRE = 5000.0
# fx fy cx cy as the benchmark publishes them; "" is its recommended default
_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
    "": (525.0, 525.0, 319.5, 239.5),
}


class TumRecording(FolderRecording):
    """A sequence of the TUM RGB-D benchmark, or one recorded with its tools."""

    kind = "tum"

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames; a frame's number is its place among the colour images.

        Raises:
            InputError: a list that is not of time stamps and files, or no pair within 20 ms.
        """
        together = association(path)
        if together is not None:
            pairs = dict(enumerate(read_association(together)))
        elif not (path / "depth.txt").is_file():
            _, rgb = read_list(path / "rgb.txt")
            pairs = {i: Pair(name, "") for i, name in enumerate(rgb)}
        else:
            pairs = _in_time(path)
        intrinsics, scale = _camera(path)
        return cls(
            path,
            pairs,
            intrinsics,
            scale,
            reason=reason,
            models_path=models_beside(path, up=0),
        )


def _in_time(path: Path) -> dict[int, Pair]:
    """Colour images and the depth images nearest in time, of two lists."""
    rgb_times, rgb = read_list(path / "rgb.txt")
    depth_times, depth = read_list(path / "depth.txt")
    rgb_times, depth_times, unit = in_seconds(rgb_times, depth_times) or (
        rgb_times, depth_times, "s"
    )  # fmt: skip
    if unit != "s":
        note(path / "rgb.txt", f"time stamps read as {unit}")
    nearest = nearest_in_time(rgb_times, depth_times, _MAX_APART_S)
    alone = nearest.count(-1)
    if alone == len(rgb):
        raise InputError(
            "no colour and depth image lie within 20 ms of each other",
            path=path / "depth.txt",
            remedy="Check that both lists count time from the same clock.",
        )
    if alone:
        note(path, f"{alone} of {len(rgb)} colour images have no depth within 20 ms")
    return {i: Pair(rgb[i], depth[j]) for i, j in enumerate(nearest) if j >= 0}


def association(path: Path) -> Path | None:
    """A file that lists colour beside depth (ORB-SLAM, ICL-NUIM), where there is no rgb.txt."""
    if (path / "rgb.txt").is_file():
        return None
    for file in sorted(path.glob("*assoc*.txt")):
        rows = [line.split() for line in read_text(file, "image list").splitlines()[:20]]
        if any(len(words) == 4 and "." in words[1] and "." in words[3] for words in rows):
            return file
    return None


def read_association(path: Path) -> list[Pair]:
    """Pairs of a list `TIME rgb/FILE TIME depth/FILE`, in any order of the two, sorted by time."""
    rows = []
    for number, words in _entries(path):
        try:
            time, first, _, second = float(words[0]), words[1], float(words[2]), words[3]
        except (ValueError, IndexError):
            raise InputError(
                f"line {number} of the image list is not two time stamps and two files",
                path=path,
                remedy="Write `TIME rgb/FILE TIME depth/FILE`.",
            ) from None
        for name in (first, second):
            _inside(name, number, path)
        swap = "depth" in first.lower() and "depth" not in second.lower()
        rows.append((time, Pair(second, first) if swap else Pair(first, second)))
    if not rows:
        raise InputError("image list names no image", path=path, remedy="Record it again.")
    return [pair for _, pair in sorted(rows)]


def _entries(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and words of an image list, without comments."""
    for number, line in enumerate(read_text(path, "image list").splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _inside(name: str, number: int, path: Path) -> None:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(
            f"line {number} of the image list names a file outside its folder",
            path=path,
            remedy="Use names relative to the list.",
        )


def read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    """Time stamps (N,) float64, seconds, and file names of a TUM list, sorted by time."""
    rows = []
    for number, words in _entries(path):
        try:
            time, name = float(words[0]), words[1]
        except (ValueError, IndexError):
            raise InputError(
                f"line {number} of the image list is not a time stamp and a file",
                path=path,
                remedy="Write `1305031102.175304 rgb/1305031102.175304.png`.",
            ) from None
        _inside(name, number, path)
        rows.append((time, name))
    if not rows:
        raise InputError("image list names no image", path=path, remedy="Record it again.")
    rows.sort()
    return np.array([t for t, _ in rows]), [n for _, n in rows]


def _camera(path: Path) -> tuple[Intrinsics, float]:
    file = find_camera_file(path)
    if file is not None:
        intrinsics = read_intrinsics(file)
        stated = intrinsics.depth_scale or _UNITS_PER_METRE
        return intrinsics, depth_scale.from_statement(stated, file)
    name = path.absolute().name.lower().replace("fr1", "freiburg1").replace("fr2", "freiburg2")
    name = name.replace("fr3", "freiburg3")
    key = next((k for k in _CAMERAS if k and k in name), "")
    if not key:
        note(path, "has no camera file; TUM's default intrinsics (525, 525, 319.5, 239.5) are used")
    fx, fy, cx, cy = _CAMERAS[key]
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Intrinsics(K, 640, 480, source=path), 1 / _UNITS_PER_METRE


def recognise(path: Path) -> str:
    """Why `path` is a TUM sequence, or ""."""
    if (path / "rgb.txt").is_file():
        return "rgb.txt lists time stamps: TUM RGB-D layout"
    together = association(path)
    return f"{together.name} lists colour and depth: TUM RGB-D layout" if together else ""
