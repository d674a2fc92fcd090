"""Images convolved, each with a kernel of its own; see `effects.convolve`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # pixels of a program


def works(device: torch.device) -> bool:
    """Whether it compiles and runs there."""
    images, weights = torch.ones(2, 3, 4, 5, device=device), torch.ones(2, 3, 1, device=device)
    return bool((convolve(images, weights) == 3).all())


def convolve(images: Tensor, weights: Tensor) -> Tensor:
    """Images (b, c, h, w) and weights (b, kh, kw), sides odd, contiguous; edges repeated."""
    b, c, h, w = images.shape
    out = torch.empty_like(images)
    with torch.cuda.device_of(images):
        _convolve[(triton.cdiv(h * w, BLOCK), b * c)](
            images, weights, out, c, h, w, *weights.shape[1:], BLOCK
        )
    return out


@triton.jit(do_not_specialize=("channels", "h", "w"))
def _convolve(
    images, weights, out, channels, h, w, kh: tl.constexpr, kw: tl.constexpr, B: tl.constexpr
):
    """A block of pixels of one channel of one image."""
    plane = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * B + tl.arange(0, B)
    y, x = at // w, at % w
    image = images + plane * h * w
    weights += plane // channels * kh * kw
    total = tl.zeros((B,), tl.float32)
    for i in range(kh):
        row = image + tl.minimum(tl.maximum(y + i - kh // 2, 0), h - 1) * w
        for j in range(kw):
            weight = tl.load(weights + i * kw + j)
            if weight != 0:  # of a motion all but a line is zero
                column = tl.minimum(tl.maximum(x + j - kw // 2, 0), w - 1)
                total += weight * tl.load(row + column)
    tl.store(out + plane * h * w + at, total, mask=at < h * w)
