"""Numba kernels of one scale of MS-SSIM, forward and backward, one image plane at a time.

Each does in one pass over rows that stay in the cache what takes torch twenty passes over memory.
Loops along a row have no branches, so that the compiler turns them into vector instructions.
Windows where both images are black are alike and pass no gradient on, so they are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.numba_tools import u64, vector
from self6d.workers import run_parallel

SMALL = 96 * 96  # pixels


def statistics(images: Tensor, gauss: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance under each window that lies inside the image.

    Args:
        images: (N, C, h, w) float32, on the CPU. gauss: (window,) float32.

    Returns:
        twice (N, C, h - window + 1, w - window + 1).
    """
    n, c, h, w = images.shape
    inside = (n, c, h - len(gauss) + 1, w - len(gauss) + 1)
    mean, variance = torch.empty(inside), torch.empty(inside)
    x, m, v = _planes(images), _planes(mean), _planes(variance)
    weights = gauss.numpy()
    run_parallel(lambda i: statistics_plane(x[i], weights, m[i], v[i]), n * c)
    return mean, variance


def similarity(
    x: Tensor,
    mean_x: Tensor,
    variance_x: Tensor,
    y: Tensor,
    gauss: Tensor,
    last: bool,
    c1: float,
    c2: float,
) -> tuple[Tensor, Tensor]:
    """Mean similarity of image planes and what it changes with.

    Args:
        x, y: (N, C, h, w) float32, on the CPU. mean_x, variance_x: of x, from `statistics`.
        gauss: (window,). last: the similarity is cs l, not cs alone.

    Returns:
        (N, C), mean similarity; and slopes (N, C, 3, h - window + 1, w - window + 1): derivatives
        of each window's similarity by its blurred y, y^2 and x y.
    """
    n, c, h, w = y.shape
    value = torch.empty(n, c)
    slopes = torch.empty(n, c, 3, h - len(gauss) + 1, w - len(gauss) + 1)
    out, into = value.view(-1).numpy(), _planes(slopes)
    planes = [_planes(p) for p in (x, mean_x, variance_x, y)]
    fixed = (gauss.numpy(), last, np.float32(c1), np.float32(c2))

    def work(i: int) -> None:
        out[i] = similarity_plane(*(p[i] for p in planes), *fixed, into[i])

    _each(work, planes[0])
    return value, slopes


def gradient(x: Tensor, y: Tensor, slopes: Tensor, gauss: Tensor, weight: Tensor) -> Tensor:
    """Gradient of sum `weight` sum_windows similarity in y: the blur's adjoint of the slopes.

    Args:
        x, y: (N, C, h, w) float32. slopes: from `similarity`. weight: (N, C).

    Returns:
        (N, C, h, w).
    """
    found = torch.zeros(y.shape)
    planes = [_planes(p) for p in (x, y, slopes)]
    scale, out, weights = weight.reshape(-1).numpy(), _planes(found), gauss.numpy()
    _each(lambda i: gradient_plane(*(p[i] for p in planes), weights, scale[i], out[i]), out)
    return found


def halved(images: Tensor) -> Tensor:
    """Means of blocks of 2x2 pixels, (N, C, h, w) float32 with even sides; differentiable."""
    return _Halved.apply(images)


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        small = torch.empty(n, c, h // 2, w // 2)
        source, out = _planes(images), _planes(small)
        _each(lambda i: halve_plane(source[i], out[i]), source)
        return small

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        n, c, h, w = grad.shape
        large = torch.empty(n, c, 2 * h, 2 * w)
        source, out = _planes(grad), _planes(large)
        _each(lambda i: spread_plane(source[i], out[i]), out)
        return large


def _each(work: Callable[[int], None], planes: np.ndarray) -> None:
    """Call `work` for each plane, (M, h, w); waking threads for small ones takes longer."""
    if planes.shape[-2] * planes.shape[-1] >= SMALL:
        run_parallel(work, len(planes))
    else:
        for i in range(len(planes)):
            work(i)


def _planes(maps: Tensor) -> np.ndarray:
    """(N, C, ...) as (N C, ...), not copied where it lies in one piece."""
    return maps.detach().contiguous().flatten(0, 1).numpy()


@vector
def halve_plane(x, out):
    """Means of 2x2 pixels: (2 h, 2 w) float32 -> out (h, w)."""
    quarter = np.float32(0.25)
    for i in range(out.shape[0]):
        r, up, down = u64(i), u64(2 * i), u64(2 * i + 1)
        for j in range(out.shape[1]):
            a, b = u64(2 * j), u64(2 * j + 1)
            out[r, u64(j)] = quarter * (x[up, a] + x[up, b] + x[down, a] + x[down, b])


@vector
def spread_plane(g, out):
    """The adjoint of `halve_plane`: (h, w) float32 -> out (2 h, 2 w)."""
    for i in range(out.shape[0]):
        r, half = u64(i), u64(i // 2)
        for j in range(g.shape[1]):
            value = np.float32(0.25) * g[half, u64(j)]
            out[r, u64(2 * j)] = value
            out[r, u64(2 * j + 1)] = value


@vector
def occupied(x, y, window):
    """Windows that hold a pixel that is not black in both planes: their rows and columns.

    Args:
        x, y: (h, w) float32.

    Returns:
        first and end row, first and end column.
    """
    height, width = y.shape
    columns = np.zeros(width, np.int32)
    top, bottom, zero = height, 0, np.float32(0)
    for i in range(height):
        r, count = u64(i), np.int32(0)
        for j in range(width):
            n = u64(j)
            here = np.int32((x[r, n] != zero) | (y[r, n] != zero))
            columns[n] += here
            count += here
        if count > 0:
            top, bottom = min(top, i), i + 1
    left, right = width, 0
    for j in range(width):
        if columns[u64(j)] > 0:
            left, right = min(left, j), j + 1
    border = window - 1
    first_row, first_column = max(top - border, 0), max(left - border, 0)
    return (
        first_row, max(min(bottom, height - border), first_row),
        first_column, max(min(right, width - border), first_column),
    )  # fmt: skip


@vector
def blurred_row(x, y, gauss, i, first, rows, out):
    """Windows of row i, from column `first` on, of the blurred y, y^2 and x y.

    Args:
        x, y: (h, w) float32. gauss: (window,) float32, sums to one.
        rows: (3, columns + window - 1) float32, scratch. out: (3, columns) float32.
    """
    width, columns = rows.shape[1], out.shape[1]
    rows[:] = 0
    for k in range(len(gauss)):
        r, g = u64(i + k), gauss[u64(k)]
        for j in range(width):
            n, c = u64(j), u64(first + j)
            value = y[r, c]
            weighted = g * value
            rows[0, n] += weighted
            rows[1, n] += weighted * value
            rows[2, n] += weighted * x[r, c]
    out[:] = 0
    for k in range(len(gauss)):
        g = gauss[u64(k)]
        for j in range(columns):
            n, m = u64(j), u64(j + k)
            out[0, n] += g * rows[0, m]
            out[1, n] += g * rows[1, m]
            out[2, n] += g * rows[2, m]


@vector
def statistics_plane(x, gauss, mean, variance):
    """Local mean and variance of an image plane.

    Args:
        x: (h, w) float32. mean, variance: (h - window + 1, w - window + 1) float32, out.
    """
    rows, out = np.empty((3, x.shape[1]), np.float32), np.empty((3, mean.shape[1]), np.float32)
    for i in range(mean.shape[0]):
        blurred_row(x, x, gauss, i, 0, rows, out)
        r = u64(i)
        for j in range(mean.shape[1]):
            n = u64(j)
            mean[r, n] = out[0, n]
            variance[r, n] = out[1, n] - out[0, n] * out[0, n]


@vector
def similarity_plane(x, mean_x, variance_x, y, gauss, last, c1, c2, slopes):
    """One plane of `similarity`: the mean is returned, the slopes are written.

    Args:
        x, y: (h, w) float32. mean_x, variance_x: (h - window + 1, w - window + 1) float32.
        gauss: (window,) float32. c1, c2: float32.
        slopes: (3, h - window + 1, w - window + 1) float32, out.
    """
    _, height, width = slopes.shape
    top, bottom, left, right = occupied(x, y, len(gauss))
    columns = right - left
    rows = np.empty((3, columns + len(gauss) - 1), np.float32)
    out, line, two = (
        np.empty((3, columns), np.float32),
        np.empty(columns, np.float32),
        np.float32(2),
    )
    totals = np.zeros(columns)  # of columns: their order does not hang on the vector's width
    for i in range(top, bottom):
        blurred_row(x, y, gauss, i, left, rows, out)
        r = u64(i)
        for j in range(columns):
            n, c = u64(j), u64(left + j)
            mu_x, mu, square, product = mean_x[r, c], out[0, n], out[1, n], out[2, n]
            below = np.float32(1) / (variance_x[r, c] + square - mu * mu + c2)
            structure = (two * (product - mu_x * mu) + c2) * below
            line[n] = structure
            slopes[0, r, c] = two * (structure * mu - mu_x) * below
            slopes[1, r, c] = -structure * below
            slopes[2, r, c] = two * below
        if last:
            for j in range(columns):
                n, c = u64(j), u64(left + j)
                mu_x, mu, structure = mean_x[r, c], out[0, n], line[n]
                level = np.float32(1) / (mu_x * mu_x + mu * mu + c1)
                luminance = (two * mu_x * mu + c1) * level
                line[n] = structure * luminance
                slope = two * structure * (mu_x - mu * luminance) * level
                slopes[0, r, c] = luminance * slopes[0, r, c] + slope
                slopes[1, r, c] *= luminance
                slopes[2, r, c] *= luminance
        for j in range(columns):
            totals[u64(j)] += line[u64(j)]
    alike = np.float64(height * width - (bottom - top) * columns)  # black windows
    return (alike + totals.sum()) / (height * width)


@vector
def gradient_plane(x, y, slopes, gauss, weight, out):
    """One plane of `gradient`.

    Args:
        x, y: (h, w) float32. slopes: from `similarity_plane`. gauss: symmetric. weight: float32.
        out: (h, w) float32, out; 0 already.
    """
    window = len(gauss)
    top, bottom, left, right = occupied(x, y, window)
    border, columns = window - 1, right - left
    if bottom == top or columns == 0:
        return
    full = columns + border  # pixels under these windows
    padded = np.zeros((3, full + border), np.float32)
    ring = np.zeros((window, 3, full), np.float32)  # the last rows, blurred along the row
    rows = np.empty((3, full), np.float32)
    for i in range(top, bottom + border):
        r, slot = u64(i), u64(i % window)
        ring[slot] = 0
        if i < bottom:
            for j in range(columns):
                c, m = u64(left + j), u64(j + border)
                padded[0, m], padded[1, m], padded[2, m] = (
                    slopes[0, r, c],
                    slopes[1, r, c],
                    slopes[2, r, c],
                )
            for k in range(window):
                g = gauss[u64(k)] * weight
                for j in range(full):
                    n, m = u64(j), u64(j + k)
                    ring[slot, 0, n] += g * padded[0, m]
                    ring[slot, 1, n] += g * padded[1, m]
                    ring[slot, 2, n] += g * padded[2, m]
        rows[:] = 0
        for k in range(window):
            g, from_row = gauss[u64(k)], u64((i + window - k) % window)
            for j in range(full):
                n = u64(j)
                rows[0, n] += g * ring[from_row, 0, n]
                rows[1, n] += g * ring[from_row, 1, n]
                rows[2, n] += g * ring[from_row, 2, n]
        for j in range(full):
            n, c = u64(j), u64(left + j)
            out[r, c] = rows[0, n] + np.float32(2) * y[r, c] * rows[1, n] + x[r, c] * rows[2, n]
