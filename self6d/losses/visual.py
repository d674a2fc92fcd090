"""Visual alignment of a rendering with the sensor image: Self6D equations (4) to (6).

Each function gives one number an item, so that frames and starts batch. Where there is no
evidence (an empty mask) the number is 0 and so is its gradient.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from self6d.layers.usable import usable
from self6d.losses.color import AB_RANGE, rgb_to_ab, to_xyz
from self6d.losses.cpu import visual as cpu_kernels

KERNELS = "self6d.losses.gpu.visual_kernels"


def mask_loss(
    mask: Tensor, rendered: Tensor, valid: Tensor | None = None, *, eps: float = 1e-6
) -> Tensor:
    """Class-balanced cross entropy between predicted and rendered mask, Self6D equation (4).

    - 1/|N+| sum_{N+} M_P log M_R - 1/|N-| sum_{N-} log(1 - M_R), N+ = {M_P >= 1/2}, N- the rest.

    Args:
        mask: (N, H, W) float, M_P, predicted visible mask in [0, 1].
        rendered: (N, H, W) float, M_R, soft silhouette in [0, 1].
        valid: (N, H, W) bool, pixels that may speak (not occluded, inside the image); None: all.
        eps: logarithms are clamped at log(eps).

    Returns:
        (N,). 0 with zero gradient where N+ is empty: no detection, no evidence. An object rendered
        outside the view gives the constant -log(eps) on N+, so it never looks like a good fit.
    """
    kernels = None if mask.requires_grad else _kernels(mask, rendered)
    if kernels is not None:
        valid = torch.ones_like(mask, dtype=torch.bool) if valid is None else valid.contiguous()
        return _MaskLoss.apply(rendered, mask, valid, eps, kernels)
    positive = mask >= 0.5
    negative = ~positive
    if valid is not None:
        positive, negative = positive & valid, negative & valid
    count = positive.sum((1, 2))
    pull = mask * rendered.clamp_min(eps).log() * positive
    push = (1 - rendered).clamp_min(eps).log() * negative
    pull = pull.sum((1, 2)) / count.clamp_min(1)
    push = push.sum((1, 2)) / negative.sum((1, 2)).clamp_min(1)
    return torch.where(count > 0, -pull - push, torch.zeros_like(pull))


def ab_loss(source_ab: Tensor, rendered_ab: Tensor, mask: Tensor) -> Tensor:
    """Colour without brightness, Self6D equation (5).

    1/|N+| sum_N || rho(I_S) M_P - rho(I_R) ||_1 with rho from `rgb_to_ab`.

    Args:
        source_ab: (N, 2, H, W), rho(I_S) M_P, already masked.
        rendered_ab: (N, 2, H, W), rho(I_R), 0 where uncovered.
        mask: (N, H, W) float, M_P in [0, 1].

    Returns:
        (N,), in units of `color.AB_RANGE`; 0 with zero gradient where the mask is empty.
    """
    count = (mask >= 0.5).sum((1, 2))
    total = (source_ab - rendered_ab).abs().sum((1, 2, 3)) / count.clamp_min(1)
    return torch.where(count > 0, total, torch.zeros_like(total))


def ab_loss_of(source_ab: Tensor, rgb: Tensor, mask: Tensor) -> Tensor:
    """`ab_loss` of `rgb_to_ab(rgb)`, in float32 in two passes over the pixels.

    Args:
        rgb: (N, 3, H, W) float in [0, 1], I_R, 0 where uncovered. All else as for `ab_loss`.
    """
    kernels = _kernels(source_ab, rgb, mask)
    if kernels is not None:
        return _AbLoss.apply(rgb, source_ab, mask, kernels)
    return ab_loss(source_ab, rgb_to_ab(rgb), mask)


def _kernels(*maps: Tensor) -> ModuleType | None:
    """Those of a GPU or of the CPU, where all maps are what they are for: float32 and dense."""
    quick = all(
        x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous() for x in maps
    )
    return cpu_kernels if quick else usable(KERNELS, *maps)


class _MaskLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rendered: Tensor, mask: Tensor, valid: Tensor, eps: float, kernels: ModuleType
    ) -> Tensor:
        value, sums = kernels.mask(mask, rendered, valid, eps)
        ctx.save_for_backward(mask, rendered, valid, sums)
        ctx.eps, ctx.kernels = eps, kernels
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight = gradient.contiguous()
        found = ctx.kernels.mask_gradient(*ctx.saved_tensors, weight, ctx.eps)
        return found, *[None] * 4


class _AbLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rgb: Tensor, source_ab: Tensor, mask: Tensor, kernels: ModuleType
    ) -> Tensor:
        matrix = to_xyz(rgb.dtype, rgb.device)
        value, share = kernels.ab(source_ab, rgb, mask, matrix, 1 / AB_RANGE)
        ctx.save_for_backward(rgb, source_ab, matrix, share)
        ctx.kernels = kernels
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rgb, source_ab, matrix, share = ctx.saved_tensors
        found = ctx.kernels.ab_gradient(source_ab, rgb, matrix, 1 / AB_RANGE, gradient * share)
        return found, None, None, None
