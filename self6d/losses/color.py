"""sRGB to CIELAB, differentiable.

Source: IEC 61966-2-1 (sRGB transfer curve, D65 white) and CIE 15 (L*a*b*).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

AB_RANGE = 220.0
"""Width of the range [-110, 110] that sRGB colours span in a and b; loss weights assume it."""

# Linear sRGB to XYZ, rows already divided by the D65 white point (0.95047, 1, 1.08883).
_TO_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)
_DELTA = 6 / 29  # where the cube root of L*a*b* becomes a line


class _Responses(torch.autograd.Function):
    """f(X/Xn), f(Y/Yn), f(Z/Zn) of sRGB colours, f being the cube root with CIE's linear foot.

    Both curves' slopes are at hand in the forward pass, so they are kept instead of taking powers
    twice.
    """

    @staticmethod
    def forward(ctx: Any, rgb: Tensor) -> Tensor:
        matrix = to_xyz(rgb.dtype, rgb.device)
        bright = rgb > 0.04045
        linear = torch.where(bright, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        first = torch.where(bright, 2.4 * linear / (rgb + 0.055), 1 / 12.92)
        xyz = (matrix @ linear.flatten(-2)).view(rgb.shape)
        root = xyz.clamp_min(_DELTA**3) ** (1 / 3)
        high = xyz > _DELTA**3
        second = torch.where(high, root / (3 * xyz), 1 / (3 * _DELTA**2))
        ctx.save_for_backward(first, second)
        return torch.where(high, root, xyz / (3 * _DELTA**2) + 4 / 29)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        first, second = ctx.saved_tensors
        matrix = to_xyz(grad.dtype, grad.device)
        return (matrix.mT @ (grad * second).flatten(-2)).view(grad.shape) * first


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIELAB of sRGB colours, D65 white.

    Args:
        rgb: (..., 3, H, W) float, sRGB in [0, 1], channels in RGB order.

    Returns:
        (..., 3, H, W): L in [0, 100], a and b in about [-110, 110], 0 for black and grey.
    """
    x, y, z = _Responses.apply(rgb).unbind(-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def rgb_to_ab(rgb: Tensor) -> Tensor:
    """rho of Self6D equation (5): CIELAB without L, divided by `AB_RANGE`.

    Args:
        rgb: (..., 3, H, W) float, sRGB in [0, 1].

    Returns:
        (..., 2, H, W), within about [-0.5, 0.5], 0 for black, grey and white.
    """
    x, y, z = _Responses.apply(rgb).unbind(-3)
    return torch.stack((500 / AB_RANGE * (x - y), 200 / AB_RANGE * (y - z)), dim=-3)


@cache
def to_xyz(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(3, 3); kept on the device: a copy to it at each call would forbid CUDA graphs."""
    return torch.tensor(_TO_XYZ, dtype=dtype, device=device)
