"""How good poses are, judged without any label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from self6d.errors import DivergenceError
from self6d.losses.objective import SelfSupervision
from self6d.losses.target import Target
from self6d.rendering.result import Rendering

DRIFT = 1.5  # a gap to the depth so many times the smallest, ...
DRIFT_M = 0.005  # ... and so much wider, is more than sensor noise on a few probe frames
LESS = 0.995  # what is below this share of the start's has got worse

MEASURES = (  # of `HealthMonitor.start`: key, name, scale and unit
    ("mask_iou", "mask agreement", 100, "%"),
    ("depth_inliers", "depth explained", 100, "%"),
    ("depth_gap_m", "gap to the depth", 1000, "mm"),
)
RISE, FALL = ("trust", "mask_iou"), ("depth_gap_m",)  # where poses get better


@dataclass
class PoseHealth:
    """Label-free measures of N poses.

    Attributes:
        mask_iou: (N,), predicted visible mask against the rendered one, hidden pixels left out.
        depth_inliers: (N,), share of the sensor depth under the mask that the rendering explains
            within `depth_tolerance`; NaN where there is no such depth.
        trust: (N,) in [0, 1], their product (the IoU alone without depth): near 0 for a lost pose.
    """

    mask_iou: Tensor
    depth_inliers: Tensor

    @property
    def trust(self) -> Tensor:
        return self.mask_iou * self.depth_inliers.nan_to_num(1.0)


def depth_tolerance(diameter: Tensor) -> Tensor:
    """Depth agrees within 4 % of the diameter, but 4 mm (sensor noise) to 15 mm: (N,), metres."""
    return (0.04 * diameter).clamp(0.004, 0.015)


@torch.no_grad()
def judge_poses(
    objective: SelfSupervision, target: Target, rendering: Rendering, diameter: Tensor
) -> PoseHealth:
    """Hold renderings of N poses against what the sensor and the mask say.

    Args:
        objective: decides which pixels an occluder hides. target: N regions.
        rendering: of the poses, over the regions; a hard mask is enough.
        diameter: (N,), metres.
    """
    seen = target.observed & ~objective.hidden(target, rendering.depth_m)
    mask = (target.mask >= 0.5) & target.observed
    drawn = rendering.covered & seen
    either = (mask | drawn).sum((1, 2))
    iou = (mask & drawn).sum((1, 2)) / either.clamp_min(1)
    inliers = torch.full_like(iou, torch.nan)
    if target.depth_m is not None and target.usable is not None:
        measured = mask & target.usable
        near = (rendering.depth_m - target.depth_m).abs() < depth_tolerance(diameter)[:, None, None]
        count = measured.sum((1, 2))
        share = (measured & rendering.covered & near).sum((1, 2)) / count.clamp_min(1)
        inliers = torch.where(count > 0, share, inliers)
    return PoseHealth(iou, inliers)


@torch.no_grad()
def depth_gaps(target: Target, rendering: Rendering) -> Tensor:
    """How far rendering and sensor are apart where both show the object: (N,) median, metres.

    NaN without depth, or where the rendering misses the mask altogether. Unlike inliers, it goes on
    telling better from worse when poses are far off.
    """
    if target.depth_m is None or target.usable is None:
        return torch.full_like(rendering.depth_m[:, 0, 0], torch.nan)
    both = (target.mask >= 0.5) & target.observed & target.usable & rendering.covered
    gap = (rendering.depth_m - target.depth_m).abs()
    return torch.where(both, gap, torch.nan).flatten(1).nanmedian(1).values


@torch.no_grad()
def flipped_against_neighbours(
    R: Tensor, sequence: Tensor, position: Tensor, symmetries: Tensor, limit: float = math.pi / 3
) -> Tensor:
    """Poses that turn away from both neighbours although the neighbours agree with each other.

    Poses of one object in consecutive frames of one recording change little; one that differs from
    the frame before and after by more than `limit` while those two are within half of it of one
    another has flipped. Says nothing at the ends, in gaps, or where frames are far apart.

    Args:
        R: (N, 3, 3), poses of one object, by time within each sequence.
        sequence: (N,) int64, such as the scene number. position: (N,) int64, frame in sequence.
        symmetries: (S, 3, 3), rotations that leave the object looking the same, identity first.
        limit: radians.

    Returns:
        (N,) bool.
    """
    flipped = torch.zeros(len(R), dtype=torch.bool, device=R.device)
    if len(R) < 3:
        return flipped

    def angle(a: Tensor, b: Tensor) -> Tensor:
        """Smallest angle between rotations, up to symmetry."""
        relative = a.mT @ b
        trace = torch.einsum("nij,sij->ns", relative, symmetries)
        return ((trace.amax(1) - 1) / 2).clamp(-1, 1).acos()

    step = position.diff().clamp_min(1)
    gap = position[2:] - position[:-2]
    together = (sequence[2:] == sequence[:-2]) & (gap <= 4 * step.median())
    calm = angle(R[:-2], R[2:]) < limit / 2
    away = (angle(R[1:-1], R[:-2]) > limit) & (angle(R[1:-1], R[2:]) > limit)
    flipped[1:-1] = together & calm & away
    return flipped


@dataclass
class HealthMonitor:
    """Watches a run's health: stops what collapses, ends what no longer improves.

    Attributes:
        collapse: share of the best health so far below which a run has collapsed; likewise when
            the depth gap is wider than at the start, `DRIFT` times the smallest so far, and more
            than sensor noise wider than that.
        patience: checks without a new best after which a run may end; 0: never.
        strikes: checks in a row below the limit that count as a collapse; `low` counts them.
        start: all measures of the first check.
    """

    collapse: float = 0.5
    patience: int = 0
    strikes: int = 2
    best: float = -math.inf
    nearest_m: float = math.inf
    low: int = 0
    stale: int = 0
    history: list[float] = field(default_factory=list)
    start: dict[str, float] = field(default_factory=dict)

    def check(self, health: float, step: int, gap_m: float = math.nan) -> str | None:
        """Take in a health value (higher is better); a reason to end the run, or None.

        Args:
            gap_m: median of `depth_gaps`, metres; NaN is no evidence.

        Raises:
            DivergenceError: collapsed `strikes` times in a row.
        """
        self.history.append(health)
        what = self.fallen(health, gap_m)
        self.low = self.low + 1 if what else 0
        if self.low >= self.strikes:
            raise DivergenceError(
                f"{what} by step {step}",
                remedy="Lower adapt.lr, or switch the mask and geometry terms on again.",
            )
        self.stale = 0 if health > self.best else self.stale + 1
        self.best = max(self.best, health)
        self.nearest_m = min(self.nearest_m, gap_m)  # NaN is never less
        return self.reason

    def fallen(self, health: float, gap_m: float = math.nan) -> str:
        """What tells that health has collapsed, in words; "" where nothing does."""
        if health < self.collapse * self.best:
            return f"health fell from {self.best:.2f} to {health:.2f}"
        # the smallest of many noisy gaps is lucky: poses better than at the start are no collapse
        usual = max(DRIFT * self.nearest_m, self.nearest_m + DRIFT_M)
        usual = max(usual, self.start.get("depth_gap_m", 0.0))  # a NaN is never more
        if self.collapse > 0 and gap_m > usual:
            return f"the gap to the depth grew from {_mm(self.nearest_m)} to {_mm(gap_m)}"
        return ""

    def worse(self, now: Mapping[str, float]) -> str:
        """What tells that poses are worse than at the start, in words; "" where nothing does.

        L_self gives up mask agreement for the depth, so that counts as worse only where the depth
        agrees less as well. Without depth nothing is told.

        Args:
            now: as `start`: "trust", "mask_iou" and, with depth, "depth_gap_m".
        """
        start = self.start
        if not {"mask_iou", "trust", "depth_gap_m"} <= start.keys() & now.keys():
            return ""
        if now["mask_iou"] >= LESS * start["mask_iou"]:
            return ""
        words = f"mask agreement fell from {start['mask_iou']:.1%} to {now['mask_iou']:.1%} and "
        if now["depth_gap_m"] > start["depth_gap_m"]:
            gaps = (_mm(gap["depth_gap_m"]) for gap in (start, now))
            return words + "the gap to the depth grew from {} to {}".format(*gaps)
        if now["trust"] < start["trust"]:
            return words + f"trust from {start['trust']:.3f} to {now['trust']:.3f}"
        return ""

    @property
    def reason(self) -> str | None:
        """Why the run ends here; None: it goes on."""
        if self.patience and self.stale >= self.patience:
            return f"health no longer improves ({self.stale} checks without a new best)"
        return None

    def told(self, now: Mapping[str, float], step: int) -> tuple[Literal["info", "warning"], str]:
        """What changed since the start, in words; a warning where all measures got worse.

        Args:
            now: as `start`: "trust", "mask_iou" and, with depth, "depth_inliers" and "depth_gap_m".
        """
        both = {key: (self.start[key], now[key]) for key in self.start.keys() & now.keys()}
        worse = [after < LESS * before for key, (before, after) in both.items() if key in RISE]
        worse += [LESS * after > before for key, (before, after) in both.items() if key in FALL]
        words = [
            f"{name} {both[key][0] * scale:.0f} -> {both[key][1] * scale:.0f} {unit}"
            for key, name, scale, unit in MEASURES
            if key in both
        ]
        text = f"without labels, from the start to step {step}: {', '.join(words)}"
        if not (worse and all(worse)):
            return "info", text
        return "warning", f"{text}. All got worse: compare it with stage 1 before use"

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return dict(vars(self))

    def load(self, state: dict[str, object]) -> None:
        """From a checkpoint."""
        vars(self).update(state)


def _mm(metres: float) -> str:
    return f"{1000 * metres:.0f} mm"
