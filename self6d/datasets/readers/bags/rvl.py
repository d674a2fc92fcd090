"""RVL depth compression: runs of zeros and of differences, in nibbles of three bits each.

Wilson, "Fast Lossless Depth Image Compression", ISS 2017; ROS compressedDepth puts width and height
before it.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.numba_tools import jit

_MOST_PIXELS = 10**8


def decode_rvl(data: bytes, path: Path) -> np.ndarray:
    """Depth (H, W) uint16 of what follows compressedDepth's header.

    Raises:
        InputError: cut off or damaged.
    """
    wrong = InputError("RVL depth is cut off or damaged", path=path, remedy="Record it again.")
    if len(data) < 8:
        raise wrong
    width, height = struct.unpack_from("<II", data)
    if not 0 < width * height <= _MOST_PIXELS:
        raise wrong
    words = np.frombuffer(data[8 : 8 + (len(data) - 8) // 4 * 4], "<u4")
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 15).astype(np.uint8)
    depth = np.zeros(width * height, np.uint16)
    if not _decode(nibbles.reshape(-1), depth):
        raise wrong
    return depth.reshape(height, width)


@jit
def _decode(nibbles: np.ndarray, depth: np.ndarray) -> bool:
    """Fill `depth` (N,) uint16 from nibbles (M,) uint8; False where they end too early."""
    place, at, value = 0, 0, 0
    while at < depth.size:
        for run in range(2):  # how many zeros, how many others
            count, place = _number(nibbles, place)
            if place < 0 or at + count > depth.size:
                return False
            if run == 0:
                at += count
                continue
            for _ in range(count):
                step, place = _number(nibbles, place)
                if place < 0:
                    return False
                value += (step >> 1) ^ -(step & 1)
                depth[at] = value & 0xFFFF
                at += 1
    return True


@jit
def _number(nibbles: np.ndarray, place: int) -> tuple[int, int]:
    """A number of three bits a nibble, lowest first, the fourth telling of more; (it, the next)."""
    value = 0
    for shift in range(0, 33, 3):
        if place >= nibbles.size:
            return 0, -1
        nibble = int(nibbles[place])
        place += 1
        value |= (nibble & 7) << shift
        if nibble < 8:
            return value, place
    return 0, -1
