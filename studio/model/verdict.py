"""Whether an adaptation helped, from frames judged before and after it. No widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studio.engine.types import JudgedFrame

RESAMPLES = 400
BETTER, WORSE, SAME = "better", "worse", "same"
Pair = tuple[JudgedFrame, JudgedFrame]
Statistic = Callable[[Sequence[JudgedFrame]], float]


@dataclass(frozen=True)
class Measure:
    """One number before and after.

    Attributes:
        low, high: bounds of the change, after minus before: the 95 % interval over the frames.
        rises: whether more is better.
        digits: decimals to show. unit: after the number.
    """

    name: str
    before: float
    after: float
    low: float
    high: float
    rises: bool
    unit: str = ""
    digits: int = 0
    tip: str = ""

    @property
    def verdict(self) -> str:
        """BETTER or WORSE if the whole interval says so, else SAME."""
        if not np.isfinite([self.low, self.high]).all() or self.low <= 0 <= self.high:
            return SAME
        return BETTER if (self.low > 0) == self.rises else WORSE


@dataclass(frozen=True)
class Verdict:
    """What `compare` finds.

    Attributes:
        agreement: mask agreement times depth explained, per pose there is to find; decides.
        frames: how many were compared. most_changed: index of the frame that changed most.
    """

    agreement: Measure
    measures: tuple[Measure, ...]
    frames: int
    most_changed: int
    recall: Measure | None = None

    @property
    def headline(self) -> str:
        return {
            BETTER: "Yes: the poses agree better with this recording.",
            WORSE: "No: the poses agree worse with this recording.",
            SAME: "No clear difference in these frames.",
        }[self.agreement.verdict]


def compare(before: Mapping[int, JudgedFrame], after: Mapping[int, JudgedFrame]) -> Verdict | None:
    """Hold two networks' judged frames, by index, against each other; None without common frames.

    Intervals come from resampling the frames (paired percentile bootstrap).
    """
    pairs = [(before[i], after[i]) for i in sorted(before.keys() & after.keys())]
    if not pairs:
        return None
    expected = max(sum(len(f.poses) for f in side) for side in zip(*pairs, strict=True)) or 1
    per_frame = expected / len(pairs)

    def measure(
        name: str, of: Statistic, rises: bool, unit: str, digits: int, tip: str, some: list[Pair]
    ) -> Measure:
        low, high = _interval(some, of)
        first, second = (of(side) for side in zip(*some, strict=True))
        return Measure(name, first, second, low, high, rises, unit, digits, tip)

    agreement = measure(
        "Agreement", lambda side: sum(f.trust for f in side) / (len(side) * per_frame), True, "",
        2, "Mask agreement times share of depth explained, over the poses there are to find", pairs,
    )  # fmt: skip
    measures = [
        measure("Depth gap", lambda side: 1000 * _median(side, "depth_gap_m"), False, " mm", 1,
                "Median distance between the drawn model and the depth", pairs),
        measure("Depth explained", lambda side: 100 * _mean(side, "depth_inliers"), True, " %", 0,
                "Share of the depth on the object that the drawn model explains", pairs),
        measure("Mask agreement", lambda side: 100 * _mean(side, "mask_iou"), True, " %", 0,
                "Overlap of the mask the network sees with the drawn model's silhouette", pairs),
        measure("Found a frame", lambda side: sum(map(_kinds, side)) / len(side), True, "", 1,
                "Different objects the network finds in a frame; one that is found twice counts "
                "once", pairs),
    ]  # fmt: skip
    labelled = [pair for pair in pairs if pair[0].labelled]
    recall = None
    if labelled:
        recall = measure("Right (labels)", _recall, True, " %", 0,
                         "Poses within a tenth of the diameter, ADD(-S), where there are labels",
                         labelled)  # fmt: skip
    changes = [abs(b.trust - a.trust) for a, b in pairs]
    changed = pairs[int(np.argmax(changes))][0].index
    known = tuple(m for m in measures if np.isfinite([m.before, m.after]).any())
    return Verdict(agreement, known, len(pairs), changed, recall)


def _interval(pairs: Sequence[Pair], of: Statistic) -> tuple[float, float]:
    """Bounds of of(after) - of(before) over resampled frames; NaN with a single frame."""
    if len(pairs) < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    changes = []
    for draw in draws.tolist():
        first, second = zip(*(pairs[i] for i in draw), strict=True)
        changes.append(of(second) - of(first))
    known = np.array(changes)[np.isfinite(changes)]
    if len(known) < RESAMPLES / 2:
        return np.nan, np.nan
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _kinds(frame: JudgedFrame) -> int:
    return len({judged.pose.object_id for judged in frame.poses})


def _values(side: Sequence[JudgedFrame], name: str) -> list[float]:
    values = [getattr(pose, name) for frame in side for pose in frame.poses]
    return [value for value in values if value == value]


def _mean(side: Sequence[JudgedFrame], name: str) -> float:
    values = _values(side, name)
    return sum(values) / len(values) if values else np.nan


def _median(side: Sequence[JudgedFrame], name: str) -> float:
    values = _values(side, name)
    return float(np.median(values)) if values else np.nan


def _recall(side: Sequence[JudgedFrame]) -> float:
    there = sum(f.labelled for f in side)
    return 100 * sum(f.right for f in side) / there if there else np.nan
