"""How sure a pose is, from what the image says and no label."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

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

    def values(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


NOTHING = Evidence(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@torch.no_grad()
def measure(
    rgb: Tensor,
    depth_m: Tensor,
    masks: Callable[[], Tensor],
    observed: Tensor,
    rendering: Rendering,
    diameter: Tensor,
    refiner: Tensor,
    *,
    alike: float | None,
) -> list[Evidence]:
    """Hold N rendered poses against their image regions.

    Args:
        rgb: (N, 3, h, w) in [0, 1]. depth_m: (N, h, w), metres, 0 where unknown.
        masks: gives (N, h, w) bool, where the object is visible; asked last, for it takes longest.
        observed: (N, h, w) bool, in the image.
        rendering: of the poses over those regions. diameter: (N,), metres.
        refiner: (N,), see `Evidence`.
        alike: how alike colours are expected to be; None for models without colour.
    """
    drawn = rendering.covered & observed
    known = drawn & (depth_m > 0)
    gap = depth_m - rendering.depth_m
    tolerance = depth_tolerance(diameter)[:, None, None]
    agree = known & (gap.abs() < tolerance)
    edge = _edge(rgb, rendering.depth_m, agree, depth_m, observed, tolerance)
    mask = masks()
    hidden = known & (gap < -tolerance) & ~mask
    count = lambda x: x.sum((1, 2)).double()  # noqa: E731
    share = lambda a, b: count(a) / count(b).clamp_min(1)  # noqa: E731
    explained = share(agree, known & ~hidden)
    visible = share(agree, drawn)
    seen = drawn & ~hidden
    iou = share(mask & seen, (mask | seen) & ~hidden)
    near = torch.where(agree, gap.abs() / tolerance, torch.nan).flatten(1).nanmedian(1).values
    close = (1 - near).nan_to_num(0.0)
    if alike is not None:
        color = colors_alike(rgb, rendering.rgb, agree) / max(alike, 0.1)
    else:
        color = torch.full_like(explained, torch.nan)
    inside = share(drawn, rendering.covered)
    rows = torch.stack(
        [x.double() for x in (explained, visible, iou, color, close, edge, refiner, inside)], 1
    ).tolist()
    return [Evidence(*row) for row in rows]


def colors_alike(rgb: Tensor, rendered: Tensor, where: Tensor) -> Tensor:
    """How alike colours without brightness are, (N, 3, h, w) twice and (N, h, w) bool -> (N,)."""
    apart = (rgb_to_ab(rgb) - rgb_to_ab(rendered)).abs().sum(1)
    alike = torch.exp(-apart / COLOR_SCALE) * where
    return alike.sum((1, 2)).double() / where.sum((1, 2)).double().clamp_min(1)


def _edge(
    rgb: Tensor,
    rendered_m: Tensor,
    agree: Tensor,
    depth_m: Tensor,
    observed: Tensor,
    tolerance: Tensor,
) -> Tensor:
    """`Evidence.edge`, (N,): the rim lies `RIM` pixels off, as sensors widen what is in front."""
    inner, outer = RIM
    smooth = avg_pool2d(rgb, 3, 1, 1)
    paint = torch.cat((rgb_to_ab(smooth) / COLOR_SCALE, smooth.mean(1, True) / GRAY_SCALE), 1)
    shares = []
    known = (observed & (depth_m > 0)).cpu().numpy()
    arrays = (x.cpu().numpy() for x in (paint, rendered_m, agree, depth_m, tolerance.flatten()))
    for colors, drawn, own, sensor, limit, seen in zip(*arrays, known, strict=True):
        share = 0.0
        if own.any():
            beside = distance_transform_edt(drawn <= 0) > inner
            apart, nearest = distance_transform_edt(~own, return_indices=True)
            row, column = np.nonzero(beside & (apart <= outer) & seen)
            if len(row):
                edge = nearest[:, row, column]
                there = goes_on_at(drawn, np.stack((row, column), 1), edge.T)
                level = np.abs(sensor[row, column] - there) < limit
                change = np.abs(colors[:, row, column] - colors[:, edge[0], edge[1]]).sum(0)
                share = 1 - float((level * np.exp(-change / 2)).mean())
        shares.append(share)
    return torch.tensor(shares, dtype=torch.float64, device=rendered_m.device)


@dataclass(frozen=True)
class Calibration:
    """A logistic model of "this pose is within a tenth of the diameter" over `Evidence`.

    Attributes:
        bias: with the weights of measures by name; a measure that is NaN counts as its mean.
    """

    bias: float
    weights: dict[str, float]
    means: dict[str, float]

    def confidence(self, evidence: Evidence) -> float:
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
