"""sRGB to CIELAB, differentiable.

Source: IEC 61966-2-1 (sRGB transfer curve, D65 white) and CIE 15 (L*a*b*).
"""

from __future__ import annotations

from functools import cache

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


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer curve: (...) in [0, 1] -> (...) in [0, 1]."""
    bright = rgb > 0.04045
    safe = torch.where(bright, rgb, torch.ones_like(rgb))  # the power's slope is not used below
    return torch.where(bright, ((safe + 0.055) / 1.055) ** 2.4, rgb / 12.92)


@cache
def _to_xyz(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept on the device: a copy to it at each call would forbid CUDA graphs."""
    return torch.tensor(_TO_XYZ, dtype=dtype, device=device)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIELAB of sRGB colours, D65 white.

    Args:
        rgb: (..., 3, H, W) float, sRGB in [0, 1], channels in RGB order.

    Returns:
        (..., 3, H, W): L in [0, 100], a and b in about [-110, 110], 0 for black and grey.
    """
    xyz = torch.einsum("ij,...jhw->...ihw", _to_xyz(rgb.dtype, rgb.device), srgb_to_linear(rgb))
    delta = 6 / 29
    bright = xyz > delta**3
    safe = torch.where(bright, xyz, torch.ones_like(xyz))
    f = torch.where(bright, safe ** (1 / 3), xyz / (3 * delta**2) + 4 / 29)
    x, y, z = f.unbind(-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def rgb_to_ab(rgb: Tensor) -> Tensor:
    """rho of Self6D equation (5): CIELAB without L, divided by `AB_RANGE`.

    Args:
        rgb: (..., 3, H, W) float, sRGB in [0, 1].

    Returns:
        (..., 2, H, W), within about [-0.5, 0.5], 0 for black, grey and white.
    """
    return rgb_to_lab(rgb)[..., 1:, :, :] / AB_RANGE
