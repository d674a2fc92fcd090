"""Inner loops of the pose errors: one thread a pose pair, no memory beyond the answer.

All arrays are float64 and contiguous; shapes as in `self6d.evaluation.metrics`. Loops over pairs
take out (B,), and fill first <= i < end of it: `over_pairs` calls them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import njit

from self6d.workers import run_parallel

_BLOCK = 128  # points looked at between two tests whether a symmetry can still win
_PIECES = 4  # a thread: pairs take unequally long
_LANES = 8  # sums run in so many lanes, in an order that no compiler chooses
# No infinity or NaN comes in. Without "contract": what is fused hangs on what was inlined, and so
# on which of these functions a process compiles and which it reads from the cache.
RULES = {"nsz", "nnan"}


def over_pairs(loop: Callable, count: int, *arguments: np.ndarray) -> np.ndarray:
    """The answers (count,) of a loop over pairs, in threads.

    numba's own parallel loops take four times as long to compile; see `self6d.workers` as well.
    """
    out = np.empty(count)
    pieces = max(1, min(count, _PIECES * torch.get_num_threads()))
    ends = [count * k // pieces for k in range(pieces + 1)]
    run_parallel(lambda k: loop(ends[k], ends[k + 1], *arguments, out), pieces)
    return out


@njit(cache=True, nogil=True, fastmath=RULES)
def mean_distance(first, end, A, b, points, out):
    """avg_x ||A x + b|| -> (B,)."""
    for i in range(first, end):
        sums = np.zeros(_LANES)
        for start in range(0, len(points), _LANES):
            for lane in range(min(_LANES, len(points) - start)):
                n = start + lane
                x, y, z = points[n, 0], points[n, 1], points[n, 2]
                u = A[i, 0, 0] * x + A[i, 0, 1] * y + A[i, 0, 2] * z + b[i, 0]
                v = A[i, 1, 0] * x + A[i, 1, 1] * y + A[i, 1, 2] * z + b[i, 1]
                w = A[i, 2, 0] * x + A[i, 2, 1] * y + A[i, 2, 2] * z + b[i, 2]
                sums[lane] += np.sqrt(u * u + v * v + w * w)
        out[i] = sums.sum() / len(points)


@njit(cache=True, fastmath=RULES)
def _compose(R, t, S):
    """Rows of the 3x4 transform x -> R (S x) + t, as a flat tuple."""
    m = np.empty((3, 4))
    for r in range(3):
        for c in range(4):
            m[r, c] = R[r, 0] * S[0, c] + R[r, 1] * S[1, c] + R[r, 2] * S[2, c]
        m[r, 3] += t[r]
    return m


@njit(cache=True, nogil=True, fastmath=RULES)
def max_distance(first, end, R, t, R_true, t_true, points, symmetries, out):
    """min_S max_x ||(R x + t) - (R* S x + t*)|| -> (B,)."""
    count = len(points)
    for i in range(first, end):
        best = np.inf
        for s in range(len(symmetries)):
            m = _compose(R_true[i], t_true[i], symmetries[s])
            for r in range(3):
                for c in range(3):
                    m[r, c] = R[i, r, c] - m[r, c]
                m[r, 3] = t[i, r] - m[r, 3]
            worst = 0.0
            start = 0
            while start < count and worst < best:
                for n in range(start, min(start + _BLOCK, count)):
                    x, y, z = points[n, 0], points[n, 1], points[n, 2]
                    u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
                    v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
                    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
                    worst = max(worst, u * u + v * v + w * w)
                start += _BLOCK
            best = min(best, worst)
        out[i] = np.sqrt(best)


@njit(cache=True, fastmath=RULES)
def _project(m, K, x, y, z):
    u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    return (K[0, 0] * u + K[0, 1] * v) / w + K[0, 2], K[1, 1] * v / w + K[1, 2]


@njit(cache=True, nogil=True, fastmath=RULES)
def max_projection(first, end, R, t, R_true, t_true, K, points, symmetries, out):
    """min_S max_x ||proj(R x + t) - proj(R* S x + t*)|| -> (B,)."""
    count = len(points)
    for i in range(first, end):
        seen = np.empty((count, 2))
        m = _compose(R[i], t[i], np.eye(4))
        for n in range(count):
            u, v = _project(m, K[i], points[n, 0], points[n, 1], points[n, 2])
            seen[n, 0], seen[n, 1] = u, v
        best = np.inf
        for s in range(len(symmetries)):
            m = _compose(R_true[i], t_true[i], symmetries[s])
            worst = 0.0
            start = 0
            while start < count and worst < best:
                for n in range(start, min(start + _BLOCK, count)):
                    u, v = _project(m, K[i], points[n, 0], points[n, 1], points[n, 2])
                    worst = max(worst, (u - seen[n, 0]) ** 2 + (v - seen[n, 1]) ** 2)
                start += _BLOCK
            best = min(best, worst)
        out[i] = np.sqrt(best)


@njit(cache=True, nogil=True, fastmath=RULES)
def mean_projection(first, end, R, t, R_true, t_true, K, points, out):
    """avg_x ||proj(R x + t) - proj(R* x + t*)|| -> (B,)."""
    for i in range(first, end):
        m = _compose(R[i], t[i], np.eye(4))
        m_true = _compose(R_true[i], t_true[i], np.eye(4))
        sums = np.zeros(_LANES)
        for start in range(0, len(points), _LANES):
            for lane in range(min(_LANES, len(points) - start)):
                n = start + lane
                x, y, z = points[n, 0], points[n, 1], points[n, 2]
                u, v = _project(m, K[i], x, y, z)
                p, q = _project(m_true, K[i], x, y, z)
                sums[lane] += np.sqrt((u - p) ** 2 + (v - q) ** 2)
        out[i] = sums.sum() / len(points)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def limits(R, t, K, points):
    """x0, y0, x1, y1 of proj(R x + t) over the points (N, 3) in front of the camera."""
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    m = _compose(R, t, np.eye(4))
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3] > 1e-3:
            u, v = _project(m, K, x, y, z)
            low_x, high_x = min(low_x, u), max(high_x, u)
            low_y, high_y = min(low_y, v), max(high_y, v)
    return low_x, low_y, high_x, high_y
