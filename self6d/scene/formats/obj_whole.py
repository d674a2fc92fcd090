"""Whether an OBJ, which states no length, is whole: its last line, the vertices of its faces."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note

_FACES = re.compile(r"^[ \t]*f(?:[ \t]+(.*))?$", re.MULTILINE)
_VERTICES = re.compile(r"^[ \t]*v[ \t]", re.MULTILINE)
_WORDS = {"v": 3, "vn": 3, "vt": 1, "f": 3}  # at least, behind these keys
_CUT_SHARE = 0.05  # of vertices without a face, above which a file looks cut off
_AGAIN = "Copy or export it again."


def check_whole(text: str, path: Path) -> None:
    """Note what of an OBJ is left out, and that it may be cut off.

    Args:
        text: of the file, its corners counted from 1.

    Raises:
        InputError: its last line is cut off; a face names a vertex that is not there.
    """
    _check_end(text, path)
    faces = _FACES.findall(text)
    if short := sum(len(face.split(None, 3)) < 3 for face in faces):
        note(path, f"left out {counted(short, 'face', 'faces')} of fewer than three corners")
    places = " ".join(faces)
    if "/" in places:
        places = re.sub(r"/\S*", "", places)
    if re.search(r"[^-\d\s]", places):
        return  # the parser says what is wrong
    corners = np.fromstring(places, dtype=np.int64, sep=" ")
    count = len(_VERTICES.findall(text))
    wrong = corners[(corners < 1) | (corners > count)]
    if len(wrong):
        has = f"it has {counted(count, 'vertex', 'vertices')}, counted from 1"
        raise InputError(f"a face names vertex {wrong[0]}, and {has}", path=path, remedy=_AGAIN)
    stray = count - int(np.count_nonzero(np.bincount(corners, minlength=count + 1)))
    if len(corners) and stray:
        cut = "; the file may be cut off, compare it with its source"
        note(path, f"left out {stray} of {count} vertices that no face uses"
             f"{cut if stray > _CUT_SHARE * count else ''}")  # fmt: skip


def _check_end(text: str, path: Path) -> None:
    """A last line without an end is whole only if it has all its words, and alike ones."""
    last = text[text.rfind("\n") + 1 :]
    key, *words = last.split() or [""]
    least = _WORDS.get(key)
    if least is None:
        return
    shapes = {tuple(map(bool, word.split("/"))) for word in words} if key == "f" else {()}
    if len(words) < least or len(shapes) > 1:
        raise InputError(
            f"mesh is truncated: its last line is cut off ({last.strip()[:40]})",
            path=path,
            remedy=_AGAIN,
        )
