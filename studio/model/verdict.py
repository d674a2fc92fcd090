"""Whether an adaptation helped, from frames judged before and after it. No widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studio.engine.types import JudgedFrame

RESAMPLES = 400
BETTER, WORSE, SAME = "better", "worse", "same"
FOUND = "Found a frame"
Pair = tuple[JudgedFrame, JudgedFrame]
# of frames: what a number is where each of n frames counts that often, (R, n) to (R,)
Number = Callable[[np.ndarray], np.ndarray]
Statistic = Callable[[Sequence[JudgedFrame]], Number]


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
    def nothing_found(self) -> bool:
        """Whether neither network finds anything in these frames."""
        (found,) = (m for m in self.measures if m.name == FOUND)
        return not (found.before or found.after)

    @property
    def headline(self) -> str:
        if self.nothing_found:
            return "Neither network finds anything in these frames."
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
        first, second = (of(side) for side in zip(*some, strict=True))
        once = np.ones((1, len(some)))
        low, high = _interval(first, second, len(some))
        return Measure(name, float(first(once)[0]), float(second(once)[0]), low, high, rises, unit,
                       digits, tip)  # fmt: skip

    blind = not any(len(_values(side, "depth_inliers")[0]) for side in zip(*pairs, strict=True))
    agrees = "Mask agreement" if blind else "Mask agreement times share of depth explained"
    agreement = measure(
        "Agreement", lambda side: _ratio([f.trust for f in side], [per_frame] * len(side)), True,
        "", 2, f"{agrees}, over the poses there are to find", pairs,
    )  # fmt: skip
    measures = [
        measure("Depth gap", lambda side: _median(side, "depth_gap_m", 1000), False, " mm", 1,
                "Median distance between the drawn model and the depth", pairs),
        measure("Depth explained", lambda side: _mean(side, "depth_inliers"), True, " %", 0,
                "Share of the depth on the object that the drawn model explains", pairs),
        measure("Mask agreement", lambda side: _mean(side, "mask_iou"), True, " %", 0,
                "Overlap of the mask the network sees with the drawn model's silhouette", pairs),
        measure(FOUND, lambda side: _ratio([_kinds(f) for f in side], [1] * len(side)),
                True, "", 1, "Different objects the network finds in a frame; one that is found "
                "twice counts once", pairs),
    ]  # fmt: skip
    labelled = [pair for pair in pairs if pair[0].labelled]
    recall = None
    if labelled:
        recall = measure(
            "Right (labels)",
            lambda side: _ratio([100 * f.right for f in side], [f.labelled for f in side]), True,
            " %", 0, "Poses within a tenth of the diameter, ADD(-S), where there are labels",
            labelled,
        )  # fmt: skip
    changes = [abs(b.trust - a.trust) for a, b in pairs]
    changed = pairs[int(np.argmax(changes))][0].index
    known = tuple(m for m in measures if np.isfinite([m.before, m.after]).any())
    return Verdict(agreement, known, len(pairs), changed, recall)


def _interval(before: Number, after: Number, frames: int) -> tuple[float, float]:
    """Bounds of the change over resampled frames; NaN with a single frame."""
    if frames < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(0).integers(0, frames, (RESAMPLES, frames))
    counts = np.zeros((RESAMPLES, frames))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], draws), 1)
    changes = after(counts) - before(counts)
    known = changes[np.isfinite(changes)]
    if len(known) < RESAMPLES / 2:
        return np.nan, np.nan
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _kinds(frame: JudgedFrame) -> int:
    return len({judged.pose.object_id for judged in frame.poses})


def _ratio(above: Sequence[float], below: Sequence[float]) -> Number:
    """Sum of one over sum of the other, each a value a frame; NaN where there is nothing."""

    def number(counts: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (counts @ np.array(above, float)) / (counts @ np.array(below, float))

    return number


def _values(side: Sequence[JudgedFrame], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(K,) values of all poses that have one, and the place of the frame of each."""
    found = [(getattr(p, name), i) for i, frame in enumerate(side) for p in frame.poses]
    known = [(value, i) for value, i in found if value == value]
    values, places = zip(*known, strict=True) if known else ((), ())
    return np.array(values, float), np.array(places, int)


def _mean(side: Sequence[JudgedFrame], name: str) -> Number:
    """Of all poses, in percent."""
    values, places = _values(side, name)
    return _ratio(np.bincount(places, 100 * values, len(side)).tolist(),
                  np.bincount(places, minlength=len(side)).tolist())  # fmt: skip


def _median(side: Sequence[JudgedFrame], name: str, scale: float) -> Number:
    """Of all poses."""
    values, places = _values(side, name)
    order = values.argsort()
    values, places = values[order], places[order]

    def number(counts: np.ndarray) -> np.ndarray:
        if not len(values):
            return np.full(len(counts), np.nan)
        up_to = counts[:, places].cumsum(1)
        total = up_to[:, -1]
        at = lambda rank: values[(up_to > rank[:, None]).argmax(1)]  # noqa: E731
        middle = (at((total - 1) // 2) + at(total // 2)) / 2
        return np.where(total > 0, scale * middle, np.nan)

    return number
