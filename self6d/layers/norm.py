"""Group norm and ReLU in one pass over pixels."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.layers.usable import usable_for_features

KERNELS = "self6d.layers.norm_kernels"


class GroupNormReLU(nn.GroupNorm):
    """`nn.GroupNorm`, then ReLU; parameters and their names are those of `nn.GroupNorm`.

    Under autocast torch takes bfloat16 to float32 and into another memory layout for it, and back:
    some 20 bytes a value are read or written where 6 do. On maps that fit, own kernels do it:
    statistics and arithmetic in float32, the result in bfloat16, as the next convolution wants it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        kernels = None
        if self.weight.dtype == torch.float32:
            kernels = usable_for_features(KERNELS, input, self.num_channels)
        if kernels is not None:
            return _Fused.apply(input, self.weight, self.bias, self.num_groups, self.eps, kernels)
        return F.relu(super().forward(input), inplace=True)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float,
        kernels: ModuleType,
    ) -> Tensor:  # fmt: skip
        y, sums = kernels.forward(x, weight, bias, groups, eps)
        ctx.save_for_backward(x, weight, bias, sums)
        ctx.groups, ctx.eps, ctx.kernels = groups, eps, kernels
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, sums = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        found = ctx.kernels.backward(gradient, x, weight, bias, sums, ctx.groups, ctx.eps)
        return *found, None, None, None
