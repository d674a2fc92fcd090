"""Kernels of `GroupNormReLU` in Triton: x (N, C, H, W), channels last, C a power of two.

Two passes forward (sums; the values) and two backward, each of which reads a map once. Sums are
kept in parts, added in a fixed order: the same inputs give the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 2048  # of a tile: rows times channels
PROGRAMS = 1024  # about so many at work: several on each multiprocessor


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x = torch.zeros(1, 16, 2, 2, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    one = torch.ones(16, device=device)
    y, sums = forward(x, one, one, 4, 1e-5)
    backward(y, x, one, one, sums, 4, 1e-5)
    return bool((y == 1).all())


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """relu(group_norm(x)), as x, and the sums that `backward` wants, (N, S, 2, C) float32."""
    grid, size = _split(x)
    sums = torch.empty(*grid, 2, x.shape[1], device=x.device)
    y = torch.empty_like(x)
    with torch.cuda.device_of(x):
        _sums[grid](x, sums, *size)
        _values[grid](x, weight, bias, sums, y, eps, *size[:2], grid[1], *size[2:], groups)
    return y, sums


def backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor, sums: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight (C,) and bias (C,); `gradient` as x."""
    grid, size = _split(x)
    products = torch.empty_like(sums)
    out = torch.empty_like(x)
    last = (eps, *size[:2], grid[1], *size[2:], groups)
    with torch.cuda.device_of(x):
        _products[grid](gradient, x, weight, bias, sums, products, *last)
        _gradients[grid](gradient, x, weight, bias, sums, products, out, *last)
    of_bias, of_weight = products.sum((0, 1))
    return out, of_weight, of_bias


def _split(x: Tensor) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Programs (images, shares of an image), and pixels, pixels of a share, C, rows of a tile."""
    n, c, h, w = x.shape
    rows = max(1, ELEMENTS // c)
    shares = min(max(1, PROGRAMS // n), triton.cdiv(h * w, rows))
    share = triton.cdiv(triton.cdiv(h * w, shares), rows) * rows
    return (n, triton.cdiv(h * w, share)), (h * w, share, c, rows)


@triton.jit
def _of_group(values, C: tl.constexpr, G: tl.constexpr):
    """(C,) the sum over the group of each channel."""
    total = tl.sum(tl.reshape(values, (G, C // G)), 1)
    return tl.reshape(tl.broadcast_to(total[:, None], (G, C // G)), (C,))


@triton.jit
def _added(sums, which: tl.constexpr, parts, C: tl.constexpr):
    """(C,) one of the two sums of an image, its shares added."""
    at = sums + (tl.program_id(0) * parts * 2 + which) * C + tl.arange(0, C)
    total = tl.zeros((C,), tl.float32)
    for part in range(parts):
        total += tl.load(at + part * 2 * C)
    return total


@triton.jit
def _moments(sums, eps, pixels, parts, C: tl.constexpr, G: tl.constexpr):
    """(C,) mean and 1 / standard deviation of each channel's group."""
    count = (pixels * (C // G)).to(tl.float32)
    mean = _of_group(_added(sums, 0, parts, C), C, G) / count
    square = _of_group(_added(sums, 1, parts, C), C, G) / count
    return mean, tl.rsqrt(tl.maximum(square - mean * mean, 0.0) + eps)


@triton.jit
def _tile(start, pixels, share, C: tl.constexpr, R: tl.constexpr):
    """(R, C) places of a tile of this program's share, and which of its rows there are, (R, 1)."""
    first = tl.program_id(1) * share
    row = first + start + tl.arange(0, R)
    there = (row < tl.minimum(first + share, pixels))[:, None]
    pixel = tl.program_id(0).to(tl.int64) * pixels + row
    return pixel[:, None] * C + tl.arange(0, C)[None, :], there


@triton.jit
def _keep(sums, one, other, parts, C: tl.constexpr):
    at = sums + (tl.program_id(0) * parts + tl.program_id(1)) * 2 * C + tl.arange(0, C)
    tl.store(at, one)
    tl.store(at + C, other)


@triton.jit(do_not_specialize=("pixels", "share"))
def _sums(x, sums, pixels, share, C: tl.constexpr, R: tl.constexpr):
    total = tl.zeros((C,), tl.float32)
    square = tl.zeros((C,), tl.float32)
    for start in range(0, share, R):
        at, there = _tile(start, pixels, share, C, R)
        value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        total += tl.sum(value, 0)
        square += tl.sum(value * value, 0)
    _keep(sums, total, square, tl.num_programs(1), C)


@triton.jit(do_not_specialize=("pixels", "share", "parts"))
def _values(
    x, weight, bias, sums, y, eps, pixels, share, parts,
    C: tl.constexpr, R: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    mean, scale = _moments(sums, eps, pixels, parts, C, G)
    channel = tl.arange(0, C)
    w, b = tl.load(weight + channel), tl.load(bias + channel)
    for start in range(0, share, R):
        at, there = _tile(start, pixels, share, C, R)
        value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        out = (value - mean[None, :]) * scale[None, :] * w[None, :] + b[None, :]
        tl.store(y + at, tl.maximum(out, 0.0).to(y.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=("pixels", "share", "parts"))
def _products(
    gradient, x, weight, bias, sums, products, eps, pixels, share, parts,
    C: tl.constexpr, R: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    """Sums over pixels of the gradient behind the ReLU, and of it times the normalised value."""
    mean, scale = _moments(sums, eps, pixels, parts, C, G)
    channel = tl.arange(0, C)
    w, b = tl.load(weight + channel), tl.load(bias + channel)
    total = tl.zeros((C,), tl.float32)
    product = tl.zeros((C,), tl.float32)
    for start in range(0, share, R):
        at, there = _tile(start, pixels, share, C, R)
        value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        normal = (value - mean[None, :]) * scale[None, :]
        g = tl.load(gradient + at, mask=there, other=0.0).to(tl.float32)
        g = tl.where(normal * w[None, :] + b[None, :] > 0, g, 0.0)
        total += tl.sum(g, 0)
        product += tl.sum(g * normal, 0)
    _keep(products, total, product, parts, C)


@triton.jit(do_not_specialize=("pixels", "share", "parts"))
def _gradients(
    gradient, x, weight, bias, sums, products, out, eps, pixels, share, parts,
    C: tl.constexpr, R: tl.constexpr, G: tl.constexpr,
):  # fmt: skip
    mean, scale = _moments(sums, eps, pixels, parts, C, G)
    channel = tl.arange(0, C)
    w, b = tl.load(weight + channel), tl.load(bias + channel)
    count = (pixels * (C // G)).to(tl.float32)
    shift = _of_group(w * _added(products, 0, parts, C), C, G) / count
    slope = _of_group(w * _added(products, 1, parts, C), C, G) / count
    for start in range(0, share, R):
        at, there = _tile(start, pixels, share, C, R)
        value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        normal = (value - mean[None, :]) * scale[None, :]
        g = tl.load(gradient + at, mask=there, other=0.0).to(tl.float32)
        g = tl.where(normal * w[None, :] + b[None, :] > 0, g, 0.0) * w[None, :]
        g = (g - shift[None, :] - normal * slope[None, :]) * scale[None, :]
        tl.store(out + at, g.to(out.dtype.element_ty), mask=there)
