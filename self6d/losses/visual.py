"""Visual alignment of a rendering with the sensor image: Self6D equations (4) to (6).

Each function gives one number an item, so that frames and starts batch. Where there is no
evidence (an empty mask) the number is 0 and so is its gradient.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from self6d.errors import InputError
from self6d.losses.color import rgb_to_ab

MS_SSIM_SCALES = 5
MS_SSIM_SIGMA = 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# it copies the weights it is given, which is what we want: they are on the device already
warnings.filterwarnings("ignore", "To copy construct from a tensor", module="pytorch_msssim")


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


def ab_loss_rgb(source: Tensor, rendered: Tensor, mask: Tensor) -> Tensor:
    """`ab_loss` from colours: (N, 3, H, W) sRGB in [0, 1] twice, (N, H, W) mask -> (N,)."""
    return ab_loss(rgb_to_ab(source) * mask[:, None], rgb_to_ab(rendered), mask)


def ms_ssim_window(height: int, width: int) -> int:
    """Largest odd Gaussian window, at most 11, that five scales of an image of this size hold.

    Raises:
        InputError: a side is 32 pixels or less.
    """
    side = min(height, width)
    window = min(11, (side - 1) // 2 ** (MS_SSIM_SCALES - 1) + 1)
    window -= 1 - window % 2
    if window < 3:
        raise InputError(
            f"crops of {width}x{height} pixels are too small for MS-SSIM",
            remedy="Use crops of 33 pixels or more, or set loss.ms_ssim to 0.",
        )
    return window


def ms_ssim_loss(source: Tensor, rendered: Tensor) -> Tensor:
    """1 - MS-SSIM(I_S M_P, I_R) on five scales, Self6D equation (6).

    The window is 11 wide for sides over 160 pixels and as large as fits below. pytorch-msssim cuts
    a negative contrast at 0 before a fractional power, whose slope there is infinite: such an item
    gets a zero gradient instead of one that is not a number.

    Args:
        source: (N, 3, H, W) float in [0, 1], I_S M_P.
        rendered: (N, 3, H, W) float in [0, 1], I_R.

    Returns:
        (N,), 0 for equal images, at most 1.
    """
    if rendered.requires_grad:
        rendered = rendered.view_as(rendered)  # the hook belongs to this use alone
        rendered.register_hook(lambda grad: grad.nan_to_num(0.0, 0.0, 0.0))
    width = ms_ssim_window(*source.shape[-2:])
    window, weights = _ms_ssim_constants(width, source.shape[1], source.dtype, source.device)
    similarity = ms_ssim(
        source, rendered, data_range=1.0, size_average=False, win=window, weights=weights
    )
    return 1 - similarity


@cache
def _ms_ssim_constants(
    width: int, channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Gaussian window (C, 1, 1, width) and scale weights (5,), as pytorch-msssim makes them.

    Kept on the device: a copy to it at each call would forbid CUDA graphs.
    """
    x = torch.arange(width, dtype=dtype, device=device) - width // 2
    gauss = torch.exp(-(x**2) / (2 * MS_SSIM_SIGMA**2))
    window = (gauss / gauss.sum()).repeat(channels, 1, 1, 1)
    return window, torch.tensor(MS_SSIM_WEIGHTS, dtype=dtype, device=device)
