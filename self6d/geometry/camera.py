"""Pinhole camera: projection, back-projection and the one pixel-centre convention.

Convention:
    OpenCV axes (x right, y down, z forward), metres. Image coordinates are continuous with (0, 0)
    at the outer corner of the top-left pixel, so the centre of pixel (column j, row i) is
    (j + 0.5, i + 0.5): `pixel_centres` is the only place that says so, and the renderer and the
    back-projection both use it. Files (BOP, OpenCV, ROS) put pixel centres at whole numbers;
    `Camera.from_opencv` and `Camera.K_opencv` convert at that border by half a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.errors import InputError


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics of one image.

    Attributes:
        K: (3, 3) float64, pixels, pixel centres at integer + 0.5 (see the module's convention).
        width: image width, pixels.
        height: image height, pixels.
    """

    K: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        if K.shape != (3, 3) or not np.isfinite(K).all():
            raise InputError(
                f"camera matrix is not a finite 3x3 matrix (shape {K.shape})",
                remedy="Give K as [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels.",
            )
        if K[0, 0] <= 0 or K[1, 1] <= 0 or abs(K[2, 2] - 1.0) > 1e-6:
            raise InputError(
                f"camera matrix has no valid focal lengths (fx={K[0, 0]:g}, fy={K[1, 1]:g})",
                remedy="Give K as [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels.",
            )
        if self.width < 1 or self.height < 1:
            raise InputError(f"image size {self.width}x{self.height} is not positive")
        object.__setattr__(self, "K", K)

    @classmethod
    def from_opencv(cls, K: np.ndarray, width: int, height: int) -> Camera:
        """Build from a K whose pixel centres are at whole numbers (OpenCV, BOP, ROS files)."""
        K = np.array(K, dtype=np.float64).reshape(3, 3)
        K[:2, 2] += 0.5
        return cls(K, width, height)

    @property
    def K_opencv(self) -> np.ndarray:
        """(3, 3) float64, the same camera with pixel centres at whole numbers, for files."""
        K = self.K.copy()
        K[:2, 2] -= 0.5
        return K

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.height, self.width

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same picture resampled to `width` x `height`."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return Camera(scale @ self.K, width, height)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Camera)
            and self.size == other.size
            and bool(np.array_equal(self.K, other.K))
        )


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
