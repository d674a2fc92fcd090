"""RVL depth against its paper's rules, and damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import bags
import numpy as np
import pytest

from self6d.datasets.readers.bags.rvl import decode_rvl
from self6d.errors import InputError


@pytest.mark.parametrize("seed", range(4))
def test_what_was_packed_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.integers(0, 65536, (24, 31)).astype(np.uint16)
    depth[rng.random(depth.shape) < 0.4 * seed] = 0
    np.testing.assert_array_equal(decode_rvl(bags.rvl(depth), Path("d")), depth)


def test_by_hand() -> None:
    """Two zeros, then 3, 1: 2 | 2, +3 -> 6, -2 -> 3; nibbles from the highest of a word."""
    data = struct.pack("<III", 4, 1, 0x22630000)
    np.testing.assert_array_equal(decode_rvl(data, Path("d")), [[0, 0, 3, 1]])


def test_damaged_data_is_told() -> None:
    whole = bags.rvl(np.arange(1000, 1600).reshape(20, 30).astype(np.uint16))
    for data in (whole[:4], whole[: len(whole) // 2 // 4 * 4], b"\xff" * len(whole),
                 struct.pack("<II", 10**6, 10**6) + whole[8:]):  # fmt: skip
        with pytest.raises(InputError, match="RVL depth is cut off or damaged"):
            decode_rvl(data, Path("d"))
