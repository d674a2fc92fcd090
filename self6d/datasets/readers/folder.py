"""Plain RGB-D folder: rgb/ and depth/ (or one flat folder of both) and an intrinsics file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from self6d.datasets import depth_scale
from self6d.datasets.base import FrameKey
from self6d.datasets.images import (
    DEPTH_SUFFIXES,
    FLOAT_SUFFIXES,
    RGB_SUFFIXES,
    UNREAD_SUFFIXES,
    read_depth_raw,
)
from self6d.datasets.intrinsics import (
    CAMERA_SUFFIXES,
    FILE_NAMES,
    Intrinsics,
    find_camera_file,
    intrinsics_of,
    of_frames,
    read_intrinsics,
)
from self6d.datasets.pairing import Pair, in_order, paired
from self6d.datasets.readers.one_name import told_apart
from self6d.datasets.recording import FrameSource, Recording, models_beside, splits_file
from self6d.datasets.registration import DepthCamera, find_depth_camera
from self6d.datasets.unknown_depth import unknown_value
from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note

RGB_FOLDERS = ("rgb", "color", "colour", "image", "images", "rgb_images", "img", "gray")
DEPTH_FOLDERS = ("depth", "depths", "depth_registered", "aligned_depth", "depth_images",
                 "depth_raw", "aligned_depth_to_color")  # fmt: skip
_FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_DEPTH_WORD = re.compile(r"(?:^|[^a-z])(?:aligned_)?depth(?=[^a-z]|$)", re.IGNORECASE)


class FolderRecording(Recording):
    """RGB-D images of one camera whose intrinsics stand in one file, or in one for each image.

    Attributes:
        intrinsics: the one file's, else the first image's.
        metres_per_unit: of depth.
        camera_files: name of an image (stem) -> its own camera file below the root; may be empty.
        cameras: name of an image -> its own intrinsics, where one file states them for each.
        depth_camera: depth's own, where the files state it and how it stands to colour's.
    """

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
        self.camera_files: dict[str, str] = {}
        self.cameras: dict[str, Intrinsics] = {}
        first_depth = next((p.depth for p in pairs.values() if p.depth), "")
        self.depth_camera: DepthCamera | None = None
        if first_depth:
            self.depth_camera = find_depth_camera(Path(root), intrinsics, first_depth)
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
            other = _unread_kind(path / (image_folder(path) or ""))
            remedy = f"Put them into {path.name}/rgb, and depth into {path.name}/depth."
            if other:
                remedy = "Convert them to PNG or JPEG."
            elif below := _images_below(path):
                remedy = f"Put those of {below} right into the folder above it."
            raise InputError(f"holds no colour images{other}", path=path, remedy=remedy)
        inside = image_folder(path)
        if inside is not None and (left := _names(path / inside, UNREAD_SUFFIXES)):
            few = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            files = counted(len(left), "image", "images")
            note(path / inside, f"{files} of a kind that is not read, left out: {few}")
        return cls.of_pairs(path, paired(rgb, depth, path), reason=reason)

    @classmethod
    def of_pairs(cls, path: Path, pairs: dict[int, Pair], *, reason: str = "") -> Self:
        """A recording of these images of a folder, by number, with what its files say of them.

        Raises:
            InputError: no intrinsics file.
        """
        cameras = camera_files(path, [p.rgb for p in pairs.values()])
        if cameras and find_camera_file(path) is None:
            intrinsics = read_intrinsics(path / next(iter(cameras.values())))
        else:
            intrinsics = intrinsics_of(path)
        if intrinsics.depth_scale is None:
            scale = depth_scale.from_values(_samples(path, pairs), path)
        else:
            file = intrinsics.source or path
            scale = depth_scale.from_statement(intrinsics.depth_scale, file)
            if any(p.depth.lower().endswith(FLOAT_SUFFIXES) for p in pairs.values()):
                scale = depth_scale.of_floats(scale, _samples(path, pairs), file)
        recording = cls(
            path,
            pairs,
            intrinsics,
            scale,
            reason=reason,
            models_path=models_beside(path, up=0),
        )
        recording.camera_files = cameras
        recording.cameras = of_frames(intrinsics.source)
        return recording

    def source(self, key: FrameKey) -> FrameSource:
        pair = self._pairs[key.image_id]
        rgb = self.root / pair.rgb
        depth = self.root / pair.depth if pair.depth else None
        camera = self._camera(rgb.stem)
        return FrameSource(rgb.stem, rgb, depth, self.metres_per_unit, camera, self.depth_camera)

    def _camera(self, stem: str) -> Intrinsics:
        if not self.camera_files:
            return self.cameras.get(stem, self.intrinsics)
        if stem not in self.camera_files:
            raise InputError(
                f"image {stem} has no camera file, though others have",
                path=self.root,
                remedy="Add one with its name to the folder of the others.",
            )
        own = read_intrinsics(self.root / self.camera_files[stem])
        if own.width is None:
            own = replace(own, width=self.intrinsics.width, height=self.intrinsics.height)
        return own


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    rgb_dir = image_folder(path)
    if rgb_dir is not None:
        return f"colour images in {rgb_dir}/: {_plain(depth_folder(path) is not None)}"
    rgb, depth = list_images(path)
    return f"colour images: {_plain(bool(depth))}" if rgb else ""


def _plain(depth: bool) -> str:
    return "plain RGB-D folder" if depth else "plain folder of colour images, without depth"


def image_folder(path: Path) -> str | None:
    """Name of the sub-folder that holds colour images, if there is one."""
    subs = {p.name.lower(): p.name for p in path.iterdir() if p.is_dir()}
    return next((subs[n] for n in RGB_FOLDERS if n in subs), None)


def list_images(root: Path) -> tuple[list[str], list[str]]:
    """Colour and depth files below `root`, as relative paths in natural order."""
    rgb_dir, depth_dir = image_folder(root), depth_folder(root)
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
    if not depth and rgb:
        inside = f"{rgb_dir}/" if rgb_dir is not None else ""
        only_depth = tuple(set(DEPTH_SUFFIXES) - set(RGB_SUFFIXES))
        rgb, depth = told_apart(rgb, [inside + n for n in _names(root / inside, only_depth)], root)
    return rgb, depth


def depth_folder(root: Path) -> str | None:
    """Name of the sub-folder that holds depth: of several, the one aligned to colour."""
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [n for n in names if n.lower() in DEPTH_FOLDERS or "depth" in n.lower()]
    found.sort(key=lambda n: n.lower() not in DEPTH_FOLDERS)
    holding = [n for n in found if _names(root / n, DEPTH_SUFFIXES)]
    if found and not holding:
        note(
            root / found[0],
            f"holds no depth image of a kind that is read ({', '.join(DEPTH_SUFFIXES)}); "
            "the recording is used without depth",
        )
    aligned = [n for n in holding if re.search(r"aligned|registered", n, re.IGNORECASE)]
    chosen = next(iter(aligned or holding), None)
    if chosen is not None and len(holding) > 1:
        others = ", ".join(n for n in holding if n != chosen)
        note(root / chosen, f"is used as depth, not {others}")
    return chosen


def _unread_kind(folder: Path) -> str:
    """What images or films of a kind that is not read lie in a folder, to be said."""
    names = _names(folder, UNREAD_SUFFIXES) or _names(folder, _FILMS)
    return f" that are read: {names[0]} is of another kind" if names else ""


def _images_below(path: Path) -> str:
    """The folder inside its folder of images where they lie, or ""."""
    inside = path / (image_folder(path) or "")
    folders = sorted(p for p in inside.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [p for p in folders if _names(p, RGB_SUFFIXES)]
    return str(found[0].relative_to(path)) if found else ""


def _is_depth(name: str) -> bool:
    return bool(_DEPTH_WORD.search(os.path.splitext(name)[0]))


def _names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(suffixes)]
    names = [n for n in names if not n.startswith(".")]
    return in_order(names)


def camera_files(root: Path, rgb: Sequence[str]) -> dict[str, str]:
    """Camera files of single images, by the stem of the image, below `root`.

    They lie in a folder named as camera files are, one for each image, with the image's name.
    """
    stems = {name[name.rfind("/") + 1 : name.rfind(".")] for name in rgb}
    named = {name.rpartition(".")[0].lower() for name in FILE_NAMES} | {"cameras", "camera_infos"}
    for folder in sorted(p for p in root.iterdir() if p.name.lower() in named and p.is_dir()):
        found = {
            n.rpartition(".")[0]: f"{folder.name}/{n}"
            for n in _names(folder, CAMERA_SUFFIXES)
            if n.rpartition(".")[0] in stems
        }
        if found:
            note(folder, "holds a K for each image, which is used")
            return found
    return {}


def _samples(root: Path, pairs: dict[int, Pair]) -> list[np.ndarray]:
    """Raw depth of a few frames spread over the recording, unreadable ones skipped."""
    paths = [root / p.depth for p in pairs.values() if p.depth]
    raw = []
    for path in paths[:: max(1, len(paths) // 3)][:3]:
        try:
            values = read_depth_raw(path)
            raw.append(values[values != unknown_value(values)])
        except InputError:
            continue  # reported when that frame is asked for
    return raw
