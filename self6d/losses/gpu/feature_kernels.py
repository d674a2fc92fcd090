"""What `losses.gpu.perceptual` computes between convolutions.

Maps are (N, C, h, w), float32, channels last: a place's channels lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from self6d.losses.perceptual import block_grid

ELEMENTS = 4096  # of a tile: places times channels
POOLING = 1024  # of a tile there, whose threads hold more
BLOCK = 1024  # values of a program that goes through them in a row
SMALL = 1e-10  # under the root, as in `losses.perceptual`


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    rgb, one = torch.ones(1, 3, 35, 35, device=device), torch.ones(3, 1, 1, device=device)
    x = blocks(rgb, 0 * one, one)
    x = add_and_clip(x, x.new_zeros(48))
    small, place = pooled(x)
    value = distance([0.125 * small], [small])
    found = gradient(0.125 * small, small, value, small)
    found = unblocked(unpooled(found, place, x), one, (35, 35))
    return bool(value.isfinite().all() and found.isfinite().all())


def blocks(rgb: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """As `losses.perceptual._unshuffled` of (rgb - mean) / std: (N, 48, h, w).

    Args:
        rgb: (N, 3, H, W), contiguous. mean, std: (3, 1, 1).
    """
    n, _, height, width = rgb.shape
    h, w = block_grid(height, width)
    out = rgb.new_empty(n, h, w, 48).permute(0, 3, 1, 2)
    with torch.cuda.device_of(rgb):
        grid = (n, triton.cdiv(h * w * 48, BLOCK))
        _blocks[grid](rgb, mean, std, out, height, width, h, w, BLOCK)
    return out


def unblocked(gradient: Tensor, std: Tensor, size: Sequence[int]) -> Tensor:
    """The adjoint of `blocks`: (N, 3, H, W), contiguous; `size` is (H, W)."""
    n, _, h, w = gradient.shape
    height, width = size
    out = gradient.new_empty(n, 3, height, width)
    with torch.cuda.device_of(gradient):
        grid = (n, triton.cdiv(3 * height * width, BLOCK))
        _unblocked[grid](gradient, std, out, height, width, h, w, BLOCK)
    return out


def add_and_clip(x: Tensor, bias: Tensor) -> Tensor:
    """max(x + bias, 0), in place. bias: (C,)."""
    with torch.cuda.device_of(x):
        grid = (triton.cdiv(x.numel(), BLOCK),)
        _add_and_clip[grid](x, bias, x.numel(), x.shape[1], BLOCK)
    return x


def pooled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima over 3 x 3 at every other place, without padding, and where in its window each lies,
    uint8: row by row, the first of equal ones; both (N, C, (h - 1) // 2, (w - 1) // 2)."""
    n, c, h, w = x.shape
    high, wide = (h - 1) // 2, (w - 1) // 2
    y = x.new_empty(n, high, wide, c).permute(0, 3, 1, 2)
    place = torch.empty_like(y, dtype=torch.uint8)
    channels = triton.next_power_of_2(c)
    columns = max(1, POOLING // channels)
    with torch.cuda.device_of(x):
        grid = (n * high, triton.cdiv(wide, columns))
        _pooled[grid](x, y, place, h, w, high, wide, c, channels, columns)
    return y, place


def unpooled(gradient: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """Gradient of the map that was pooled, of the shape of `like`."""
    n, c, h, w = like.shape
    high, wide = gradient.shape[-2:]
    out = torch.empty_like(like)
    channels = triton.next_power_of_2(c)
    columns = max(1, POOLING // channels)
    with torch.cuda.device_of(gradient):
        grid = (n * h, triton.cdiv(w, columns))
        _unpooled[grid](gradient, place, out, h, w, high, wide, c, channels, columns)
    return out


def distance(source: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    """(N,): the sum over layers of the mean over places of |s - x / |x||^2."""
    grids = [_grid(layer) for layer in x]
    sums = x[0].new_empty(len(x[0]), sum(parts for parts, _, _ in grids))
    first = 0
    for s, layer, (parts, rows, channels) in zip(source, x, grids, strict=True):
        n, c, h, w = layer.shape
        with torch.cuda.device_of(layer):
            _distance[n, parts](
                s, layer, sums, first, sums.shape[1], h * w, c, SMALL, channels, rows
            )
        first += parts
    return sums.sum(1)


def gradient(source: Tensor, x: Tensor, weight: Tensor, above: Tensor | None) -> Tensor:
    """What reaches a convolution, whose result through ReLU is x.

    Args:
        weight: (N,), the distance's gradient. above: that of x from the layers after it.
    """
    n, c, h, w = x.shape
    out = torch.empty_like(x)
    parts, rows, channels = _grid(x)
    more = above is not None
    with torch.cuda.device_of(x):
        _gradient[n, parts](
            source, x, weight, above if more else x, out, h * w, c, SMALL, more, channels, rows
        )
    return out


def _grid(x: Tensor) -> tuple[int, int, int]:
    """Programs for each image, places of a tile, channels rounded up to a power of two."""
    channels = triton.next_power_of_2(x.shape[1])
    rows = max(1, ELEMENTS // channels)
    return triton.cdiv(x.shape[2] * x.shape[3], rows), rows, channels


@triton.jit(do_not_specialize=("height", "width", "h", "w"))
def _blocks(rgb, mean, std, out, height, width, h, w, B: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < h * w * 48
    channel, place = e % 48, e // 48
    colour, within = channel // 16, channel % 16
    row = (place // w) * 4 + within // 4 - 2
    column = (place % w) * 4 + within % 4 - 2
    inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = rgb + (image * 3 + colour) * height * width + row * width + column
    value = tl.load(at, mask=inside, other=0.0)
    value = (value - tl.load(mean + colour)) / tl.load(std + colour)
    tl.store(out + image * h * w * 48 + e, tl.where(inside, value, 0.0), mask=there)


@triton.jit(do_not_specialize=("height", "width", "h", "w"))
def _unblocked(gradient, std, out, height, width, h, w, B: tl.constexpr):
    image = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < 3 * height * width
    colour, place = e // (height * width), e % (height * width)
    row, column = place // width + 2, place % width + 2
    inside = there & (row // 4 < h) & (column // 4 < w)  # the last ones no block may hold
    at = ((row // 4) * w + column // 4) * 48 + colour * 16 + (row % 4) * 4 + column % 4
    value = tl.load(gradient + image * h * w * 48 + at, mask=inside, other=0.0)
    value = value / tl.load(std + colour, mask=there, other=1.0)
    tl.store(out + image * 3 * height * width + e, value, mask=there)


@triton.jit(do_not_specialize=("count",))
def _add_and_clip(x, bias, count, channels, B: tl.constexpr):
    e = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    there = e < count
    value = tl.load(x + e, mask=there, other=0.0) + tl.load(bias + e % channels)
    # NaN stays, as torch has it
    tl.store(x + e, tl.where(value < 0, 0.0, value), mask=there)


@triton.jit(do_not_specialize=("h", "w", "high", "wide"))
def _pooled(x, y, place, h, w, high, wide, channels, C: tl.constexpr, R: tl.constexpr):
    """A line of the result, R columns."""
    line = tl.program_id(0)
    column = tl.program_id(1) * R + tl.arange(0, R)
    channel = tl.arange(0, C)[None, :]
    there = (column < wide)[:, None] & (channel < channels)
    image, row = line // high, line % high
    best = tl.full((R, C), float("-inf"), tl.float32)
    where = tl.zeros((R, C), tl.int32)
    for tap in tl.static_range(9):
        v, u = row * 2 + tap // 3, column * 2 + tap % 3
        start = x + (image * h + v).to(tl.int64) * w * channels
        value = tl.load(start + u[:, None] * channels + channel, mask=there, other=float("-inf"))
        larger = (value > best) | (value != value)  # NaN stays, as torch has it
        best = tl.where(larger, value, best)
        where = tl.where(larger, tap, where)
    at = line.to(tl.int64) * wide * channels + column[:, None] * channels + channel
    tl.store(y + at, best, mask=there)
    tl.store(place + at, where.to(tl.uint8), mask=there)


@triton.jit(do_not_specialize=("h", "w", "high", "wide"))
def _unpooled(gradient, place, out, h, w, high, wide, channels, C: tl.constexpr, R: tl.constexpr):
    """A line of the map, R columns; a pixel is in one or two windows each way."""
    line = tl.program_id(0)
    column = tl.program_id(1) * R + tl.arange(0, R)
    channel = tl.arange(0, C)[None, :]
    known = channel < channels
    image, row = line // h, line % h
    total = tl.zeros((R, C), tl.float32)
    for which in tl.static_range(4):
        v, u = row // 2 - which // 2, column // 2 - which % 2
        down, right = row - 2 * v, column - 2 * u  # in the window, 0 to 2; or past it, 3
        inside = (right < 3) & (u >= 0) & (u < wide) & (down + 0 * u < 3)
        inside = inside & (v + 0 * u >= 0) & (v + 0 * u < high)
        at = (image * high + v).to(tl.int64) * wide * channels + u[:, None] * channels + channel
        chosen = tl.load(place + at, mask=inside[:, None] & known, other=255).to(tl.int32)
        g = tl.load(gradient + at, mask=inside[:, None] & known, other=0.0)
        total += tl.where(chosen == (down * 3 + right)[:, None], g, 0.0)
    at = line.to(tl.int64) * w * channels + column[:, None] * channels + channel
    tl.store(out + at, total, mask=(column < w)[:, None] & known)


@triton.jit
def _tiles(s, x, places, channels, C: tl.constexpr, R: tl.constexpr):
    """Both tiles (R, C), where they lie, and which of them is there."""
    row = tl.program_id(1) * R + tl.arange(0, R)
    channel = tl.arange(0, C)
    there = (row < places)[:, None] & (channel < channels)[None, :]
    at = tl.program_id(0).to(tl.int64) * places * channels
    at += row[:, None] * channels + channel[None, :]
    a = tl.load(s + at, mask=there, other=0.0)
    b = tl.load(x + at, mask=there, other=0.0)
    return a, b, at, there, row < places


@triton.jit(do_not_specialize=("first", "total", "places"))
def _distance(
    s, x, sums, first, total, places, channels, small, C: tl.constexpr, R: tl.constexpr
):  # fmt: skip
    a, b, _, _, there = _tiles(s, x, places, channels, C, R)
    square = tl.sum(b * b, 1)
    inverse = 1 / tl.sqrt(square + small)
    value = tl.sum(a * a, 1) + square * inverse * inverse - 2 * tl.sum(a * b, 1) * inverse
    value = tl.sum(tl.where(there, value, 0.0), 0) / places
    tl.store(sums + tl.program_id(0) * total + first + tl.program_id(1), value)


@triton.jit(do_not_specialize=("places",))
def _gradient(
    s, x, weight, above, out, places, channels, small,
    MORE: tl.constexpr, C: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    a, b, at, there, _ = _tiles(s, x, places, channels, C, R)
    square = tl.sum(b * b, 1)
    inverse = 1 / tl.sqrt(square + small)
    along = small * inverse * inverse * inverse * inverse
    along += tl.sum(a * b, 1) * inverse * inverse * inverse
    scale = 2 * tl.load(weight + tl.program_id(0)) / places
    value = scale * (b * along[:, None] - a * inverse[:, None])
    if MORE:
        value += tl.load(above + at, mask=there, other=0.0)
    tl.store(out + at, tl.where(b > 0, value, 0.0), mask=there)  # back through ReLU
