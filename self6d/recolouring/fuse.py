"""Colours of many looks at a vertex made one, robustly, with exposure evened out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # IEC 61966-2-1
_ROUNDS = 2
LOWEST_GAIN, HIGHEST_GAIN = 1 / 3, 3.0
_FAR, _LEAST_FAR = 2.0, 12.0  # of the usual distance, and in units of lightness
_LEAST_SHARED = 50  # vertices a frame must share with others for a gain of its own


@dataclass(frozen=True)
class FuseOptions:
    """How colours are taken and made one.

    Attributes:
        cosine: least cosine between a vertex's normal and the direction to the camera.
        margin: pixels kept from silhouettes, steps of depth and what lies in front.
        frames: fewest looks from which a vertex takes its colour.
        best: looks kept of each vertex, those with the largest weights; bounds the memory.
        gains: even out the frames' exposure, a gain each.
        edge: longest edge of the coloured mesh, diameters. pixels: or so many pixels of the
            nearest quarter of the looks, whichever is longer.
        most_faces: of a coloured mesh.
    """

    cosine: float = 0.35
    margin: int = 2
    frames: int = 3
    best: int = 32
    gains: bool = True
    edge: float = 0.01
    pixels: float = 2.0
    most_faces: int = 200_000


@dataclass(frozen=True, eq=False)
class Fused:
    """Colours of an object's vertices.

    Attributes:
        seen: (n,) int64, vertices seen often enough. color: (n, 3) float32, linear light.
        gain: (G,) float32, what the colours of each look were multiplied with, the median 1.
        refused: looks left out, for they disagree with the others.
    """

    seen: np.ndarray
    color: np.ndarray
    gain: np.ndarray
    refused: int


class VertexColors:
    """The best looks at every vertex of an object.

    Args:
        vertices: how many. options: see there.
    """

    def __init__(self, vertices: int, options: FuseOptions) -> None:
        self.options = options
        self.count = np.zeros(vertices, np.int32)
        self._color = np.zeros((vertices, options.best, 3), np.float32)
        self._weight = np.zeros((vertices, options.best), np.float32)
        self._frame = np.full((vertices, options.best), -1, np.int32)
        self._looks = 0

    def add(self, vertex: np.ndarray, color: np.ndarray, weight: np.ndarray) -> None:
        """A frame's look.

        Args:
            vertex: (n,) int64, each once. color: (n, 3), linear light. weight: (n,), positive.
        """
        slot = self._weight[vertex].argmin(1)
        better = weight > self._weight[vertex, slot]
        at, slot = vertex[better], slot[better]
        self._color[at, slot], self._weight[at, slot] = color[better], weight[better]
        self._frame[at, slot] = self._looks
        self.count[vertex] += 1
        self._looks += 1

    def fused(self, least: int) -> Fused:
        """Colours of the vertices.

        Looks that disagree with the others on most of their vertices are left out: their poses are
        of another thing.

        Args:
            least: looks a vertex must have had.
        """
        seen = np.flatnonzero(self.count >= least)
        color, weight, frame = self._color[seen], self._weight[seen], self._frame[seen]
        gain, refused = np.ones(max(1, self._looks), np.float32), self._disagreeing(seen)
        weight = np.where(refused[frame], 0, weight)
        enough = (weight > 0).sum(1) >= min(least, self.options.best)
        seen, color, weight, frame = seen[enough], color[enough], weight[enough], frame[enough]
        fused = robust_mean(color, weight)
        for _ in range(_ROUNDS if self.options.gains and len(seen) else 0):
            gain = self._gains(color, weight, frame, fused)
            fused = robust_mean(color * gain[frame][..., None], weight)
        return Fused(seen, fused, gain, int(refused.sum()))

    def _disagreeing(self, seen: np.ndarray) -> np.ndarray:
        """(G,) bool: looks far from the colours that all of them give together."""
        color, weight, frame = self._color[seen], self._weight[seen], self._frame[seen]
        told = weight > 0
        if not told.any():
            return np.zeros(max(1, self._looks), bool)
        fused = robust_mean(color, weight)
        gain = self._gains(color, weight, frame, fused)
        lightness = 116 * np.cbrt(color * gain[frame][..., None])  # nearly as LAB's, by channel
        off = np.abs(lightness - 116 * np.cbrt(fused)[:, None]).max(2)
        far = self._by_look(off[told], frame[told])
        usual = np.nanmedian(far) if np.isfinite(far).any() else 0.0
        return np.nan_to_num(far) > max(_FAR * usual, _LEAST_FAR)

    def _gains(
        self, color: np.ndarray, weight: np.ndarray, frame: np.ndarray, fused: np.ndarray
    ) -> np.ndarray:
        """(G,): median ratio of the fused luminance to each look's own."""
        bright, wanted = color @ _LUMINANCE, (fused @ _LUMINANCE)[:, None]
        told = (weight > 0) & (bright > 0.005) & (wanted > 0.005)
        ratio = np.log(np.broadcast_to(wanted, bright.shape)[told] / bright[told])
        gain = np.exp(np.nan_to_num(self._by_look(ratio, frame[told])))
        return (gain / np.median(gain)).clip(LOWEST_GAIN, HIGHEST_GAIN).astype(np.float32)

    def _by_look(self, values: np.ndarray, look: np.ndarray) -> np.ndarray:
        """(n,) values and their looks -> (G,) medians, NaN for looks with too few."""
        found = np.full(max(1, self._looks), np.nan)
        order = look.argsort(kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(look[order])) + 1):
            if len(part) >= _LEAST_SHARED:
                found[look[part[0]]] = np.median(values[part])
        return found


def robust_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean of what lies near the weighted median.

    Args:
        values: (N, K, 3). weight: (N, K), 0 where there is no value, not all 0 in a row.

    Returns:
        (N, 3) float32: the mean of the values whose distance from the median (by channel, the
        largest) is at most 2.5 times its usual deviation, 1.4826 times the median distance.
    """
    if not len(values):
        return np.zeros((0, 3), np.float32)
    middle = np.stack([_median(values[..., c], weight) for c in range(3)], axis=1)
    away = np.abs(values - middle[:, None]).max(2)
    usual = 1.4826 * _median(away, weight)
    kept = weight * (away <= np.maximum(2.5 * usual, 0.01)[:, None])
    # where channels have their medians in different looks, none may lie near all of them
    total = kept.sum(1, keepdims=True)
    mean = (values * kept[..., None]).sum(1) / np.maximum(total, 1e-12)
    return np.where(total > 0, mean, middle).astype(np.float32)


def _median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(N, K) and weights -> (N,), weighted medians."""
    order = values.argsort(1)
    total = np.take_along_axis(weight, order, 1).cumsum(1)
    place = (total >= total[:, -1:] / 2).argmax(1)
    rows = np.arange(len(values))
    return values[rows, order[rows, place]]
