"""The perceptual distance of a small object before black, on a CPU: AlexNet inside a window alone.

An object fills a part of its region and the rest is black, where features are those of a black
image, known beforehand. Each layer is computed where the object can reach it and laid into the
black image's features: the same numbers for a fraction of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad, pixel_unshuffle, relu

from self6d.losses.perceptual import CONVOLUTIONS, POOLED, AlexNetFeatures, apart


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


def windowed_activations(
    network: AlexNetFeatures, rgb: Tensor, box: Box
) -> list[tuple[Tensor, Box]]:
    """`AlexNetFeatures.activations` where they differ from a black image's.

    Args:
        rgb: (N, 3, H, W) float in [0, 1], black outside `box`. Gradients reach the box alone.

    Returns:
        Of each layer the activations (N, C_l, h_l, w_l) and which part of (H_l, W_l) they are.
    """
    height, width = rgb.shape[-2:]
    black, whole = network.of_black(height, width), Box(0, height, 0, width)
    found = []
    x, ground = rgb, black[0]
    for index, (_, _, kernel, stride, padding) in enumerate(CONVOLUTIONS):
        if index in POOLED:
            ground = max_pool2d(black[index - 1], 3, 2)
            out = box.reached(3, 2, 0, ground.shape)
            x = max_pool2d(_laid(x, box, black[index - 1], out.seen(3, 2, 0)), 3, 2)
            box = out
        out = box.reached(kernel, stride, padding, black[index].shape)
        region = out.seen(kernel, stride, padding)
        if index:
            x = _laid(x, box, ground, region)
        else:  # blocks of pixels, each four wide; the kernel's last row and column are 0
            region = Box(region.top, region.bottom + 1, region.left, region.right + 1)
            x = (region.within(whole).of(rgb) - network.mean) / network.std
            x = pixel_unshuffle(pad(x, region.beyond(whole)), stride)
            x = x.contiguous(memory_format=torch.channels_last)
        x, box, ground = relu(conv2d(x, *network.kernel(index, x.dtype))), out, black[index]
        found.append((x, box))
    return found


def _laid(x: Tensor, box: Box, ground: Tensor, region: Box) -> Tensor:
    """x (N, C, h, w), at `box` of the map `ground` (1, C, H, W), seen through `region`.

    0 outside the map.
    """
    whole = Box(0, ground.shape[-2], 0, ground.shape[-1])
    part = region.within(whole)
    around = part.of(ground).expand(len(x), -1, -1, -1)
    patch = around.clone(memory_format=torch.channels_last)
    box.within(part).of(patch).copy_(part.within(box).of(x))
    return pad(patch, region.beyond(whole)).contiguous(memory_format=torch.channels_last)


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
    source: list[Tensor], from_black: list[Tensor], rendered: list[tuple[Tensor, Box]]
) -> Tensor:
    """`perceptual_loss` of images that are black outside a window.

    Args:
        source: features of I_S M_P. from_black: their `unlike_black`.
        rendered: `windowed_activations` of I_R.

    Returns:
        (N,), between 0 and 10.
    """
    total = source[0].new_zeros(len(source[0]))
    for s, black, (x, box) in zip(source, from_black, rendered, strict=True):
        changed = apart(box.of(s), x).sum((1, 2)) - box.of(black).sum((1, 2))
        total = total + (black.sum((1, 2)) + changed) / black[0].numel()
    return total
