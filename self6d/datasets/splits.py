"""Which frames of a recording a job takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from self6d.datasets.base import Dataset
from self6d.datasets.recording import Recording
from self6d.errors import InputError
from self6d.scene import Frame

PROBES = 8


def default_split(dataset: Dataset, asked: str | None, usual: str) -> str | None:
    """The split asked for, else the usual one where the recording has it, else None: all frames."""
    return asked or (usual if usual in dataset.split_names() else None)


def spread_evenly(total: int, count: int) -> list[int]:
    """`count` of `total` places, first and last included, in order."""
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def some_frames(dataset: Recording, split: str | None, share: float = 1.0) -> Recording:
    """A split of a recording (None: all of it), thinned evenly to a share of its frames."""
    frames = dataset if split is None else dataset.split(split)
    if not 0 < share <= 1:
        raise InputError(f"share {share:g} is not between 0 and 1", remedy="0.15 is the paper's.")
    count = max(1, round(share * len(frames)))
    return frames.subset(spread_evenly(len(frames), count))


def any_depth(read: Callable[[int], Frame], count: int) -> bool:
    """Whether a recording has depth: some single frames of it, the first too, may have none.

    Args:
        read: a frame by its index. count: how many there are; at most `PROBES` of them are read,
            from the first to the last, until one has depth.
    """
    return any(read(i).depth_m is not None for i in spread_evenly(count, min(count, PROBES)))
