"""Convolutions of each channel by itself."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.layers.usable import usable

KERNELS = "self6d.layers.depthwise_kernels"


class DepthwiseConv(nn.Conv2d):
    """`nn.Conv2d` with as many groups as channels and a square kernel of 3 or 5, without bias.

    For bfloat16, channels last, torch asks cuDNN, whose gradients in the weights take several times
    as long as reading the maps does; own kernels do what they are for alone.

    Args:
        same: pad as TensorFlow does, so that the result has ceil(side / stride) pixels a side, the
            odd one below and to the right; else half the kernel on all sides.
    """

    def __init__(self, channels: int, side: int, stride: int, same: bool) -> None:
        super().__init__(channels, channels, side, stride, side // 2, groups=channels, bias=False)
        self.same = same

    @classmethod
    def of(cls, conv: nn.Conv2d, same: bool) -> Self | None:
        """What does the same, with a copy of its weight; None for one of another kind."""
        side, stride = conv.kernel_size[0], conv.stride[0]
        padding = (0, 0) if same else (side // 2, side // 2)
        fits = (
            conv.groups == conv.in_channels == conv.out_channels
            and conv.kernel_size in ((3, 3), (5, 5))
            and conv.stride in ((1, 1), (2, 2))
            and conv.dilation == (1, 1)
            and conv.padding == padding
            and conv.bias is None
        )
        if not fits:
            return None
        made = cls(conv.in_channels, side, stride, same)
        made.load_state_dict(conv.state_dict())
        return made

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        side, stride = self.kernel_size[0], self.stride[0]
        size = tuple(-(-n // stride) for n in input.shape[2:])  # the same by both rules
        padding = (side // 2, side // 2)
        if self.same:
            missing = [max((n - 1) * stride + side - m, 0) for n, m in zip(size, input.shape[2:])]
            padding = (missing[0] // 2, missing[1] // 2)
        kernels = self._usable(input)
        if kernels is not None:
            return _Depthwise.apply(input, self.weight, stride, padding, size, kernels)
        if not self.same:
            return super().forward(input)
        (top, left), (high, wide) = padding, missing
        if high > 0 or wide > 0:
            input = F.pad(input, [left, wide - left, top, high - top])
        return F.conv2d(input, self.weight, self.bias, self.stride, 0, 1, self.groups)

    def _usable(self, input: Tensor) -> ModuleType | None:
        if self.in_channels % 8 or self.bias is not None:  # one: a batch norm was folded in
            return None
        trained = torch.is_grad_enabled() or torch.is_autocast_enabled(input.device.type)
        dtype = torch.bfloat16 if trained else torch.promote_types(input.dtype, torch.bfloat16)
        return usable(KERNELS, input, dtype=dtype, channels_last=True)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int],
        size: tuple[int, int], kernels: ModuleType,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, weight)
        ctx.form, ctx.kernels = (stride, padding), kernels
        return kernels.forward(x, weight, stride, padding, size)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        into = of_weight = None
        if ctx.needs_input_grad[0]:
            into = ctx.kernels.input_gradient(gradient, weight, *ctx.form, x)
        if ctx.needs_input_grad[1]:
            of_weight = ctx.kernels.weight_gradient(gradient, x, weight, *ctx.form)
        return into, of_weight, None, None, None, None
