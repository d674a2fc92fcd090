"""Pinhole camera and the one pixel-centre convention; `projection` has what tensors need of it.

Convention:
    OpenCV axes (x right, y down, z forward), metres. Image coordinates are continuous with (0, 0)
    at the outer corner of the top-left pixel, so the centre of pixel (column j, row i) is
    (j + 0.5, i + 0.5): `projection.pixel_centres` is the only place that says so, and the renderer
    and the back-projection both use it. Files (BOP, OpenCV, ROS) put pixel centres at whole
    numbers; `Camera.from_opencv` and `Camera.K_opencv` convert at that border by half a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
