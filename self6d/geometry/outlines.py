"""How far outlines known from depth lie beside the edges of a colour image.

Across each point of an outline the image's gradient is read along the outline's normal. Of all
shifts in the image plane the one is taken under which most points come to lie on an edge, as in
edge trackers of CAD models (Harris and Stennett, RAPID, BMVC 1990), with the search over a grid:
nothing is linearised, and other edges near by are outvoted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

REACH = 10  # pixels to each side that a shift is looked for in
FLOOR = 4.0  # grey values a pixel: of edges that count half
PARTS = 12  # of an outline, each left out once
FEWEST = 60  # points
HALF = 0.5  # pixels from an outermost covered pixel's centre to where the cover ends
_SMOOTH = 1.0  # standard deviation, pixels
MIDDLE = REACH + 4  # of a profile: pixels to each side


@dataclass(frozen=True)
class Outline:
    """Points where a surface ends in the image.

    Attributes:
        pixel: (N, 2) int, column and row of the outermost pixels on the near surface.
        normal: (N, 2), unit, away from the surface.
    """

    pixel: np.ndarray
    normal: np.ndarray

    def __len__(self) -> int:
        return len(self.pixel)

    def chosen(self, which: np.ndarray) -> Outline:
        """Those at a mask or indices."""
        return Outline(self.pixel[which], self.normal[which])


@dataclass(frozen=True)
class Shift:
    """By how much depth must be moved in the image plane to lie on the colours.

    Attributes:
        pixels: (2,), to the right and down. spread: (2, 2), covariance of it, pixels squared.
        before, after: mean strength of the colours' edges under the outline, 0 to 1.
    """

    pixels: np.ndarray
    spread: np.ndarray
    before: float
    after: float


def depth_outline(depth_m: np.ndarray, step: float = 0.03) -> Outline:
    """Where near surfaces end in front of far ones, or of nothing.

    Args:
        depth_m: (H, W), 0 where nothing is seen. step: share of the depth by which it must grow.
    """
    nothing = depth_m <= 0
    far = cv2.dilate(np.where(nothing, 1e3, depth_m).astype(np.float32), np.ones((3, 3), np.uint8))
    inverse = np.where(nothing, 0.0, 1 / np.maximum(depth_m, 1e-3)).astype(np.float32)
    near = cv2.GaussianBlur(inverse, (0, 0), 2.0)
    across, down = cv2.Sobel(near, cv2.CV_32F, 1, 0), cv2.Sobel(near, cv2.CV_32F, 0, 1)
    size = np.hypot(across, down)
    row, column = np.nonzero(~nothing & (far > (1 + step) * depth_m) & (size > 1e-6))
    normal = np.stack((across[row, column], down[row, column]), 1) / -size[row, column][:, None]
    return Outline(np.stack((column, row), 1), normal)


@dataclass(frozen=True)
class Gradient:
    """How colours change across and down an image, (H, W, 3) float32 each, grey values a pixel."""

    across: np.ndarray
    down: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray) -> Gradient:
        """Of (H, W, 3) uint8, smoothed by a pixel."""
        smooth = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), _SMOOTH)
        return cls(
            cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125),
            cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125),
        )


def edge_profiles(gradient: Gradient, outline: Outline) -> np.ndarray:
    """Strength of colour's edges along the normal of each point, (N, 2 MIDDLE + 1).

    Returns:
        in [0, 1): the gradient along the normal, against the profile's strongest; the point itself
        is at `MIDDLE`, what lies outside comes after it.
    """
    along = np.arange(-MIDDLE, MIDDLE + 1)
    x, y = (
        (outline.pixel[:, k, None] + along * outline.normal[:, k, None]).astype(np.float32)
        for k in (0, 1)
    )
    normal = outline.normal.astype(np.float32)[:, :, None, None]
    read = [
        cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in (gradient.across, gradient.down)
    ]
    strength = np.linalg.norm(read[0] * normal[:, 0] + read[1] * normal[:, 1], axis=-1)
    return strength / (strength.max(1, keepdims=True) + FLOOR)


def colour_shift(profiles: np.ndarray, outline: Outline, grown: float = HALF) -> Shift | None:
    """The shift under which an outline lies on the image's edges.

    How sure it is comes from leaving out each twelfth of the outline (jackknife), by angle about
    its middle.

    Args:
        profiles: of `edge_profiles`. grown: pixels that the outline lies within the true one.

    Returns:
        None: too few points, or none within reach.
    """
    if len(outline) < FEWEST:
        return None
    grid = np.arange(-REACH, REACH + 1)
    votes = np.zeros((PARTS, len(grid), len(grid)))
    turn = outline.pixel - outline.pixel.mean(0)
    order = np.argsort(np.arctan2(turn[:, 1], turn[:, 0]), kind="stable")
    sizes = np.zeros(PARTS)
    for part, own in enumerate(np.array_split(order, PARTS)):
        normal = outline.normal[own]
        at = normal[:, 1, None, None] * grid[:, None] + normal[:, 0, None, None] * grid + grown
        votes[part] = read_profiles(profiles[own], at).sum(0)
        sizes[part] = len(own)
    whole = votes.sum(0)
    best = _peak(whole)
    if best is None:
        return None
    left = [p for part in votes if (p := _peak(whole - part)) is not None]
    if len(left) < PARTS:
        return None
    apart = np.array(left) - np.mean(left, axis=0)
    spread = (PARTS - 1) / PARTS * apart.T @ apart
    total = sizes.sum()
    before, after = whole[REACH, REACH] / total, whole.max() / total
    return Shift(best, spread, float(before), float(after))


def read_profiles(profiles: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Profiles (N, P) at places (N, ...) along them, linearly interpolated."""
    place = np.clip(at + MIDDLE, 0, profiles.shape[1] - 1.001)
    low = place.astype(int)
    part = place - low
    low += profiles.shape[1] * np.arange(len(profiles)).reshape(-1, *[1] * (at.ndim - 1))
    flat = profiles.reshape(-1)  # one index is looked up in half the time of two
    return flat.take(low) * (1 - part) + flat.take(low + 1) * part


def _peak(votes: np.ndarray) -> np.ndarray | None:
    """Column and row of the most votes about the middle, to a part of a pixel; None at the rim."""
    row, column = np.unravel_index(votes.argmax(), votes.shape)
    last = len(votes) - 1
    if not (0 < row < last and 0 < column < last):
        return None

    def between(a: float, b: float, c: float) -> float:
        bend = a - 2 * b + c
        return 0.5 * (a - c) / bend if bend < 0 else 0.0

    x = column + between(*votes[row, column - 1 : column + 2])
    y = row + between(*votes[row - 1 : row + 2, column])
    return np.array([x, y]) - REACH
