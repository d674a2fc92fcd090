"""Colour and depth of a frame under one name (0.jpg and 0.png), told apart by what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from self6d.datasets.images import DEPTH_SUFFIXES, RGB_SUFFIXES
from self6d.datasets.pairing import few, frame_name, in_order
from self6d.events import counted
from self6d.files import note

_DEPTH, _GREY, _COLOUR, _UNKNOWN = "depth", "grey", "colour", ""


def images_in(path: Path) -> list[Path]:
    """Colour images right in a folder, by the numbers in their names, or the one at a path."""
    if not path.is_dir():
        return (
            [path] if path.suffix.lower() in RGB_SUFFIXES and not path.name.startswith(".") else []
        )
    names = [p.name for p in path.iterdir() if not p.name.startswith(".")]
    rgb = in_order([n for n in names if n.lower().endswith(RGB_SUFFIXES)])
    return [path / name for name in told_apart(rgb, [], path)[0]]


def told_apart(rgb: list[str], others: list[str], root: Path) -> tuple[list[str], list[str]]:
    """Colour and depth among images that lie in one folder and whose names do not say it.

    Only images of which another has the same name are looked into. One channel of 16 bits or of
    floats beside a colour image is depth; of 8 bits it is neither (a mask, or a picture of depth),
    and left out with a note.

    Args:
        rgb: paths below `root`, of endings that colour images have.
        others: in the same folder, of endings that only depth has.
    """
    groups: dict[str, list[str]] = {}
    for name in (*rgb, *others):
        groups.setdefault(frame_name(name), []).append(name)
    held = {n: _held(root / n) for group in groups.values() if len(group) > 1 for n in group}
    depth, grey = [], []
    for group in groups.values():
        kinds = {held.get(name) for name in group}
        if _COLOUR not in kinds:
            continue
        depth += [name for name in group if held[name] == _DEPTH]
        grey += [name for name in group if held[name] == _GREY]
    if depth:
        text = "16 bits or floats beside colour images of the same name are taken as depth"
        note(root, f"{counted(len(depth), 'image', 'images')} of {text}: {few(in_order(depth))}")
    if grey:
        text = "8 bits and one channel beside colour images of the same name are left out"
        note(root, f"{counted(len(grey), 'image', 'images')} of {text}: {few(in_order(grey))}. If "
             "they are depth, write it as 16-bit PNG (millimetres)")  # fmt: skip
    return [n for n in rgb if n not in {*depth, *grey}], in_order(depth)


def _held(path: Path) -> str:
    """What an image file holds, by its header; "" where that cannot be told or is read nowhere."""
    suffix = path.suffix.lower()
    if suffix == ".dpt":
        return _DEPTH
    try:
        if suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return _DEPTH if array.ndim == 2 and array.dtype.itemsize > 1 else _UNKNOWN
        with Image.open(path) as picture:
            mode = picture.mode
    except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError):
        return _UNKNOWN  # what is wrong is said where it is read
    if mode[0] in "IF":
        return _DEPTH if suffix in DEPTH_SUFFIXES else _UNKNOWN
    if mode in ("1", "L", "P"):
        return _GREY
    return _COLOUR if suffix in RGB_SUFFIXES else _UNKNOWN
