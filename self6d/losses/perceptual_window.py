"""The perceptual distance of a small object before black, on a CPU: AlexNet inside a window alone.

An object fills a part of its region and the rest is black, where features are those of a black
image, known beforehand. Each layer is computed where the object can reach it and laid into the
black image's features: the same numbers for a fraction of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad, pixel_shuffle, pixel_unshuffle

from self6d.losses.cpu import perceptual as kernels
from self6d.losses.perceptual import CONVOLUTIONS, POOLED, AlexNetFeatures, apart
from self6d.workers import run_parallel


@dataclass(frozen=True)
class Box:
    """Rows top to bottom and columns left to right of a map, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, where: Tensor) -> Box:
        """Smallest box around the set pixels of all N maps, (N, H, W) bool; one pixel if none."""
        ends = []
        for axis in (2, 1):
            at = where.any(axis).any(0).nonzero()[:, 0]
            ends += [int(at[0]), int(at[-1]) + 1] if len(at) else [0, 1]
        return cls(*ends)

    def of(self, maps: Tensor) -> Tensor:
        """This part of (..., H, W)."""
        return maps[..., self.top : self.bottom, self.left : self.right]

    def within(self, other: Box) -> Box:
        """The common part, in the coordinates of `other`."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Box(top - other.top, bottom - other.top, left - other.left, right - other.left)

    def beyond(self, other: Box) -> tuple[int, int, int, int]:
        """How far this box goes past the other at each side, as `pad` takes it."""
        inside = other.within(self)
        height, width = self.bottom - self.top, self.right - self.left
        return inside.left, width - inside.right, inside.top, height - inside.bottom

    def reached(self, kernel: int, stride: int, padding: int, size: torch.Size) -> Box:
        """Outputs that depend on this box: output i of `size` sees stride i - padding + kernel."""
        ends = []
        for low, high, n in ((self.top, self.bottom, size[-2]), (self.left, self.right, size[-1])):
            first = -((kernel - 1 - padding - low) // stride)
            ends += [max(first, 0), min((high - 1 + padding) // stride + 1, n)]
        return Box(*ends)

    def seen(self, kernel: int, stride: int, padding: int) -> Box:
        """Inputs that this box of outputs depends on; may leave the map."""
        ends = []
        for low, high in ((self.top, self.bottom), (self.left, self.right)):
            ends += [low * stride - padding, (high - 1) * stride - padding + kernel]
        return Box(*ends)


@torch.no_grad()
def unlike_black(
    network: AlexNetFeatures, source: list[Tensor], height: int, width: int
) -> list[Tensor]:
    """Distance of the features of images (N, 3, height, width) to those of a black one.

    Returns:
        (N, H_l, W_l) of each layer.
    """
    black = network.of_black(height, width)
    return [apart(s, x) for s, x in zip(source, black, strict=True)]


def windowed_perceptual_loss(
    network: AlexNetFeatures, rgb: Tensor, box: Box, source: list[Tensor], from_black: list[Tensor]
) -> Tensor:
    """`perceptual_loss` of images that are black outside a window.

    Args:
        rgb: (N, 3, H, W) float32 in [0, 1], on the CPU, black outside `box`. Gradients reach the
            box alone.
        source: features of I_S M_P. from_black: their `unlike_black`.

    Returns:
        (N,), between 0 and 10. Differentiable once, in `rgb` alone.
    """
    return _Distance.apply(rgb, network, box, source, from_black)


class _Distance(torch.autograd.Function):
    """All layers as one node: between convolutions, kernels in place of a dozen passes each."""

    @staticmethod
    def forward(
        ctx: Any,
        rgb: Tensor,
        network: AlexNetFeatures,
        box: Box,
        source: list[Tensor],
        from_black: list[Tensor],
    ) -> Tensor:
        whole, layers = Box(0, rgb.shape[-2], 0, rgb.shape[-1]), []
        black = network.of_black(*rgb.shape[-2:])
        total = np.zeros(len(rgb))
        x, ground, pooled = rgb, black[0], None
        for index, (_, _, kernel, stride, padding) in enumerate(CONVOLUTIONS):
            if index in POOLED:
                ground = max_pool2d(black[index - 1], 3, 2)
                out = box.reached(3, 2, 0, ground.shape)
                x, pooled = _pooled(x, box, black[index - 1], out)
                box = out
            out = box.reached(kernel, stride, padding, black[index].shape)
            region = out.seen(kernel, stride, padding)
            if index:
                into = _laid(x, box, ground, region)
            else:  # blocks of pixels, each four wide; the kernel's last row and column are 0
                region = Box(region.top, region.bottom + 1, region.left, region.right + 1)
                into = (region.within(whole).of(rgb) - network.mean) / network.std
                into = pixel_unshuffle(pad(into, region.beyond(whole)), stride)
                into = _channels_last(into)
            x = _channels_last(network.fixed(index).relu(into))
            layer = _Layer(x, into.shape, region, box, out, _channels_last(source[index]), pooled)
            layers.append(layer)
            total += layer.apart_from(from_black[index])
            box, ground, pooled = out, black[index], None
        ctx.layers, ctx.network, ctx.size = layers, network, rgb.shape
        return torch.from_numpy(total).to(rgb.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight = grad.numpy()
        g = torch.zeros_like(ctx.layers[-1].x)
        for index in range(len(CONVOLUTIONS) - 1, -1, -1):
            layer = ctx.layers[index]
            layer.apart_backward(weight, g)
            g = ctx.network.fixed(index).gradient(g, layer.size)
            if index:
                inside = layer.before.within(layer.region)  # the rest is the black image's
                g = layer.unpooled(_channels_last(inside.of(g)), ctx.layers[index - 1])
        first, (_, _, height, width) = ctx.layers[0], ctx.size
        g = pixel_shuffle(g, CONVOLUTIONS[0][3])
        whole, out = Box(0, height, 0, width), torch.zeros(ctx.size)
        part = whole.within(first.region).of(g) / ctx.network.std
        first.region.within(whole).of(out).copy_(part)
        return out, None, None, None, None


@dataclass
class _Layer:
    """What one layer leaves for its gradient.

    Attributes:
        x: (N, C, h, w) activations, at `out` of the layer's map. size: of what was convolved, which
            is `region` of the map before; `before`: what of that map was computed.
        source: (N, C, H, W). pooled: which maxima were taken, of what region of the last layer's
            map and its size; None without pooling.
    """

    x: Tensor
    size: torch.Size
    region: Box
    before: Box
    out: Box
    source: Tensor
    pooled: tuple[np.ndarray, Box, tuple[int, int]] | None

    def __post_init__(self) -> None:
        n, _, height, width = self.x.shape
        self.slopes = np.empty((n, height, width, 2), np.float32)

    def apart_from(self, black: Tensor) -> np.ndarray:
        """(N,): the layer's part of the loss; `black` (N, H, W) is the source's distance to it."""
        x, s, below, out = _rows(self.x), _rows(self.source), black.numpy(), np.empty(len(self.x))
        top, left = self.out.top, self.out.left

        def work(i: int) -> None:
            changed = kernels.apart_from(x[i], s[i], below[i], top, left, self.slopes[i])
            out[i] = (below[i].sum(dtype=np.float64) + changed) / below[i].size

        run_parallel(work, len(out))
        return out

    def apart_backward(self, weight: np.ndarray, g: Tensor) -> None:
        """Add the gradient of the layer's part, then go back through its ReLU; in place."""
        x, s, into = _rows(self.x), _rows(self.source), _rows(g)
        places = np.float32(s.shape[1] * s.shape[2])
        top, left = self.out.top, self.out.left

        def work(i: int) -> None:
            share = weight[i] / places
            kernels.apart_backward(x[i], s[i], self.slopes[i], share, top, left, into[i])

        run_parallel(work, len(x))

    def unpooled(self, g: Tensor, last: _Layer) -> Tensor:
        """The gradient in what was convolved, g, as one in the activations of the last layer."""
        if self.pooled is None:
            return g
        which, region, size = self.pooled
        patch = np.zeros((len(g), *size, g.shape[1]), np.float32)
        pooled = _rows(g)
        run_parallel(lambda i: kernels.pool_backward(pooled[i], which[i], patch[i]), len(g))
        out = torch.zeros_like(last.x)  # maxima may leave out its last row
        inside = last.out.within(region).of(torch.from_numpy(patch).permute(0, 3, 1, 2))
        region.within(last.out).of(out).copy_(inside)
        return out


def _pooled(
    x: Tensor, box: Box, ground: Tensor, out: Box
) -> tuple[Tensor, tuple[np.ndarray, Box, tuple[int, int]]]:
    """Maxima at `out` of x, laid at `box` into `ground`, and what `_Layer.unpooled` needs."""
    region = out.seen(3, 2, 0)
    laid = _laid(x, box, ground, region)
    n, channels, height, width = laid.shape
    small = (n, (height - 1) // 2, (width - 1) // 2, channels)
    found, which = np.empty(small, np.float32), np.empty(small, np.uint8)
    rows = _rows(laid)
    run_parallel(lambda i: kernels.pool(rows[i], found[i], which[i]), n)
    maxima = torch.from_numpy(found).permute(0, 3, 1, 2)
    return maxima, (which, region, (height, width))


def _laid(x: Tensor, box: Box, ground: Tensor, region: Box) -> Tensor:
    """x (N, C, h, w), at `box` of the map `ground` (1, C, H, W), seen through `region`.

    0 outside the map. Channels last.
    """
    whole = Box(0, ground.shape[-2], 0, ground.shape[-1])
    shape = (len(x), x.shape[1], region.bottom - region.top, region.right - region.left)
    patch = torch.zeros(shape, dtype=x.dtype).contiguous(memory_format=torch.channels_last)
    whole.within(region).of(patch).copy_(region.within(whole).of(ground))
    box.within(region).of(patch).copy_(region.within(box).of(x))
    return patch


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> np.ndarray:
    """(N, C, h, w) with channels last in memory as (N, h, w, C)."""
    return x.permute(0, 2, 3, 1).numpy()
