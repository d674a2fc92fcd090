"""Which frames of a recording a job takes."""

from __future__ import annotations

import numpy as np

from self6d.datasets.base import Dataset
from self6d.datasets.recording import Recording
from self6d.errors import InputError


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
