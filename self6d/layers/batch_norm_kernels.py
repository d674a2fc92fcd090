"""Kernels of `BatchNormAct` in Triton: x (N, C, H, W), channels last, C a multiple of 8.

A map is a matrix of pixels times channels, of which each program takes a few columns. Sums over
pixels are kept in parts, added in a fixed order: the same inputs give the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 2048  # of a tile: pixels times channels
PROGRAMS = 1024  # about so many at work: several on each multiprocessor
WIDTHS = (64, 32)  # channels of a tile


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x = torch.zeros(1, 16, 2, 2, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    one = torch.ones(16, device=device)
    mean, variance = moments(x, one.clone(), one.clone(), 0.1)
    y = values(x, one, one, mean, variance, 1e-5, 0.0, 6.0)
    for fixed in (False, True):
        backward(y, x, one, one, mean, variance, 1e-5, 0.0, 6.0, fixed)
    return bool((y == 1).all())


def moments(
    x: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel, (C,) float32; the running ones take them in."""
    channels, pixels, grid, share, tile = _split(x)
    sums = torch.empty(grid[0], 2, channels, device=x.device)
    found = torch.empty(2, channels, device=x.device)
    size = (pixels, share, channels // 8, *tile)
    with torch.cuda.device_of(x):
        _sums[grid](x, running_mean, sums, *size)
        _moments[(grid[1],)](
            sums, running_mean, running_var, found, momentum, pixels, grid[0], channels // 8, *tile
        )
    mean, variance = found
    return mean, variance


def values(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor,
    eps: float, lowest: float, highest: float,
) -> Tensor:  # fmt: skip
    """clamp(weight (x - mean) / sqrt(variance + eps) + bias), as x."""
    channels, pixels, grid, share, tile = _split(x, whole=False)
    y = torch.empty_like(x)
    with torch.cuda.device_of(x):
        _values[grid](
            x, weight, bias, mean, variance, y, eps, lowest, highest,
            pixels, share, channels // 8, *tile,
        )  # fmt: skip
    return y


def backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor,
    eps: float, lowest: float, highest: float, fixed: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x, weight (C,) and bias (C,), mean and variance being x's; `gradient` as x.

    Args:
        fixed: mean and variance do not depend on x.
    """
    channels, pixels, grid, share, tile = _split(x)
    sums = torch.empty(grid[0], 2, channels, device=x.device)
    found = torch.empty(2, channels, device=x.device)
    out = torch.empty_like(x)
    last = (eps, lowest, highest, pixels)
    with torch.cuda.device_of(x):
        _products[grid](
            gradient, x, weight, bias, mean, variance, sums, *last, share, channels // 8, *tile
        )
        _added[(grid[1],)](sums, found, grid[0], channels // 8, *tile)
        _, _, grid, share, _ = _split(x, whole=False)
        _gradients[grid](
            gradient, x, weight, bias, mean, variance, found, out, *last, share, channels // 8,
            *tile, fixed,
        )  # fmt: skip
    of_bias, of_weight = found
    return out, of_weight, of_bias


def _split(x: Tensor, whole: bool = True) -> tuple[int, int, tuple[int, int], int, tuple[int, int]]:
    """Channels, pixels, programs (shares of the pixels, of the channels), pixels of a share, tile.

    Args:
        whole: few large shares, as sums want them; else a tile each.
    """
    n, channels, h, w = x.shape
    pixels = n * h * w
    width = min(WIDTHS, key=lambda width: triton.cdiv(channels, width) * width)
    rows, columns = ELEMENTS // width, triton.cdiv(channels, width)
    shares = triton.cdiv(pixels, rows)
    if whole:
        shares = min(shares, max(1, PROGRAMS // columns))
    share = triton.cdiv(triton.cdiv(pixels, shares), rows) * rows
    return channels, pixels, (triton.cdiv(pixels, share), columns), share, (rows, width)


@triton.jit
def _columns(eighths, W: tl.constexpr):
    """Channels of a program, which of them there are, and how many there are in all.

    A multiple of 8 that the compiler sees as one lets it read 16 bytes at once.
    """
    channels = eighths * 8
    column = tl.program_id(1) * W + tl.arange(0, W)
    return column, column < channels, channels


@triton.jit
def _tile(start, pixels, share, column, there, channels, R: tl.constexpr):
    """(R, W) places of a tile of this program's share, and which of them there are."""
    first = tl.program_id(0) * share
    row = first + start + tl.arange(0, R)
    inside = row < tl.minimum(first + share, pixels)
    return row.to(tl.int64)[:, None] * channels + column[None, :], inside[:, None] & there[None, :]


@triton.jit
def _keep(sums, one, other, column, there, channels):
    at = sums + tl.program_id(0) * 2 * channels + column
    tl.store(at, one, mask=there)
    tl.store(at + channels, other, mask=there)


@triton.jit
def _total(
    sums, which: tl.constexpr, parts, column, there, channels, R: tl.constexpr, W: tl.constexpr
):
    """(W,) one of the two sums, its parts added."""
    total = tl.zeros((R, W), tl.float32)
    for start in range(0, parts, R):
        part = start + tl.arange(0, R)
        at = sums + (part * 2 + which)[:, None] * channels + column[None, :]
        total += tl.load(at, mask=(part < parts)[:, None] & there[None, :], other=0.0)
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=("pixels", "share", "eighths"))
def _sums(x, shift, sums, pixels, share, eighths, R: tl.constexpr, W: tl.constexpr):
    """Sums of x - shift and of its square: with the running mean no digits cancel out."""
    column, there, channels = _columns(eighths, W)
    about = tl.load(shift + column, mask=there, other=0.0)[None, :]
    total = tl.zeros((R, W), tl.float32)
    square = tl.zeros((R, W), tl.float32)
    for start in range(0, share, R):
        at, inside = _tile(start, pixels, share, column, there, channels, R)
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        value = tl.where(inside, value - about, 0.0)
        total += value
        square += value * value
    _keep(sums, tl.sum(total, 0), tl.sum(square, 0), column, there, channels)


@triton.jit(do_not_specialize=("pixels", "parts", "eighths"))
def _moments(
    sums, running_mean, running_var, found, momentum, pixels, parts, eighths,
    R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    channels = eighths * 8
    column = tl.program_id(0) * W + tl.arange(0, W)
    there = column < channels
    count = pixels.to(tl.float32)
    before = tl.load(running_mean + column, mask=there, other=0.0)
    off = _total(sums, 0, parts, column, there, channels, R, W) / count
    square = _total(sums, 1, parts, column, there, channels, R, W) / count
    mean, variance = before + off, tl.maximum(square - off * off, 0.0)
    tl.store(found + column, mean, mask=there)
    tl.store(found + channels + column, variance, mask=there)
    tl.store(running_mean + column, before + momentum * off, mask=there)
    spread = tl.load(running_var + column, mask=there, other=0.0)
    unbiased = variance * (count / tl.maximum(count - 1, 1.0))
    tl.store(running_var + column, spread + momentum * (unbiased - spread), mask=there)


@triton.jit(do_not_specialize=("parts", "eighths"))
def _added(sums, found, parts, eighths, R: tl.constexpr, W: tl.constexpr):
    channels = eighths * 8
    column = tl.program_id(0) * W + tl.arange(0, W)
    there = column < channels
    for which in tl.static_range(2):
        total = _total(sums, which, parts, column, there, channels, R, W)
        tl.store(found + which * channels + column, total, mask=there)


@triton.jit
def _scales(weight, bias, mean, variance, eps, column, there):
    """(1, W) mean, 1 / standard deviation, weight and bias."""
    m = tl.load(mean + column, mask=there, other=0.0)
    scale = tl.rsqrt(tl.load(variance + column, mask=there, other=1.0) + eps)
    w = tl.load(weight + column, mask=there, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=there, other=0.0).to(tl.float32)
    return m[None, :], scale[None, :], w[None, :], b[None, :]


@triton.jit
def _normal_and_gradient(
    gradient, x, at, inside, m, scale, w, b, lowest, highest,
):  # fmt: skip
    """Normalised values, and the gradient before the activation."""
    normal = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - m) * scale
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    out = normal * w + b
    return normal, tl.where((out > lowest) & (out < highest), g, 0.0)


@triton.jit(do_not_specialize=("pixels", "share", "eighths"))
def _values(
    x, weight, bias, mean, variance, y, eps, lowest, highest, pixels, share, eighths,
    R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    column, there, channels = _columns(eighths, W)
    m, scale, w, b = _scales(weight, bias, mean, variance, eps, column, there)
    for start in range(0, share, R):
        at, inside = _tile(start, pixels, share, column, there, channels, R)
        value = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - m) * scale * w + b
        value = tl.minimum(tl.maximum(value, lowest), highest)
        tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=("pixels", "share", "eighths"))
def _products(
    gradient, x, weight, bias, mean, variance, sums, eps, lowest, highest, pixels, share, eighths,
    R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Sums over pixels of the gradient before the activation, and of it times the normal value."""
    column, there, channels = _columns(eighths, W)
    m, scale, w, b = _scales(weight, bias, mean, variance, eps, column, there)
    total = tl.zeros((R, W), tl.float32)
    product = tl.zeros((R, W), tl.float32)
    for start in range(0, share, R):
        at, inside = _tile(start, pixels, share, column, there, channels, R)
        normal, g = _normal_and_gradient(gradient, x, at, inside, m, scale, w, b, lowest, highest)
        total += g
        product += g * normal
    _keep(sums, tl.sum(total, 0), tl.sum(product, 0), column, there, channels)


@triton.jit(do_not_specialize=("pixels", "share", "eighths"))
def _gradients(
    gradient, x, weight, bias, mean, variance, found, out, eps, lowest, highest, pixels, share,
    eighths, R: tl.constexpr, W: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    column, there, channels = _columns(eighths, W)
    m, scale, w, b = _scales(weight, bias, mean, variance, eps, column, there)
    count = pixels.to(tl.float32)
    shift = (tl.load(found + column, mask=there, other=0.0) / count)[None, :]
    slope = (tl.load(found + channels + column, mask=there, other=0.0) / count)[None, :]
    for start in range(0, share, R):
        at, inside = _tile(start, pixels, share, column, there, channels, R)
        normal, g = _normal_and_gradient(gradient, x, at, inside, m, scale, w, b, lowest, highest)
        if not FIXED:
            g = g - shift - normal * slope
        g = g * scale * w
        tl.store(out + at, g.to(out.dtype.element_ty), mask=inside)
