"""Distance of features to fixed ones of unit length; see `losses.perceptual.apart`.

Maps are (N, C, h, w), float32, channels last: a place's channels lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

ELEMENTS = 4096  # of a tile: places times channels
SMALL = 1e-10  # under the root, as in `losses.perceptual`


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x = torch.ones(1, 64, 2, 2, device=device).contiguous(memory_format=torch.channels_last)
    value = distance([0.125 * x], [x])
    (found,) = gradients([0.125 * x], [x], value)
    return abs(float(value)) < 0.001 and bool(found.isfinite().all())


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


def gradients(source: Sequence[Tensor], x: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """Of each layer of x, as they are; `weight` (N,) is the distance's."""
    found = []
    for s, layer in zip(source, x, strict=True):
        n, c, h, w = layer.shape
        out = torch.empty_like(layer)
        parts, rows, channels = _grid(layer)
        with torch.cuda.device_of(layer):
            _gradient[n, parts](s, layer, weight, out, h * w, c, SMALL, channels, rows)
        found.append(out)
    return found


def _grid(x: Tensor) -> tuple[int, int, int]:
    """Programs for each image, places of a tile, channels rounded up to a power of two."""
    channels = triton.next_power_of_2(x.shape[1])
    rows = max(1, ELEMENTS // channels)
    return triton.cdiv(x.shape[2] * x.shape[3], rows), rows, channels


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
def _gradient(s, x, weight, out, places, channels, small, C: tl.constexpr, R: tl.constexpr):
    a, b, at, there, _ = _tiles(s, x, places, channels, C, R)
    square = tl.sum(b * b, 1)
    inverse = 1 / tl.sqrt(square + small)
    along = small * inverse * inverse * inverse * inverse
    along += tl.sum(a * b, 1) * inverse * inverse * inverse
    scale = 2 * tl.load(weight + tl.program_id(0)) / places
    tl.store(out + at, scale * (b * along[:, None] - a * inverse[:, None]), mask=there)
