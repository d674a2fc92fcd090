"""A pose laid onto the colours: its outline on their edges, its paint on theirs.

Gauss-Newton over both, all three turns and shifts; the distance is the depth's, and so are turns
that the colours leave open. Outlines are followed as in RAPID (Harris and Stennett, 1990), paint
as in direct image alignment (Baker and Matthews, IJCV 2004) under an affine map of colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from self6d.geometry.outlines import FEWEST, HALF, MIDDLE, edge_profiles, read_profiles
from self6d.rendering import PackedModels
from self6d.tracking.colours.region import Drawing, Region

ROUNDS = ((5.0, 3.0), (4.0, 2.0), (3.0, 1.5), (2.5, 1.0), (2.5, 1.0))
# of these: pixels that an edge is looked for within, and by which paint is smoothed
CLOSE = ROUNDS[-2:] * 2  # where the pose is about right
TURNS, SIDEWAYS_M, ALONG_M = 0.04, 0.02, 0.003  # standard deviations of what depth leaves
GROWN = 1.0  # pixels, of how much larger than its model a thing looks: blur, and the mesh's error
APART = 3.0  # the same by axis, where that is what is asked for
FIXED_M = 1e-5  # of a distance that stays
MEDIAN_M = 0.001  # of the median by which the sensor's surface lies behind the model's
GATE_M = 0.03  # what is farther apart is not the same surface
ALIKE_EDGES, ALIKE_PAINT = 20.0, 100.0  # neighbours err alike: so many points count as one
LARGEST = 0.05  # radians a round
FEWEST_PAINT = 150  # pixels
MOST_PAINT = 2500
PLAIN = 1e-3  # variance of paint below which it says nothing
LARGER = np.arange(-0.5, 2.5, 0.5)  # pixels that a thing may look larger by, to judge it


@dataclass(frozen=True)
class Laid:
    """A pose and how well colours agree with it.

    Attributes:
        R: (3, 3). t: (3,), metres.
        agreement: mean strength of edges under its outline, 0 to 1, and the share of its paint's
            variance that the image explains, where the model has paint.
    """

    R: np.ndarray
    t: np.ndarray
    agreement: float


def agreement(
    region: Region, R: np.ndarray, t: np.ndarray, models: PackedModels, *, painted: bool
) -> float | None:
    """See `Laid.agreement`; None where too little is seen."""
    drawing = region.drawn(R, t, models)
    if len(drawing.outline) < FEWEST:
        return None
    profiles = edge_profiles(region.gradient, drawing.outline)
    edges = max(float(read_profiles(profiles, _at(len(profiles), e)).mean()) for e in LARGER)
    paint = _Paint.of(region, drawing, 1.0) if painted else None
    return edges + (0.0 if paint is None else paint.explained)


def lay_on_colours(
    region: Region,
    R: np.ndarray,
    t: np.ndarray,
    models: PackedModels,
    centre: np.ndarray,
    *,
    painted: bool,
) -> Laid | None:
    """A pose a few pixels off, laid on; None where too little is seen.

    Args:
        region: about the pose, with its depth moved as the pose was.
        R: (3, 3). t: (3,), metres. models: one packed model. centre: (3,), turned about.
        painted: whether its colours are known.
    """
    found = _moved(region, R, t, models, centre, painted=painted, by_axis=False)
    if found is None:
        return None
    R, t, _ = found
    agrees = agreement(region, R, t, models, painted=painted)
    return None if agrees is None else Laid(R, t, agrees)


def larger(
    region: Region,
    R: np.ndarray,
    t: np.ndarray,
    models: PackedModels,
    centre: np.ndarray,
    *,
    painted: bool,
) -> tuple[np.ndarray, np.ndarray] | None:
    """How much larger a thing looks than its model at the pose's distance; arguments as above.

    Returns:
        across and down, (2,) each: by how many pixels of the frame to each side, and the share of
        the model's own extent there. None where too little is seen.
    """
    found = _moved(region, R, t, models, centre, painted=painted, by_axis=True)
    if found is None:
        return None
    R, t, grown = found
    outline = region.drawn(R, t, models).outline
    if len(outline) < FEWEST:
        return None
    pixels, extent = grown / region.scale, np.ptp(outline.pixel, axis=0) / region.scale
    return pixels, 2 * pixels / extent


def _moved(
    region: Region, R: np.ndarray, t: np.ndarray, models: PackedModels, centre: np.ndarray,
    *, painted: bool, by_axis: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:  # fmt: skip
    """The pose laid on, and by how much its outline had to grow: (1,), or (2,) across and down.

    By axis the distance is the pose's own, else it gives way to the depth's.
    """
    growth = [APART] * 2 if by_axis else [GROWN]
    along = FIXED_M if by_axis else ALONG_M
    held = 1 / np.array([TURNS] * 3 + [SIDEWAYS_M] * 2 + [along, *growth]) ** 2
    done, middle = np.zeros(len(held)), R @ centre + t
    grown = np.zeros(len(growth))
    for window, smooth in CLOSE if by_axis else ROUNDS:
        drawing = region.drawn(R, middle - R @ centre, models)
        if len(drawing.outline) < FEWEST:
            return None
        A, b = np.diag(held), -held * done
        _add_edges(A, b, region, drawing, middle, window, grown)
        if not by_axis:
            _add_distance(A, b, region, drawing)
        paint = _Paint.of(region, drawing, smooth) if painted else None
        if paint is not None:
            paint.add(A, b, region, drawing, middle)
        step = np.linalg.solve(A, b)
        step *= min(1.0, LARGEST / max(float(np.linalg.norm(step[:3])), 1e-9))
        done += step
        grown += step[6:]
        R = Rotation.from_rotvec(step[:3]).as_matrix() @ R
        middle = middle + step[3:6]
    return R, middle - R @ centre, grown


def _at(count: int, grown: float) -> np.ndarray:
    return np.full((count, 1), HALF + grown)


def _add_edges(
    A: np.ndarray, b: np.ndarray, region: Region, drawing: Drawing, middle: np.ndarray,
    window: float, grown: np.ndarray,
) -> None:  # fmt: skip
    """The nearest strong edge along each normal; what the outline is larger by is unknown."""
    outline = drawing.outline
    profiles = edge_profiles(region.gradient, outline)
    share = np.ones((len(outline), 1)) if len(grown) == 1 else outline.normal**2
    along = np.arange(-MIDDLE, MIDDLE + 1) - HALF - (share @ grown)[:, None]
    best = (profiles * np.exp(-0.5 * (along / window) ** 2)).argmax(1)
    best = np.clip(best, 1, profiles.shape[1] - 2)
    row = np.arange(len(best))
    before, peak, after = (profiles[row, best + k] for k in (-1, 0, 1))
    bend = np.minimum(before - 2 * peak + after, -1e-6)
    off = along[row, best] + np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    weight = peak**2 * (np.abs(off) < 2.5 * window) / (1 + (off / window) ** 2) / ALIKE_EDGES
    J = np.column_stack((_motion(region, drawing, outline.pixel, outline.normal, middle),
                         share))  # fmt: skip
    A += (J * weight[:, None]).T @ J
    b += (J * weight[:, None]).T @ off


def _add_distance(A: np.ndarray, b: np.ndarray, region: Region, drawing: Drawing) -> None:
    """The sensor's surface lies on the model's, in the median."""
    apart = region.depth_m - drawing.depth_m
    same = (region.depth_m > 0) & (drawing.depth_m > 0) & (np.abs(apart) < GATE_M)
    if same.sum() >= FEWEST:
        A[5, 5] += 1 / MEDIAN_M**2
        b[5] += float(np.median(apart[same])) / MEDIAN_M**2


def _motion(
    region: Region, drawing: Drawing, pixel: np.ndarray, way: np.ndarray, middle: np.ndarray
) -> np.ndarray:
    """(N, 6): how far points move along (N, 2) image directions, by turns about and shifts of."""
    K = region.K
    z = drawing.depth_m[pixel[:, 1], pixel[:, 0]]
    flat = (pixel + 0.5 - K[:2, 2]) / K[[0, 1], [0, 1]]
    point = np.column_stack((flat * z[:, None], z))
    across = way * K[[0, 1], [0, 1]] / z[:, None]
    shift = np.column_stack((across, -(across * flat).sum(1)))
    return np.concatenate((np.cross(point - middle, shift), shift), 1)


@dataclass(frozen=True)
class _Paint:
    """How a drawing's colours differ from the image's, as these are mapped onto them.

    Attributes:
        pixel: (N, 2) int. apart: (N, 3). slope: two of (N, 3), of the mapped image.
        explained: share of the drawing's variance.
    """

    pixel: np.ndarray
    apart: np.ndarray
    slope: tuple[np.ndarray, np.ndarray]
    explained: float

    @classmethod
    def of(cls, region: Region, drawing: Drawing, smooth: float) -> _Paint | None:
        """None where too little is seen, or all is of one colour."""
        row, column = np.nonzero(drawing.free)
        if len(row) < FEWEST_PAINT:
            return None
        thin = slice(None, None, 1 + len(row) // MOST_PAINT)
        row, column = row[thin], column[thin]
        blur = lambda x: cv2.GaussianBlur(x.astype(np.float32), (0, 0), smooth)  # noqa: E731
        image = blur(region.rgb / np.float32(255))
        covered = (drawing.depth_m > 0).astype(np.float32)
        paint = blur(drawing.rgb * covered[..., None])[row, column].astype(float)
        paint /= blur(covered)[row, column, None]
        spread = paint.var(0).sum()
        if spread < PLAIN:
            return None
        seen = np.column_stack((image[row, column], np.ones(len(row)))).astype(float)
        ridge = 1e-4 * len(row) * np.diag([1.0, 1, 1, 0])
        look = np.linalg.solve(seen.T @ seen + ridge, seen.T @ paint)
        apart = seen @ look - paint
        mapped = image @ look[:3].astype(np.float32)
        across, down = (
            cv2.Sobel(mapped, cv2.CV_32F, 1 - k, k, scale=0.125)[row, column].astype(float)
            for k in (0, 1)
        )
        pixel = np.column_stack((column, row))
        return cls(pixel, apart, (across, down), float(1 - apart.var(0).sum() / spread))

    def add(
        self, A: np.ndarray, b: np.ndarray, region: Region, drawing: Drawing, middle: np.ndarray
    ) -> None:
        """To the normal equations."""
        noise = 1.4826 * np.median(np.abs(self.apart)) + 0.02
        weight = 1 / (1 + (self.apart / (2 * noise)) ** 2) ** 2 / (noise**2 * ALIKE_PAINT)
        for k in range(3):
            way = np.column_stack((self.slope[0][:, k], self.slope[1][:, k]))
            J = _motion(region, drawing, self.pixel, way, middle)
            A[:6, :6] += (J * weight[:, k, None]).T @ J
            b[:6] -= (J * weight[:, k, None]).T @ self.apart[:, k]
