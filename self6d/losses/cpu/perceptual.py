"""Numba kernels between AlexNet's convolutions: maxima of 3x3 and the distance of features.

Maps lie channels last, (h, w, C): the loops run along channels, without branches, so that the
compiler turns them into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np

from self6d.numba_tools import u64, vector

LANES = 16  # partial sums; all of AlexNet's channel counts are multiples of it
f32 = np.float32


@vector
def pool(x, out, which):
    """3x3 maxima with stride 2.

    Args:
        x: (h, w, C) float32. out: (h', w', C) float32, out. which: (h', w', C) uint8, out, which of
            the nine it is, the first of equal ones.
    """
    channels = x.shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            r, q = u64(i), u64(j)
            for n in range(channels):
                c = u64(n)
                out[r, q, c] = x[u64(2 * i), u64(2 * j), c]
                which[r, q, c] = np.uint8(0)
            for k in range(1, 9):
                down, along, tap = u64(2 * i + k // 3), u64(2 * j + k % 3), np.uint8(k)
                for n in range(channels):
                    c = u64(n)
                    more = x[down, along, c] > out[r, q, c]
                    out[r, q, c] = x[down, along, c] if more else out[r, q, c]
                    which[r, q, c] = tap if more else which[r, q, c]


@vector
def pool_backward(g, which, out):
    """The adjoint of `pool`: g (h', w', C) to out (h, w, C), 0 already."""
    channels, zero = g.shape[2], f32(0)
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            r, q = u64(i), u64(j)
            for k in range(9):
                down, along, tap = u64(2 * i + k // 3), u64(2 * j + k % 3), np.uint8(k)
                for n in range(channels):
                    c = u64(n)
                    out[down, along, c] += g[r, q, c] if which[r, q, c] == tap else zero


@vector
def apart_from(x, s, black, top, left, slopes):
    """Distance of features inside a window to fixed ones, less that of a black image's.

    |s - y|^2 at each place, y = x / |x| and |s| at most 1, as `perceptual.apart` has it. Its
    gradient in x is A x - B s with two numbers a place.

    Args:
        x: (h, w, C) float32. s: (H, W, C) float32. black: (H, W) float32, the distance there of
            what x replaces. top, left: where in s the window begins.
        slopes: (h, w, 2) float32, out: A and B.

    Returns:
        sum over the window, float64.
    """
    channels, total = x.shape[2], 0.0
    sums = np.empty((3, LANES), np.float32)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            r, q, down, along = u64(i), u64(j), u64(top + i), u64(left + j)
            sums[:] = 0
            for start in range(0, channels, LANES):
                for lane in range(sums.shape[1]):  # a constant would be unrolled, not vectorised
                    n = u64(lane)
                    c = u64(start) + n
                    a, b = x[r, q, c], s[down, along, c]
                    sums[0, n] += a * a
                    sums[1, n] += a * b
                    sums[2, n] += b * b
            square, dot, length = 0.0, 0.0, 0.0
            for lane in range(LANES):
                square += sums[0, lane]
                dot += sums[1, lane]
                length += sums[2, lane]
            inverse = 1.0 / math.sqrt(square + 1e-10)  # as in `perceptual`
            per = inverse * inverse
            total += length + square * per - 2 * dot * inverse - black[down, along]
            slopes[r, q, u64(0)] = 2 * per * (1 - square * per + dot * inverse)
            slopes[r, q, u64(1)] = 2 * inverse
    return total


@vector
def apart_backward(x, s, slopes, weight, top, left, g):
    """Gradient of `weight` times `apart_from`, added to g, and back through the ReLU that made x.

    Args:
        x, s, slopes, top, left: as there. weight: float32. g: (h, w, C) float32, in and out.
    """
    zero = f32(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            r, q, down, along = u64(i), u64(j), u64(top + i), u64(left + j)
            by_x, by_s = weight * slopes[r, q, u64(0)], weight * slopes[r, q, u64(1)]
            for n in range(x.shape[2]):
                c = u64(n)
                value = g[r, q, c] + (by_x * x[r, q, c] - by_s * s[down, along, c])
                g[r, q, c] = value if x[r, q, c] > zero else zero
