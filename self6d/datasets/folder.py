"""Plain RGB-D folder: rgb/ and depth/ (or one flat folder of both) and an intrinsics file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from self6d.datasets import depth_scale
from self6d.datasets.base import FrameKey
from self6d.datasets.images import (
    DEPTH_SUFFIXES,
    RGB_SUFFIXES,
    read_depth_raw,
)
from self6d.datasets.intrinsics import Intrinsics, find_camera_file, read_intrinsics
from self6d.datasets.recording import FrameSource, Recording, models_beside, splits_file
from self6d.errors import InputError
from self6d.files import note

RGB_FOLDERS = ("rgb", "color", "colour", "image", "images", "rgb_images", "img", "gray")
DEPTH_FOLDERS = ("depth", "depths", "depth_registered", "aligned_depth", "depth_images",
                 "depth_raw", "aligned_depth_to_color")  # fmt: skip
_DEPTH_WORD = re.compile(r"(?:^|[^a-z])(?:aligned_)?depth(?=[^a-z]|$)", re.IGNORECASE)
_ROLE = re.compile(
    r"(?:^|(?<=[^a-z]))(?:aligned_depth|depth|rgb|colou?r|image|img|frame)(?=[^a-z]|$)",
    re.IGNORECASE,
)
_MAX_APART_S = 0.02  # colour and depth of one instant


class Pair(NamedTuple):
    """Paths of one frame below the root; depth is empty without depth."""

    rgb: str
    depth: str


class FolderRecording(Recording):
    """RGB-D images of one camera whose intrinsics stand in one file."""

    kind = "folder"

    def __init__(
        self,
        root: Path,
        pairs: dict[int, Pair],
        intrinsics: Intrinsics,
        metres_per_unit: float,
        *,
        reason: str = "",
        models_path: Path | None = None,
    ) -> None:
        self._pairs = pairs
        self.intrinsics = intrinsics
        self.metres_per_unit = metres_per_unit
        keys = [FrameKey(0, image_id) for image_id in sorted(pairs)]
        super().__init__(root, keys, reason=reason, models_path=models_path)
        self._splits.update(splits_file(root, self.keys))

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames of a folder.

        An image's number is the one in its file name where all have one, else its place.

        Raises:
            InputError: no colour images, or no intrinsics file.
        """
        rgb, depth = list_images(path)
        if not rgb:
            raise InputError(
                "holds no colour images",
                path=path,
                remedy=f"Put them into {path.name}/rgb, and depth into {path.name}/depth.",
            )
        camera_file = find_camera_file(path)
        if camera_file is None:
            raise InputError(
                "has no intrinsics file, so the camera is unknown",
                path=path,
                remedy='Add camera.json: {"fx": , "fy": , "cx": , "cy": , "width": , "height": }.',
            )
        intrinsics = read_intrinsics(camera_file)
        pairs = paired(rgb, depth, path)
        if intrinsics.depth_scale is not None:
            scale = depth_scale.from_statement(intrinsics.depth_scale, camera_file)
        else:
            scale = depth_scale.from_values(_samples(path, pairs), path)
        return cls(
            path,
            pairs,
            intrinsics,
            scale,
            reason=reason,
            models_path=models_beside(path, up=0),
        )

    def source(self, key: FrameKey) -> FrameSource:
        pair = self._pairs[key.image_id]
        rgb = self.root / pair.rgb
        depth = self.root / pair.depth if pair.depth else None
        return FrameSource(rgb.stem, rgb, depth, self.metres_per_unit, self.intrinsics)


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    rgb_dir = image_folder(path)
    if rgb_dir is not None:
        return f"colour images in {rgb_dir}/: plain RGB-D folder"
    return "colour images: plain RGB-D folder" if list_images(path)[0] else ""


def image_folder(path: Path) -> str | None:
    """Name of the sub-folder that holds colour images, if there is one."""
    subs = {p.name.lower(): p.name for p in path.iterdir() if p.is_dir()}
    return next((subs[n] for n in RGB_FOLDERS if n in subs), None)


def list_images(root: Path) -> tuple[list[str], list[str]]:
    """Colour and depth files below `root`, as relative paths in natural order."""
    subs = {p.name.lower(): p.name for p in root.iterdir() if p.is_dir()}
    rgb_dir = image_folder(root)
    depth_dir = next((subs[n] for n in DEPTH_FOLDERS if n in subs), None)
    flat = _names(root, RGB_SUFFIXES + DEPTH_SUFFIXES) if rgb_dir is None else []
    if rgb_dir is not None:
        rgb = [f"{rgb_dir}/{n}" for n in _names(root / rgb_dir, RGB_SUFFIXES)]
    else:
        rgb = [n for n in flat if not _is_depth(n) and n.lower().endswith(RGB_SUFFIXES)]
        rgb = [n for n in rgb if not re.search(r"mask|label|seg", n, re.IGNORECASE)]
    if depth_dir is not None:
        depth = [f"{depth_dir}/{n}" for n in _names(root / depth_dir, DEPTH_SUFFIXES)]
    else:
        depth = [n for n in flat if _is_depth(n) and n.lower().endswith(DEPTH_SUFFIXES)]
    return rgb, depth


def _is_depth(name: str) -> bool:
    return bool(_DEPTH_WORD.search(os.path.splitext(name)[0]))


def _names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(suffixes)]
    names = [n for n in names if not n.startswith(".")]
    if len({len(n) for n in names}) <= 1:
        return sorted(names)  # zero-padded: the order of text is the order of numbers
    return sorted(names, key=natural)


def natural(name: str) -> list:
    """Sort key: numbers inside names count as numbers."""
    stem, dot, suffix = name.rpartition(".")
    if stem.isdecimal():
        return [(1, int(stem), stem), (0, 0, dot + suffix)]
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts if p]


def _stem(name: str) -> str:
    """What colour and depth file of one frame have in common in their names."""
    stem = name[name.rfind("/") + 1 : name.rfind(".")]
    if stem.isdecimal():
        return stem
    return re.sub(r"[-_. ]+", "-", _ROLE.sub("", stem)).strip("-")


def paired(rgb: list[str], depth: list[str], root: Path) -> dict[int, Pair]:
    """Colour and depth files of the same frame, by image number.

    By name where names agree; else by nearest time stamp within 20 ms; else, if there are as many
    of one as of the other, by order, with a note. Colour images without depth are left out, with
    a note, unless no depth was recorded at all.
    """
    stems = [_stem(r) for r in rgb]
    match = {_stem(d): d for d in depth}
    found = [match.get(stem, "") for stem in stems]
    if depth and not any(found):
        found = _by_time(rgb, depth) or _by_order(rgb, depth, root)
    unpaired = found.count("") if depth else 0
    if unpaired:
        note(root, f"{unpaired} of {len(rgb)} colour images have no depth of theirs; left out")
    spare = len(depth) - (len(found) - found.count(""))
    if spare:
        note(root, f"{spare} of {len(depth)} depth images have no colour image; left out")
    kept = [(s, r, d) for s, r, d in zip(stems, rgb, found, strict=True) if d or not depth]
    numeric = all(s.isdecimal() and len(s) < 16 for s, _, _ in kept)
    ids = [int(s) for s, _, _ in kept] if numeric else list(range(len(kept)))
    if len(set(ids)) < len(ids):
        ids = list(range(len(kept)))
    return {i: Pair(r, d) for i, (_, r, d) in zip(ids, kept, strict=True)}


def _by_time(rgb: list[str], depth: list[str]) -> list[str] | None:
    try:
        at = np.array([float(_stem(r)) for r in rgb])
        other = np.array([float(_stem(d)) for d in depth])
    except ValueError:
        return None
    if not (("." in _stem(rgb[0])) or at[0] > 1e8):
        return None
    return [depth[j] if j >= 0 else "" for j in nearest_in_time(at, other, _MAX_APART_S)]


def nearest_in_time(at: np.ndarray, other: np.ndarray, limit: float) -> list[int]:
    """For each time in `at` the index of the nearest in `other`, each used once, -1 if none.

    The greedy rule of TUM's associate.py: the closest pairs first.
    """
    order = other.argsort()
    place = np.searchsorted(other[order], at)
    candidates = []
    for i, p in enumerate(place):
        for q in (p - 1, p):
            if 0 <= q < len(order) and abs(other[order[q]] - at[i]) <= limit:
                candidates.append((abs(other[order[q]] - at[i]), i, int(order[q])))
    result, used = [-1] * len(at), set()
    for _, i, j in sorted(candidates):
        if result[i] < 0 and j not in used:
            result[i] = j
            used.add(j)
    return result


def _by_order(rgb: list[str], depth: list[str], root: Path) -> list[str]:
    if len(rgb) != len(depth):
        raise InputError(
            f"{len(rgb)} colour and {len(depth)} depth images share no names",
            path=root,
            remedy="Give the two images of a frame the same number.",
        )
    note(root, "colour and depth images share no names; they were paired by order")
    return depth


def _samples(root: Path, pairs: dict[int, Pair]) -> list[np.ndarray]:
    """Raw depth of a few frames spread over the recording, unreadable ones skipped."""
    paths = [root / p.depth for p in pairs.values() if p.depth]
    raw = []
    for path in paths[:: max(1, len(paths) // 3)][:3]:
        try:
            raw.append(read_depth_raw(path))
        except InputError:
            continue  # reported when that frame is asked for
    return raw
