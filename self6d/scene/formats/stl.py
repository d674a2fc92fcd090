"""STL files: those that the parser refuses or reads in part, and the colours of their triangles.

https://en.wikipedia.org/wiki/STL_(file_format)#Color_in_binary_STL: 5 bits a channel in the two
bytes behind each triangle. VisCAM sets bit 15 where they are a colour, blue lowest; Materialise
Magics, told by COLOR= and the whole object's colour in the header, clears it, red lowest.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note
from self6d.scene.surface import GREY

_HEAD, _TRIANGLE = 84, 50
_NAME = re.compile(rb"^[ \t]*(end)?solid\b[^\n]*", re.IGNORECASE | re.MULTILINE)


def prepared_stl(data: bytes, path: Path) -> tuple[bytes, np.ndarray | None]:
    """The file as the parser takes it, and its triangles' colours, (F, 3) in [0, 255], or None.

    Args:
        path: the file, for notes.

    Raises:
        InputError: it ends before its header or its text says.
    """
    count = struct.unpack("<I", data[80:_HEAD])[0] if len(data) > _HEAD else 0
    if len(data) <= _HEAD or (b"\0" not in data[80:_HEAD] and count * _TRIANGLE > len(data)):
        return _plain_text(data, path), None
    held = (len(data) - _HEAD) // _TRIANGLE
    if count == 0 and held:
        note(path, f"its header counts no triangles; it holds {held}, which are read")
        count = held
    if count > held:
        raise InputError(
            f"mesh is truncated: its header promises {count} triangles, and it holds {held}",
            path=path,
            remedy="Copy or export it again.",
        )
    end = _HEAD + count * _TRIANGLE
    if rest := len(data) - end:
        note(
            path,
            f"left out {counted(rest, 'byte', 'bytes')} behind its {count} triangles",
        )
    words = np.ndarray(count, "<u2", data, _HEAD + 48, _TRIANGLE) if count else np.zeros(0, "<u2")
    return data[:80] + struct.pack("<I", count) + data[_HEAD:end], _colours(data[:80], words, path)


def _plain_text(data: bytes, path: Path) -> bytes:
    """ASCII without the names of its solids, which may hold a word of the format."""
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    solids = [match.group(1) is None for match in _NAME.finditer(text)]
    if any(solids) and solids[-1]:
        raise InputError(
            "mesh is truncated: its last solid has no end",
            path=path,
            remedy="Copy or export it again.",
        )
    return _NAME.sub(lambda match: (match.group(1) or b"").lower() + b"solid", text)


def _colours(header: bytes, words: np.ndarray, path: Path) -> np.ndarray | None:
    """Args: words: the two bytes behind each triangle, (F,) uint16."""
    at = header.find(b"COLOR=")
    fives = np.stack([(words >> shift) & 31 for shift in (0, 5, 10)], axis=1) * (255 / 31)
    own = (words >> 15) == 1
    if at >= 0 and at + 10 <= len(header):
        whole = np.frombuffer(header, np.uint8, 3, at + 6).astype(np.float64)
        own = ~own
        if not words.any():
            note(path, "its header states a colour and its triangles none; all have the header's")
            own[:] = False
        return np.round(np.where(own[:, None], fives, whole))
    if not own.any():
        return None
    if bare := int((~own).sum()):
        note(path, f"{bare} of its {len(own)} triangles have no colour; they are grey")
    return np.round(np.where(own[:, None], fives[:, ::-1], 255 * GREY))
