"""Max pooling that remembers places in a byte each."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from self6d.layers.usable import usable_for_features

KERNELS = "self6d.layers.pool_kernels"


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d(3, stride=2, padding=1)`, as the stems of ResNets have it.

    torch keeps the place of each maximum in eight bytes, of values of two, and adds gradients into
    places one after the other. On maps that fit, own kernels keep one byte, and each pixel collects
    its gradient from the four windows at most that it is in.
    """

    def __init__(self) -> None:
        super().__init__(3, stride=2, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
        kernels = usable_for_features(KERNELS, input, input.shape[1])
        if kernels is not None:
            return _Pool.apply(input, kernels)
        return super().forward(input)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: ModuleType) -> Tensor:
        y, place = kernels.forward(x)
        ctx.save_for_backward(place)
        ctx.like, ctx.kernels = torch.empty_like(x, device="meta"), kernels
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        gradient = gradient.to(ctx.like.dtype).contiguous(memory_format=torch.channels_last)
        return ctx.kernels.backward(gradient, place, ctx.like), None
