"""Projection and back-projection of tensors; pixel centres as `camera` says."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_centres(
    height: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Image coordinates of all pixel centres.

    Returns:
        (height, width, 2), pixels, (x, y) = (column + 0.5, row + 0.5).
    """
    x = torch.arange(width, device=device, dtype=dtype) + 0.5
    y = torch.arange(height, device=device, dtype=dtype) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def project(points: Tensor, K: Tensor) -> Tensor:
    """Perspective projection.

    Args:
        points: (..., N, 3), metres, camera frame, z > 0.
        K: (..., 3, 3), pixels.

    Returns:
        (..., N, 2), pixels.
    """
    uvw = points @ K.transpose(-1, -2)
    return uvw[..., :2] / uvw[..., 2:]


def backproject(depth_m: Tensor, K: Tensor) -> Tensor:
    """Points seen at every pixel, K^-1 (x_j, y_j, 1)^T D_j (Self6D, equations 9 and 10).

    Args:
        depth_m: (..., H, W), metres along z; 0 where unknown (gives the origin).
        K: (..., 3, 3), pixels.

    Returns:
        (..., H, W, 3), metres, camera frame.
    """
    h, w = depth_m.shape[-2:]
    xy = pixel_centres(h, w, device=depth_m.device, dtype=depth_m.dtype)
    points = backproject_points(xy.flatten(0, 1), depth_m.flatten(-2), K)
    return points.unflatten(-2, (h, w))


def backproject_points(xy: Tensor, depth_m: Tensor, K: Tensor) -> Tensor:
    """`backproject` of some positions.

    Args:
        xy: (..., P, 2), pixels. depth_m: (..., P), metres along z. K: (..., 3, 3), pixels.

    Returns:
        (..., P, 3), metres, camera frame.
    """
    fx, fy = K[..., 0, 0, None], K[..., 1, 1, None]
    cx, cy, s = K[..., 0, 2, None], K[..., 1, 2, None], K[..., 0, 1, None]
    y = (xy[..., 1] - cy) / fy
    x = (xy[..., 0] - cx - s * y) / fx
    return torch.stack((x * depth_m, y * depth_m, depth_m), dim=-1)


def crop_intrinsics(K: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Intrinsics of image crops resampled to one size.

    Args:
        K: (B, 3, 3), pixels of the whole image.
        boxes: (B, 4), x0 y0 x1 y1, pixels of the whole image; may leave the image.
        size: (height, width) of the crops.

    Returns:
        (B, 3, 3), pixels of the crop.
    """
    sx = size[1] / (boxes[:, 2] - boxes[:, 0])
    sy = size[0] / (boxes[:, 3] - boxes[:, 1])
    zero, one = torch.zeros_like(sx), torch.ones_like(sx)
    affine = torch.stack(
        (sx, zero, -sx * boxes[:, 0], zero, sy, -sy * boxes[:, 1], zero, zero, one), dim=-1
    ).view(-1, 3, 3)
    return affine @ K
