"""Paint of a CAD model without colours, learned from the frames in which it was surely found.

A bottle's shape is nearly the same from behind. Where the CAD brings no colours to tell, what the
camera has shown of its surface so far does: a half turn puts other paint there, or a side that was
never seen, which says less than one that agrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from self6d.losses.color import rgb_to_ab
from self6d.refinement.regions import RegionCrops
from self6d.tracking.evidence import COLOR_SCALE
from self6d.tracking.points import ModelPoints
from self6d.tracking.quick.host import to_host

UNKNOWN = 0.5  # how alike colours are expected to be while nothing is learned
BLEND = 0.3  # weight of a new frame against what is known
FEWEST = 24  # points that say something
NOT_KNOWN = 0.7  # what a side counts as that was not seen yet: less than one that agrees
LEAST = 0.3  # what another paint altogether counts as: light and a shift of colours change it too
BLUR = 13  # pixels of a region: colours may lie some beside the depth
STEADY = 10.0  # frames that a point's paint is at most averaged over


@dataclass(frozen=True)
class Paint:
    """What is known of the colour of P surface points, see `ModelPoints`.

    Attributes:
        ab: (P, 2) float32, without brightness.
        weight: (P,) float32, frames that showed it; 0: none.
        alike: how alike it is from frame to frame at a right pose, in [0, 1].
    """

    ab: np.ndarray
    weight: np.ndarray
    alike: float

    def state(self) -> list[float]:
        """1 + 3 P numbers."""
        rows = np.concatenate((self.ab, self.weight[:, None]), 1).astype(float).round(5)
        return [self.alike, *rows.ravel().tolist()]

    @classmethod
    def from_state(cls, state: list[float]) -> Paint:
        """Inverse of `state`."""
        rows = np.array(state[1:], np.float32).reshape(-1, 3)
        return cls(rows[:, :2], rows[:, 2], float(state[0]))

    def colors_alike(self, shown: Shown) -> float:
        """As `Evidence.color`: 1 where all that is seen is known and as alike as is expected.

        What is seen and not known counts as `NOT_KNOWN`; NaN where too little is seen.
        """
        seen = int(shown.where.sum())
        own = shown.where & (self.weight > 0)
        if seen < FEWEST:
            return float("nan")
        if not own.any():
            return NOT_KNOWN
        alike = min(self._alike(shown, own) / max(self.alike, 0.1), 1.0)
        alike = LEAST + (1 - LEAST) * alike
        return NOT_KNOWN + (alike - NOT_KNOWN) * float(own.sum()) / seen

    def mixed(self, shown: Shown) -> Paint:
        """With what another frame shows."""
        both = shown.where & (self.weight > 0)
        alike = self.alike
        if both.sum() >= FEWEST:
            alike += BLEND * (self._alike(shown, both) - alike)
        weight = np.where(shown.where, np.minimum(self.weight + 1, STEADY), self.weight)
        share = np.where(shown.where, 1 / np.maximum(weight, 1), 0)[:, None]
        ab = self.ab + share * (shown.ab - self.ab)
        return Paint(ab.astype(np.float32), weight.astype(np.float32), float(alike))

    def _alike(self, shown: Shown, where: np.ndarray) -> float:
        apart = np.abs(shown.ab[where] - self.ab[where]).sum(1)
        return float(np.exp(-apart / COLOR_SCALE).mean())


@dataclass(frozen=True)
class Shown:
    """How one frame shows surface points at a pose.

    Attributes:
        ab: (P, 2) float32, 0 where not seen. where: (P,) bool, seen and at the depth they must be.
    """

    ab: np.ndarray
    where: np.ndarray


def new_paint(shown: Shown) -> Paint | None:
    """From a first frame; None where too little is seen."""
    if shown.where.sum() < FEWEST:
        return None
    return Paint(shown.ab, shown.where.astype(np.float32), UNKNOWN)


def shown(
    points: ModelPoints, region: RegionCrops, R: np.ndarray, t: np.ndarray, margin_m: float
) -> list[Shown]:
    """What N regions show of the points at their poses, in the colours of the regions.

    Args:
        region: N of them, with depth. R: (N, 3, 3). t: (N, 3), metres.
        margin_m: a point is seen where the sensor's depth is its own within so much.
    """
    assert region.depth_m is not None
    height, width = region.depth_m.shape[-2:]
    ab = torch.stack([rgb_to_ab(rgb) for rgb in region.rgb])
    blurred = avg_pool2d(ab, BLUR, 1, BLUR // 2, count_include_pad=False)
    colors, depths, cameras = to_host(blurred, region.depth_m, region.K)()
    rows = []
    for ab, depth, K, own_R, own_t in zip(colors, depths, cameras, R, t, strict=True):
        place = points.points @ own_R.T + own_t
        side = int((points.directions @ (-own_R.T @ (own_R @ points.centre + own_t))).argmax())
        where = points.seen[side] & (place[:, 2] > 0.01)
        z = np.maximum(place[:, 2:], 0.01)
        pixel = np.floor((place / z) @ K[:2].T).astype(int)
        where &= ((pixel >= 0) & (pixel < (width, height))).all(1)
        column, row = np.clip(pixel, 0, (width - 1, height - 1)).T
        sensor = depth[row, column]
        where &= (sensor > 0) & (np.abs(sensor - place[:, 2]) < margin_m)
        seen = np.where(where[:, None], ab[:, row, column].T, 0).astype(np.float32)
        rows.append(Shown(seen, where))
    return rows
