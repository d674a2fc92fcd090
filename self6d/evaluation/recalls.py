"""BOP's localisation score: matching of estimates to truths and average recalls.

Source: Hodan et al., BOP Challenge 2020 on 6D Object Localization, ECCVW 2020, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BOP_THRESHOLDS = tuple(np.arange(0.05, 0.51, 0.05).tolist())  # of VSD, and of MSSD / diameter
BOP_PIXELS = tuple(np.arange(5, 51, 5).tolist())  # of MSPD in images 640 pixels wide


def match(errors: np.ndarray, scores: ArrayLike, threshold: float) -> np.ndarray:
    """Which estimate finds which truth: in the order of falling score, each estimate takes the free
    truth with the lowest error below the threshold.

    Args:
        errors: (E, G) of every estimate to every truth of one object in one image.
        scores: (E,). threshold: errors below it are correct.

    Returns:
        (G,) int64, the estimate of each truth, -1 if none.
    """
    return _match_each(np.asarray(errors, np.float64)[None], scores, np.array([threshold]))[0]


def _match_each(errors: np.ndarray, scores: ArrayLike, thresholds: np.ndarray) -> np.ndarray:
    """`match` for V errors and thresholds at once: (V, E, G), (E,), (V,) -> (V, G)."""
    found = np.full((len(errors), errors.shape[2]), -1)
    every = np.arange(len(errors))
    for e in np.argsort(-np.asarray(scores, np.float64), kind="stable") if found.size else ():
        free = np.where(found < 0, errors[:, e], np.inf)
        g = free.argmin(1)
        right = free[every, g] < thresholds
        found[every[right], g[right]] = e
    return found


@dataclass(frozen=True, eq=False)
class Group:
    """All estimates and targets of one object in one image.

    Attributes:
        scores: (E,) of the E estimates that count, as many as there are targets at most.
        vsd: (E, G, T) for BOP's T tolerances. mssd: (E, G), shares of the diameter. mspd: (E, G),
            pixels of an image 640 wide. vsd is None where there is no depth.
    """

    scores: np.ndarray
    vsd: np.ndarray | None
    mssd: np.ndarray
    mspd: np.ndarray


@dataclass(frozen=True)
class AverageRecall:
    """BOP's score of a set of targets, each in [0, 1]. VSD (and so the mean) is None without depth.

    Attributes:
        vsd: mean over 10 tolerances and 10 thresholds. mssd, mspd: mean over 10 thresholds.
    """

    vsd: float | None
    mssd: float
    mspd: float

    @property
    def mean(self) -> float | None:
        """AR = (AR_VSD + AR_MSSD + AR_MSPD) / 3."""
        return None if self.vsd is None else (self.vsd + self.mssd + self.mspd) / 3


def average_recall(groups: Iterable[Group]) -> AverageRecall:
    """Average recalls over all targets of the groups; one that no estimate finds is a miss."""
    groups = list(groups)
    targets = sum(g.mssd.shape[1] for g in groups)

    def average(errors: list[np.ndarray], thresholds: Sequence[float]) -> float:
        """Of (E, G, T): each group's errors in T ways, each against every threshold."""
        limits = np.tile(thresholds, errors[0].shape[2]) if errors else np.zeros(0)
        hits = np.zeros(len(limits))
        for error, group in zip(errors, groups, strict=True):
            each = np.repeat(np.moveaxis(error, 2, 0), len(thresholds), axis=0)
            hits += (_match_each(each, group.scores, limits) >= 0).sum(1)
        return float(hits.mean() / targets) if targets else 0.0

    known = [g.vsd for g in groups if g.vsd is not None]
    return AverageRecall(
        average(known, BOP_THRESHOLDS) if len(known) == len(groups) else None,
        average([g.mssd[..., None] for g in groups], BOP_THRESHOLDS),
        average([g.mspd[..., None] for g in groups], BOP_PIXELS),
    )
