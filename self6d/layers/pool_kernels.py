"""Kernels of `MaxPool` in Triton: maps (N, C, H, W), channels last, C a power of two."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 1024  # of a tile: pixels times channels


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x = torch.ones(1, 16, 2, 2, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    largest, place = forward(x)
    return bool((backward(largest, place, x).sum((2, 3)) == 1).all())


def forward(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima over windows of 3 x 3 at every other pixel, and where in its window each lies, uint8:
    row by row, the first of equal ones; both (N, C, ceil(H / 2), ceil(W / 2)), channels last."""
    n, c, h, w = x.shape
    y = torch.empty(
        (n, c, (h + 1) // 2, (w + 1) // 2),
        dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
    )  # fmt: skip
    place = torch.empty_like(y, dtype=torch.uint8)
    columns, lines = max(1, ELEMENTS // c), n * y.shape[2]
    with torch.cuda.device_of(x):
        _largest[(lines, triton.cdiv(y.shape[3], columns))](x, y, place, h, w, c, columns)
    return y, place


def backward(gradient: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """Gradient of the map that was pooled, of the shape and dtype of `like`."""
    n, c, h, w = like.shape
    out = torch.empty(
        (n, c, h, w), dtype=like.dtype, device=gradient.device, memory_format=torch.channels_last
    )
    columns = max(1, ELEMENTS // c)
    with torch.cuda.device_of(gradient):
        _collected[(n * h, triton.cdiv(w, columns))](gradient, place, out, h, w, c, columns)
    return out


@triton.jit(do_not_specialize=("h", "w"))
def _largest(x, y, place, h, w, C: tl.constexpr, R: tl.constexpr):
    """A line of the result, R columns."""
    line = tl.program_id(0)
    column = tl.program_id(1) * R + tl.arange(0, R)
    channel = tl.arange(0, C)[None, :]
    high, wide = (h + 1) // 2, (w + 1) // 2
    image, row = line // high, line % high
    best = tl.full((R, C), float("-inf"), tl.float32)
    where = tl.zeros((R, C), tl.int32)
    for tap in tl.static_range(9):
        v, u = row * 2 + (tap // 3 - 1), column * 2 + (tap % 3 - 1)
        inside = (u >= 0) & (u < w) & (v + 0 * u >= 0) & (v + 0 * u < h)
        start = x + (image * h + v).to(tl.int64) * w * C
        at = start + u[:, None] * C + channel
        value = tl.load(at, mask=inside[:, None], other=float("-inf")).to(tl.float32)
        larger = (value > best) | (value != value)  # NaN stays, as torch has it
        best = tl.where(larger, value, best)
        where = tl.where(larger, tap, where)
    at = line.to(tl.int64) * wide * C + column[:, None] * C + channel
    there = (column < wide)[:, None]
    tl.store(y + at, best.to(y.dtype.element_ty), mask=there)
    tl.store(place + at, where.to(tl.uint8), mask=there)


@triton.jit(do_not_specialize=("h", "w"))
def _collected(gradient, place, out, h, w, C: tl.constexpr, R: tl.constexpr):
    """A line of the map, R columns; a pixel is in one or two windows each way."""
    line = tl.program_id(0)
    column = tl.program_id(1) * R + tl.arange(0, R)
    channel = tl.arange(0, C)[None, :]
    high, wide = (h + 1) // 2, (w + 1) // 2
    image, row = line // h, line % h
    total = tl.zeros((R, C), tl.float32)
    for which in tl.static_range(4):
        v, u = row // 2 + which // 2, column // 2 + which % 2
        down, right = row - 2 * v + 1, column - 2 * u + 1  # in the window, 0 to 2
        inside = (right >= 0) & (u < wide) & (down + 0 * u >= 0) & (v + 0 * u < high)
        at = (image * high + v).to(tl.int64) * wide * C + u[:, None] * C + channel
        chosen = tl.load(place + at, mask=inside[:, None], other=255).to(tl.int32)
        g = tl.load(gradient + at, mask=inside[:, None], other=0.0).to(tl.float32)
        total += tl.where(chosen == (down * 3 + right)[:, None], g, 0.0)
    at = line.to(tl.int64) * w * C + column[:, None] * C + channel
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(column < w)[:, None])
