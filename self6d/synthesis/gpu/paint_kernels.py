"""Repainting in one pass over pixels; see `appearance.apply_paint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from self6d.synthesis.appearance import Paint

BLOCK = 512  # pixels of a program
NUMBERS = tl.constexpr(37)  # of a thing, as `repaint` lists them


def works(device: torch.device) -> bool:
    """Whether it compiles and runs there."""
    rgb, depth = torch.ones(1, 3, 2, 2, device=device), torch.ones(1, 2, 2, device=device)
    numbers = torch.zeros(1, NUMBERS.value, device=device)
    numbers[:, (4, 8, 12)], numbers[:, :2] = 0.5, 1.0
    return bool((_repainted(rgb, depth, numbers) == 0.5).all())


def repaint(rgb: Tensor, depth_m: Tensor, K: Tensor, paint: Paint) -> Tensor:
    """As `apply_paint`; rgb (m, 3, h, w) and depth_m (m, h, w) contiguous, rgb written over."""
    focal, centre = K.diagonal(dim1=1, dim2=2)[:, :2], K[:, :2, 2]
    numbers = torch.cat(
        (
            focal, centre, paint.matrix.flatten(1), paint.waves.flatten(1), paint.phase,
            paint.stain.flatten(1), paint.hardness[:, None], paint.tone[:, None],
        ),
        dim=1,
    )  # fmt: skip
    return _repainted(rgb, depth_m, numbers)


def _repainted(rgb: Tensor, depth_m: Tensor, numbers: Tensor) -> Tensor:
    m, _, h, w = rgb.shape
    with torch.cuda.device_of(rgb):
        _repaint[(triton.cdiv(h * w, BLOCK), m)](rgb, depth_m, numbers, h * w, w, BLOCK)
    return rgb


@triton.jit
def _angle(waves, phase, which: tl.constexpr, x, y, depth):
    """w . point + phase, the point from its ray and depth."""
    w = waves + 3 * which
    along = tl.load(w) * x + tl.load(w + 1) * y + tl.load(w + 2)
    return along * depth + tl.load(phase + which)


@triton.jit
def _painted(n, channel: tl.constexpr, r, g, b, first, second):
    """A channel of the repainted colour."""
    matrix, stain = n + 4 + 3 * channel, n + 29 + channel
    value = tl.load(matrix) * r + tl.load(matrix + 1) * g + tl.load(matrix + 2) * b
    value *= 1 + first * tl.load(stain)
    value *= 1 + second * tl.load(stain + 3)
    value = tl.minimum(tl.maximum(value, 0.0), 1.0)
    return value + tl.load(n + 36) * value * (1 - value)


@triton.jit(do_not_specialize=("pixels", "width"))
def _repaint(rgb, depth, numbers, pixels, width, B: tl.constexpr):
    """A block of pixels of one thing."""
    thing = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * B + tl.arange(0, B)
    there = at < pixels
    n = numbers + thing * NUMBERS
    waves, phase, hardness = n + 13, n + 25, tl.load(n + 35)
    x = ((at % width).to(tl.float32) + 0.5 - tl.load(n + 2)) / tl.load(n)
    y = ((at // width).to(tl.float32) + 0.5 - tl.load(n + 3)) / tl.load(n + 1)
    z = tl.load(depth + thing * pixels + at, mask=there, other=0.0)
    start = rgb + thing * 3 * pixels + at
    r = tl.load(start, mask=there, other=0.0)
    g = tl.load(start + pixels, mask=there, other=0.0)
    b = tl.load(start + 2 * pixels, mask=there, other=0.0)
    # one wave of each pair bends the other
    bent = 1.5 * tl.sin(_angle(waves, phase, 1, x, y, z))
    first = tl.sin(_angle(waves, phase, 0, x, y, z) + bent) * hardness
    bent = 1.5 * tl.sin(_angle(waves, phase, 3, x, y, z))
    second = tl.sin(_angle(waves, phase, 2, x, y, z) + bent) * hardness
    first, second = 2 * tl.sigmoid(2 * first) - 1, 2 * tl.sigmoid(2 * second) - 1  # tanh
    for channel in tl.static_range(3):
        value = _painted(n, channel, r, g, b, first, second)
        tl.store(start + channel * pixels, value, mask=there)
