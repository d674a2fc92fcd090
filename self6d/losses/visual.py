"""Visual alignment of a rendering with the sensor image: Self6D equations (4) to (6).

Each function gives one number an item, so that frames and starts batch. Where there is no
evidence (an empty mask) the number is 0 and so is its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
