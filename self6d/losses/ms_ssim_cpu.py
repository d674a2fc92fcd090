"""Numba kernels of one scale of MS-SSIM, forward and backward, one image plane at a time.

Each does in one pass over rows that stay in the cache what takes torch twenty passes over memory.
Loops along a row have no branches, so that the compiler turns them into vector instructions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from self6d.render.cpu_kernels import u64, vector
from self6d.render.workers import run_parallel


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

    run_parallel(work, n * c)
    return value, slopes


def gradient(x: Tensor, y: Tensor, slopes: Tensor, gauss: Tensor, weight: Tensor) -> Tensor:
    """Gradient of sum `weight` sum_windows similarity in y: the blur's adjoint of the slopes.

    Args:
        x, y: (N, C, h, w) float32. slopes: from `similarity`. weight: (N, C).

    Returns:
        (N, C, h, w).
    """
    found = torch.empty(y.shape)
    planes = [_planes(p) for p in (x, y, slopes)]
    scale, out, weights = weight.reshape(-1).numpy(), _planes(found), gauss.numpy()
    run_parallel(
        lambda i: gradient_plane(*(p[i] for p in planes), weights, scale[i], out[i]), len(out)
    )
    return found


def _planes(maps: Tensor) -> np.ndarray:
    """(N, C, ...) as (N C, ...), not copied where it lies in one piece."""
    return maps.detach().contiguous().flatten(0, 1).numpy()


@vector
def blurred_row(x, y, gauss, i, rows, out):
    """Row i of the blurred y, y^2 and x y over the valid windows.

    Args:
        x, y: (h, w) float32. gauss: (window,) float32, sums to one.
        rows: (3, w) float32, scratch. out: (3, w - window + 1) float32.
    """
    width, columns = y.shape[1], out.shape[1]
    rows[:] = 0
    for k in range(len(gauss)):
        r, g = u64(i + k), gauss[u64(k)]
        for j in range(width):
            n = u64(j)
            value = y[r, n]
            weighted = g * value
            rows[0, n] += weighted
            rows[1, n] += weighted * value
            rows[2, n] += weighted * x[r, n]
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
        blurred_row(x, x, gauss, i, rows, out)
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
    rows, out = np.empty((3, y.shape[1]), np.float32), np.empty((3, width), np.float32)
    line, two = np.empty(width, np.float32), np.float32(2)
    total = 0.0
    for i in range(height):
        blurred_row(x, y, gauss, i, rows, out)
        r = u64(i)
        for j in range(width):
            n = u64(j)
            mu_x, mu, square, product = mean_x[r, n], out[0, n], out[1, n], out[2, n]
            below = np.float32(1) / (variance_x[r, n] + square - mu * mu + c2)
            structure = (two * (product - mu_x * mu) + c2) * below
            line[n] = structure
            slopes[0, r, n] = two * (structure * mu - mu_x) * below
            slopes[1, r, n] = -structure * below
            slopes[2, r, n] = two * below
        if last:
            for j in range(width):
                n = u64(j)
                mu_x, mu, structure = mean_x[r, n], out[0, n], line[n]
                level = np.float32(1) / (mu_x * mu_x + mu * mu + c1)
                luminance = (two * mu_x * mu + c1) * level
                line[n] = structure * luminance
                slope = two * structure * (mu_x - mu * luminance) * level
                slopes[0, r, n] = luminance * slopes[0, r, n] + slope
                slopes[1, r, n] *= luminance
                slopes[2, r, n] *= luminance
        total += np.float64(line.sum())
    return total / (height * width)


@vector
def gradient_plane(x, y, slopes, gauss, weight, out):
    """One plane of `gradient`.

    Args:
        x, y: (h, w) float32. slopes: from `similarity_plane`. gauss: symmetric. weight: float32.
        out: (h, w) float32, out.
    """
    _, height, width = slopes.shape
    full, window = y.shape[1], len(gauss)
    border = window - 1
    padded = np.zeros((3, full + border), np.float32)
    ring = np.zeros((window, 3, full), np.float32)  # the last rows, blurred along the row
    rows = np.empty((3, full), np.float32)
    for i in range(y.shape[0]):
        r, slot = u64(i), u64(i % window)
        ring[slot] = 0
        if i < height:
            for j in range(width):
                n, m = u64(j), u64(j + border)
                padded[0, m], padded[1, m], padded[2, m] = (
                    slopes[0, r, n],
                    slopes[1, r, n],
                    slopes[2, r, n],
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
            n = u64(j)
            out[r, n] = rows[0, n] + np.float32(2) * y[r, n] * rows[1, n] + x[r, n] * rows[2, n]
