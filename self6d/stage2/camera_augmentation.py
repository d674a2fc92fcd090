"""Frames as a camera rolled about its optical axis, or of another focal length, would see them.

Both are exact: no parallax arises, so a pose known in a frame is known in the turned one as well.
The camera does not keep a recording upright, which is what few labelled frames are overfitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from self6d.geometry import axis_angle_to_matrix, pixel_centres
from self6d.scene.batch import FrameBatch


@dataclass
class CameraAugmentation:
    """B cameras rolled by S and zoomed by s: a pixel x' shows what x did, x ~ K S^T K'^-1 x'.

    Attributes:
        S: (B, 3, 3), rotations about z. K: (B, 3, 3), pixels, focal lengths scaled by s.
        grid: (B, H, W, 2), where each pixel looks, for `grid_sample` (align_corners=False).
    """

    S: Tensor
    K: Tensor
    grid: Tensor

    @classmethod
    def draw(
        cls, K: Tensor, size: tuple[int, int], roll_deg: float, zoom: float, noise: torch.Generator
    ) -> CameraAugmentation:
        """Rolls within +-`roll_deg`, and zooms s between 1 / (1 + `zoom`) and 1 + `zoom`.

        Args:
            K: (B, 3, 3), pixels. size: (H, W), pixels. noise: on K's device.
        """
        drawn = torch.rand(2, len(K), generator=noise, device=K.device) * 2 - 1
        zooms = (drawn[1] * math.log1p(zoom)).exp()
        return cls.by(K, size, drawn[0] * math.radians(roll_deg), zooms)

    @classmethod
    def by(cls, K: Tensor, size: tuple[int, int], roll: Tensor, zoom: Tensor) -> CameraAugmentation:
        """Given rolls (B,), radians, and zooms (B,)."""
        zero = torch.zeros_like(roll)
        S = axis_angle_to_matrix(torch.stack((zero, zero, roll), -1))
        scaled = K * torch.stack((zoom, zoom, torch.ones_like(zoom)), -1)[:, :, None]
        scaled[:, :2, 2] = K[:, :2, 2]  # the principal point stays
        ones = torch.ones(*size, 1, device=K.device)
        pixels = torch.cat((pixel_centres(*size, device=K.device), ones), -1)
        back = K @ S.mT @ torch.linalg.inv_ex(scaled).inverse  # does not wait for the device
        at = torch.einsum("bij,hwj->bhwi", back, pixels)  # a roll leaves the last element 1
        x, y = at[..., 0] * (2 / size[1]) - 1, at[..., 1] * (2 / size[0]) - 1
        return cls(S, scaled, torch.stack((x, y), -1))

    @property
    def inside(self) -> Tensor:
        """(B, H, W) bool, pixels that were in the frame."""
        x, y = self.grid.unbind(-1)  # `all` over two takes twice as long on a CPU
        return (x.abs() <= 1) & (y.abs() <= 1)

    def images(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float; 0 outside the frame."""
        return grid_sample(images, self.grid, align_corners=False)

    def nearest(self, maps: Tensor, index: Tensor | None = None) -> Tensor:
        """Maps (N, H, W) float, such as depth, without blending; 0 outside the frame.

        Args:
            index: (N,) int64, the frame of each map; None: one map a frame.
        """
        grid = self.grid if index is None else self.grid[index]
        return grid_sample(maps[:, None], grid, mode="nearest", align_corners=False)[:, 0]

    def sensor(self, sensor: FrameBatch) -> FrameBatch:
        """The frames turned. Depth lies along the optical axis, so its values stay."""
        depth = None if sensor.depth_m is None else self.nearest(sensor.depth_m)
        return FrameBatch(self.images(sensor.images), depth, self.K)

    def poses(self, R: Tensor, t: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Poses (N, 3, 3) and (N, 3), metres, of objects in frames `index`, seen by the turned."""
        S = self.S[index]
        return S @ R, (S @ t[..., None])[..., 0]
