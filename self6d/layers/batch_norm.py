"""Batch norm and the activation behind it in one pass over pixels."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn

from self6d.layers.usable import usable

KERNELS = "self6d.layers.batch_norm_kernels"
LIMITS = {nn.ReLU: (0.0, torch.inf), nn.ReLU6: (0.0, 6.0), nn.Identity: (-torch.inf, torch.inf)}
"""Activations that only clamp: lowest and highest value."""


class BatchNormAct(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, then an activation; parameters and their names are `nn.BatchNorm2d`'s.

    In training torch reads or writes a map five times in these two, and eight times backward. On
    maps of bfloat16, channels last, own kernels do with three and five: the activation is part of
    the pass that normalises, and its gradient follows from the map that came in. So do they where
    the running statistics stay as they are. Statistics and arithmetic are float32. Without
    gradients maps of float32 are taken as well.

    Args:
        features: channels. act: one of `LIMITS`, or any other, which then runs by itself.
        eps, momentum: as of `nn.BatchNorm2d`.
    """

    def __init__(
        self, features: int, act: nn.Module, eps: float = 1e-5, momentum: float | None = 0.1
    ) -> None:
        super().__init__(features, eps, momentum)
        self.act = act

    @classmethod
    def of(cls, norm: nn.BatchNorm2d, act: nn.Module) -> Self:
        """What does the same as both, with copies of the norm's weights and statistics."""
        made = cls(norm.num_features, act, norm.eps, norm.momentum)
        made.load_state_dict(norm.state_dict())
        return made

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        kernels = self._usable(input)
        if kernels is None:
            return self.act(super().forward(input))
        limits = LIMITS[type(self.act)]
        assert self.running_mean is not None
        assert self.running_var is not None
        running = (self.running_mean, self.running_var)
        if not (self.training or torch.is_grad_enabled()):
            return kernels.values(input, self.weight, self.bias, *running, self.eps, *limits)
        momentum = None
        if self.training:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = self.momentum
        return _Fused.apply(
            input, self.weight, self.bias, running, momentum, self.eps, limits, kernels
        )

    def _usable(self, input: Tensor) -> ModuleType | None:
        if type(self.act) not in LIMITS or self.momentum is None or self.num_features % 8:
            return None
        learns = self.training or torch.is_grad_enabled()
        dtype = torch.bfloat16 if learns else torch.promote_types(input.dtype, torch.bfloat16)
        return usable(KERNELS, input, dtype=dtype, channels_last=True)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running: tuple[Tensor, Tensor],
        momentum: float | None, eps: float, limits: tuple[float, float], kernels: ModuleType,
    ) -> Tensor:  # fmt: skip
        ctx.fixed = momentum is None
        mean, variance = running if ctx.fixed else kernels.moments(x, *running, momentum)
        ctx.save_for_backward(x, weight, bias, mean, variance)
        ctx.numbers, ctx.kernels = (eps, *limits), kernels
        return kernels.values(x, weight, bias, mean, variance, *ctx.numbers)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *others = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        found = ctx.kernels.backward(gradient, x, *others, *ctx.numbers, ctx.fixed)
        return *found, None, None, None, None, None
