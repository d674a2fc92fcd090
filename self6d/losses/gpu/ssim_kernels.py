"""Similarity of image planes at one scale, and its gradient; see `losses.ms_ssim`.

The Gaussian window is separable, so each direction is a pass over the rows of a map. A plane is one
channel of one image, (h, w); maps under the windows are (oh, ow) = (h - W + 1, w - W + 1).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # pixels of a program


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x, gauss = torch.ones(1, 1, 12, 12, device=device), torch.full((11,), 1 / 11, device=device)
    mean = torch.ones(1, 1, 2, 2, device=device)
    for last in (False, True):
        value, slopes = similarity(x, mean, 0 * mean, x, gauss, last, 1e-4, 9e-4)
        found = gradient(x, x, slopes, gauss, value, halved(x))
        if abs(float(value) - 1) > 0.001 or not bool(found.isfinite().all()):
            return False
    return True


def similarity(
    x: Tensor, mean_x: Tensor, variance_x: Tensor, y: Tensor, gauss: Tensor, last: bool,
    c1: float, c2: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As `losses.ms_ssim._similarity`: (N, C) and slopes (N, C, 3, oh, ow).

    Args:
        x, y: (N, C, h, w). mean_x, variance_x: (N, C, oh, ow). gauss: (W,). float32, contiguous.
    """
    n, c, h, w = y.shape
    oh, ow = mean_x.shape[-2:]
    planes, window = n * c, len(gauss)
    blurred = y.new_empty(planes, 3, h, ow)
    slopes = y.new_empty(n, c, 3, oh, ow)
    parts = triton.cdiv(oh * ow, BLOCK)
    sums = y.new_empty(n, c, parts)
    with torch.cuda.device_of(y):
        _along[planes, triton.cdiv(h * ow, BLOCK)](x, y, gauss, blurred, h, w, ow, window, BLOCK)
        _down[planes, parts](
            blurred, mean_x, variance_x, gauss, slopes, sums, h, oh, ow, c1, c2, last, window, BLOCK
        )
    return sums.sum(-1) / (oh * ow), slopes


def halved(images: Tensor) -> Tensor:
    """As `losses.ms_ssim._halved`, of (N, C, h, w)."""
    n, c, h, w = images.shape
    high, wide = (h + 1) // 2, (w + 1) // 2
    out = images.new_empty(n, c, high, wide)
    with torch.cuda.device_of(images):
        grid = n * c, triton.cdiv(high * wide, BLOCK)
        _halved[grid](images, out, h, w, high, wide, BLOCK)
    return out


def gradient(
    x: Tensor, y: Tensor, slopes: Tensor, gauss: Tensor, weight: Tensor, below: Tensor | None
) -> Tensor:
    """As `losses.ms_ssim._gradient`, and what comes from the halved image: (N, C, h, w).

    Args:
        weight: (N, C), of a plane's slopes. below: gradient of `halved(y)`, if anything hangs on
            it. All float32, contiguous.
    """
    n, c, h, w = y.shape
    oh, ow = slopes.shape[-2:]
    planes, window = n * c, len(gauss)
    spread = y.new_empty(planes, 3, h, ow)
    out = torch.empty_like(y)
    with torch.cuda.device_of(y):
        grid = planes, triton.cdiv(h * ow, BLOCK)
        _down_back[grid](slopes, gauss, spread, h, oh, ow, window, BLOCK)
        grid = planes, triton.cdiv(h * w, BLOCK)
        more = below is not None
        _along_back[grid](
            x, y, spread, gauss, weight, below if more else y, out, h, w, ow, more, window, BLOCK
        )
    return out


@triton.jit(do_not_specialize=("h", "w", "ow"))
def _along(x, y, gauss, out, h, w, ow, W: tl.constexpr, B: tl.constexpr):
    """Sums of y, y^2 and x y along rows under each window: (planes, 3, h, ow)."""
    plane = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < h * ow
    at = plane * h * w + (e // ow) * w + e % ow
    mean = tl.zeros((B,), tl.float32)
    square = tl.zeros((B,), tl.float32)
    product = tl.zeros((B,), tl.float32)
    for k in tl.static_range(W):
        g = tl.load(gauss + k)
        a = tl.load(y + at + k, mask=there, other=0.0)
        b = tl.load(x + at + k, mask=there, other=0.0)
        mean += g * a
        square += g * a * a
        product += g * a * b
    to = out + plane * 3 * h * ow + e
    tl.store(to, mean, mask=there)
    tl.store(to + h * ow, square, mask=there)
    tl.store(to + 2 * h * ow, product, mask=there)


@triton.jit(do_not_specialize=("h", "oh", "ow"))
def _down(
    blurred, mean_x, variance_x, gauss, slopes, sums, h, oh, ow, c1, c2,
    LAST: tl.constexpr, W: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Down columns as `_along`; then the similarity, summed by program, and its slopes."""
    plane = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < oh * ow
    at = blurred + plane * 3 * h * ow + e
    mean = tl.zeros((B,), tl.float32)
    square = tl.zeros((B,), tl.float32)
    product = tl.zeros((B,), tl.float32)
    for k in tl.static_range(W):
        g = tl.load(gauss + k)
        mean += g * tl.load(at + k * ow, mask=there, other=0.0)
        square += g * tl.load(at + (k + h) * ow, mask=there, other=0.0)
        product += g * tl.load(at + (k + 2 * h) * ow, mask=there, other=0.0)
    known = tl.load(mean_x + plane * oh * ow + e, mask=there, other=0.0)
    below = tl.load(variance_x + plane * oh * ow + e, mask=there, other=0.0)
    below += square - mean * mean + c2
    structure = (2 * (product - known * mean) + c2) / below
    by_mean = 2 * (structure * mean - known) / below
    by_square = -structure / below
    by_product = 2 / below
    if LAST:
        level = known * known + mean * mean + c1
        luminance = (2 * known * mean + c1) / level
        by_mean = luminance * by_mean + 2 * structure * (known - mean * luminance) / level
        by_square = by_square * luminance
        by_product = by_product * luminance
        structure = structure * luminance
    to = slopes + plane * 3 * oh * ow + e
    tl.store(to, by_mean, mask=there)
    tl.store(to + oh * ow, by_square, mask=there)
    tl.store(to + 2 * oh * ow, by_product, mask=there)
    total = tl.sum(tl.where(there, structure, 0.0), 0)
    tl.store(sums + plane * tl.num_programs(1) + tl.program_id(1), total)


@triton.jit(do_not_specialize=("h", "oh", "ow"))
def _down_back(slopes, gauss, out, h, oh, ow, W: tl.constexpr, B: tl.constexpr):
    """The adjoint of blurring down columns: (planes, 3, h, ow)."""
    plane = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < h * ow
    row = e // ow
    at = slopes + plane * 3 * oh * ow + e
    first = tl.zeros((B,), tl.float32)
    second = tl.zeros((B,), tl.float32)
    third = tl.zeros((B,), tl.float32)
    for k in tl.static_range(W):
        g = tl.load(gauss + k)
        own = there & (row >= k) & (row - k < oh)
        first += g * tl.load(at - k * ow, mask=own, other=0.0)
        second += g * tl.load(at + (oh - k) * ow, mask=own, other=0.0)
        third += g * tl.load(at + (2 * oh - k) * ow, mask=own, other=0.0)
    to = out + plane * 3 * h * ow + e
    tl.store(to, first, mask=there)
    tl.store(to + h * ow, second, mask=there)
    tl.store(to + 2 * h * ow, third, mask=there)


@triton.jit(do_not_specialize=("h", "w", "ow"))
def _along_back(
    x, y, spread, gauss, weight, below, out, h, w, ow,
    MORE: tl.constexpr, W: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """The adjoint of blurring along rows, put together, and that of `_halved`: (planes, h, w)."""
    plane = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < h * w
    row = e // w
    column = e % w
    at = spread + plane * 3 * h * ow + row * ow + column
    first = tl.zeros((B,), tl.float32)
    second = tl.zeros((B,), tl.float32)
    third = tl.zeros((B,), tl.float32)
    for k in tl.static_range(W):
        g = tl.load(gauss + k)
        own = there & (column >= k) & (column - k < ow)
        first += g * tl.load(at - k, mask=own, other=0.0)
        second += g * tl.load(at + h * ow - k, mask=own, other=0.0)
        third += g * tl.load(at + 2 * h * ow - k, mask=own, other=0.0)
    here = plane * h * w + e
    a = tl.load(y + here, mask=there, other=0.0)
    b = tl.load(x + here, mask=there, other=0.0)
    value = tl.load(weight + plane) * (first + 2 * a * second + b * third)
    if MORE:
        high, wide = (h + 1) // 2, (w + 1) // 2
        to = plane * high * wide + ((row + h % 2) // 2) * wide + (column + w % 2) // 2
        value += 0.25 * tl.load(below + to, mask=there, other=0.0)
    tl.store(out + here, value, mask=there)


@triton.jit(do_not_specialize=("h", "w", "high", "wide"))
def _halved(x, out, h, w, high, wide, B: tl.constexpr):
    """Means of 2 x 2 pixels; before an odd side lies a row of zeros."""
    plane = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < high * wide
    row = (e // wide) * 2 - h % 2
    column = (e % wide) * 2 - w % 2
    at = x + plane * h * w + row * w + column
    total = tl.zeros((B,), tl.float32)
    for k in tl.static_range(4):
        own = there & (row + k // 2 >= 0) & (column + k % 2 >= 0)
        total += tl.load(at + (k // 2) * w + k % 2, mask=own, other=0.0)
    tl.store(out + plane * high * wide + e, 0.25 * total, mask=there)
