"""How sure a pose is, from what the image says and no label."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import avg_pool2d

from self6d.losses.color import rgb_to_ab
from self6d.refinement.health import depth_tolerance
from self6d.rendering.result import Rendering
from self6d.tracking.points import goes_on_at

RIM = (3, 8)  # pixels of a region
GRAY_SCALE = 0.3  # difference of brightness that says as much
COLOR_SCALE = 0.08  # difference of a and b at which a pixel says e times less
NEAR_ODDS = 12.0  # of a pose near the last one against one from anywhere


@dataclass(frozen=True)
class Evidence:
    """Label-free measures of one pose, shares in [0, 1] (colour may be more alike than expected).

    Attributes:
        explained: of the rendered pixels with depth that nothing hides, those whose depth agrees.
        visible: of all rendered pixels, those whose depth agrees.
        mask: overlap (IoU) of the visible mask with the rendering, what is hidden left out.
        color: how alike colours are where depth agrees, against how alike they are expected to
            be; NaN for models without colour.
        close: 1 - median distance to the depth in tolerances where it agrees.
        edge: of the rim around what is seen of the rendering, the part where the sensor's surface
            does not go on in shape and paint: near 0 for a pose sunk into a table or wall.
        refiner: probability that the shipped RGB refiner gives, from the image alone.
        inside: of the whole rendering, the part within the image; the others speak of it alone.
    """

    explained: float
    visible: float
    mask: float
    color: float
    close: float
    edge: float
    refiner: float
    inside: float = 1.0

    SHOWN: ClassVar = ("explained", "mask")  # told at each step

    def values(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


NOTHING = Evidence(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@torch.no_grad()
def measured(
    rgb: Tensor,
    depth_m: Tensor,
    mask: Tensor,
    observed: Tensor,
    rendering: Rendering,
    diameter: Tensor,
) -> tuple[Tensor, ...]:
    """Hold N rendered poses against their image regions, without waiting for a GPU.

    Args:
        rgb: (N, 3, h, w) in [0, 1]. depth_m: (N, h, w), metres, 0 where unknown.
        mask: (N, h, w) bool, where the object is visible. observed: (N, h, w) bool, in the image.
        rendering: of the poses over those regions. diameter: (N,), metres.

    Returns:
        tensors of N rows, which `read` makes evidence of once they are arrays.
    """
    drawn = rendering.covered & observed
    known = drawn & (depth_m > 0)
    gap = depth_m - rendering.depth_m
    limit = depth_tolerance(diameter)
    tolerance = limit[:, None, None]
    agree = known & (gap.abs() < tolerance)
    hidden = known & (gap < -tolerance) & ~mask
    count = lambda x: x.sum((1, 2)).double()  # noqa: E731
    share = lambda a, b: count(a) / count(b).clamp_min(1)  # noqa: E731
    explained = share(agree, known & ~hidden)
    visible = share(agree, drawn)
    seen = drawn & ~hidden
    iou = share(mask & seen, (mask | seen) & ~hidden)
    near = torch.where(agree, gap.abs() / tolerance, torch.nan).flatten(1).nanmedian(1).values
    close = (1 - near).nan_to_num(0.0)
    color = colors_alike(rgb, rendering.rgb, agree)
    inside = share(drawn, rendering.covered)
    shares = torch.stack([x.double() for x in (explained, visible, iou, color, close, inside)], 1)
    smooth = avg_pool2d(rgb, 3, 1, 1)
    paint = torch.cat((rgb_to_ab(smooth) / COLOR_SCALE, smooth.mean(1, True) / GRAY_SCALE), 1)
    return shares, paint, rendering.depth_m, agree, depth_m, observed & (depth_m > 0), limit


def read(
    arrays: Sequence[np.ndarray], refiner: Callable[[], Sequence[float]], alike: float | None
) -> list[Evidence]:
    """Evidence of N poses.

    Args:
        arrays: what `measured` gave. refiner: gives N numbers, see `Evidence`; asked last.
        alike: how alike colours are expected to be; None for models without colour.
    """
    shares, *pixels = arrays
    edges = [_edge(*rows) for rows in zip(*pixels, strict=True)]
    found = []
    for row, edge, said in zip(shares.tolist(), edges, refiner(), strict=True):
        explained, visible, iou, color, close, inside = row
        color = math.nan if alike is None else color / max(alike, 0.1)
        found.append(Evidence(explained, visible, iou, color, close, edge, said, inside))
    return found


def colors_alike(rgb: Tensor, rendered: Tensor, where: Tensor) -> Tensor:
    """How alike colours without brightness are, (N, 3, h, w) twice and (N, h, w) bool -> (N,)."""
    apart = (rgb_to_ab(rgb) - rgb_to_ab(rendered)).abs().sum(1)
    alike = torch.exp(-apart / COLOR_SCALE) * where
    return alike.sum((1, 2)).double() / where.sum((1, 2)).double().clamp_min(1)


def _edge(
    paint: np.ndarray,
    drawn_m: np.ndarray,
    own: np.ndarray,
    depth_m: np.ndarray,
    known: np.ndarray,
    limit: float,
) -> float:
    """`Evidence.edge`: the rim lies `RIM` pixels off, as sensors widen what is in front.

    Args:
        paint: (3, h, w), colours in units of what says e^0.5 times less. drawn_m, depth_m: (h, w),
            metres. own: (h, w) bool, rendered and of the sensor's depth. known: (h, w) bool, with
            depth. limit: metres within which depth agrees.
    """
    if not own.any():
        return 0.0
    inner, outer = RIM
    # what is farther off than the rim changes nothing
    at = [np.flatnonzero(own.any(axis)) for axis in (1, 0)]
    top, left = (max(int(x[0]) - outer, 0) for x in at)
    window = slice(top, int(at[0][-1]) + outer + 1), slice(left, int(at[1][-1]) + outer + 1)
    beside = cv2.dilate((drawn_m > 0).astype(np.uint8), _disc(inner)) == 0
    apart, nearest = distance_transform_edt(~own[window], return_indices=True)
    row, column = np.nonzero((beside & known)[window] & (apart <= outer))
    if not len(row):
        return 0.0
    edge = nearest[:, row, column] + np.array([[top], [left]])
    row, column = row + top, column + left
    there = goes_on_at(drawn_m, np.stack((row, column), 1), edge.T)
    level = np.abs(depth_m[row, column] - there) < limit
    change = np.abs(paint[:, row, column] - paint[:, edge[0], edge[1]]).sum(0)
    return 1 - float((level * np.exp(-change / 2)).mean())


def _disc(radius: int) -> np.ndarray:
    """(2 r + 1, 2 r + 1) uint8, 1 within the radius of the middle."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (y * y + x * x <= radius * radius).astype(np.uint8)


class Measures(Protocol):
    """Label-free measures of one pose."""

    def values(self) -> dict[str, float]:
        """By name."""


@dataclass(frozen=True)
class Calibration:
    """A logistic model of "this pose is within a tenth of the diameter" over label-free measures.

    Attributes:
        bias: with the weights of measures by name; a measure that is NaN counts as its mean.
    """

    bias: float
    weights: dict[str, float]
    means: dict[str, float]

    def confidence(self, evidence: Measures) -> float:
        """Probability in [0, 1]."""
        values = evidence.values()
        total = self.bias
        for name, weight in self.weights.items():
            value = values[name]
            value = self.means[name] if math.isnan(value) else value
            total += weight * min(value, 1.0)
        return 1 / (1 + math.exp(-max(min(total, 50.0), -50.0)))


def likelier(confidence: float) -> float:
    """Of a pose near where the object must be, by `NEAR_ODDS` (Bayes)."""
    return NEAR_ODDS * confidence / (NEAR_ODDS * confidence + 1 - confidence)


# Made by `self6d-studio experiment confidence --out OUT`, which fits it to seeds 1 to 11:
# poses from starts good and bad on generated recordings, things put before the objects.
DEFAULT = Calibration(
    bias=-15.238,
    weights={
        "explained": 0.561, "visible": 0.304, "color": 4.849, "close": 4.133, "edge": 5.659,
        "refiner": 7.142,
    },
    means={
        "explained": 0.923, "visible": 0.738, "color": 0.626, "close": 0.841, "edge": 0.952,
        "refiner": 0.704,
    },
)  # fmt: skip
