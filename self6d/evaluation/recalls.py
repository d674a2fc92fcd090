"""BOP's localisation score: matching of estimates to truths and average recalls.

Source: Hodan et al., BOP Challenge 2020 on 6D Object Localization, ECCVW 2020, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from self6d.evaluation.vsd import BOP_TAUS

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
    errors = np.asarray(errors, np.float64)
    found = np.full(errors.shape[1], -1)
    for e in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        free = np.where(found < 0, errors[e], np.inf)
        g = int(np.argmin(free)) if len(free) else 0
        if len(free) and free[g] < threshold:
            found[g] = e
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

    def recall(errors: list[np.ndarray], threshold: float) -> float:
        pairs = zip(errors, groups, strict=True)
        hits = sum(int((match(e, g.scores, threshold) >= 0).sum()) for e, g in pairs)
        return hits / targets if targets else 0.0

    def average(errors: list[np.ndarray], thresholds: Sequence[float]) -> float:
        return float(np.mean([recall(errors, threshold) for threshold in thresholds]))

    vsd = None
    known = [g.vsd for g in groups if g.vsd is not None]
    if len(known) == len(groups):
        each = [average([v[..., k] for v in known], BOP_THRESHOLDS) for k in range(len(BOP_TAUS))]
        vsd = float(np.mean(each))
    return AverageRecall(
        vsd,
        average([g.mssd for g in groups], BOP_THRESHOLDS),
        average([g.mspd for g in groups], BOP_PIXELS),
    )
