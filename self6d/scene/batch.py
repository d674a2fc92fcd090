"""Batches that the rooms hand on: frames as the sensor gave them, and labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.scene.frame import Frame


@dataclass
class FrameBatch:
    """B frames as the sensor gave them.

    Attributes:
        images: (B, 3, H, W) float in [0, 1]. depth_m: (B, H, W), metres, 0 unknown; None without.
            NaN, infinite and negative values become 0: nothing was measured there.
        K: (B, 3, 3), pixels.
    """

    images: Tensor
    depth_m: Tensor | None
    K: Tensor

    def __post_init__(self) -> None:
        if self.depth_m is not None:
            self.depth_m = self.depth_m.nan_to_num(nan=0, posinf=0, neginf=0).clamp(min=0)

    @classmethod
    def of(cls, frames: Sequence[Frame], device: torch.device | str) -> FrameBatch:
        """Frames of one size, all with depth or all without, on a device."""
        rgb = torch.stack([torch.from_numpy(f.rgb).to(device).permute(2, 0, 1) for f in frames])
        K = np.stack([f.camera.K for f in frames])
        depth = [torch.from_numpy(f.depth_m) for f in frames if f.depth_m is not None]
        return cls(
            rgb.float() / 255,
            torch.stack(depth).to(device) if depth else None,
            torch.tensor(K, dtype=torch.float32, device=device),
        )


@dataclass
class LabelledBatch:
    """B images with N instances in all, on one device.

    Attributes:
        images: (B, 3, H, W) float32 in [0, 1], RGB.
        K: (B, 3, 3) float32, pixels.
        depth_m: (B, H, W) float32, metres, of the visible surface; 0 where background.
        instance_map: (B, H, W) int32, index into the N instances visible at the pixel, -1 if none.
        image_index: (N,) int64, which image an instance is in.
        object_index: (N,) int64, position in the list of object models.
        R: (N, 3, 3) float32. t: (N, 3) float32, metres. Model to camera.
        mask_amodal: (N, H, W) bool, whole silhouette.
        box_visible: (N, 4) float32, x0 y0 x1 y1, pixels, of the visible mask.
        box_amodal: (N, 4) float32, of the whole silhouette inside the image.
        visible_fraction: (N,) float32.
    """

    images: Tensor
    K: Tensor
    depth_m: Tensor
    instance_map: Tensor
    image_index: Tensor
    object_index: Tensor
    R: Tensor
    t: Tensor
    mask_amodal: Tensor
    box_visible: Tensor
    box_amodal: Tensor
    visible_fraction: Tensor

    def mask_visible(self, instances: Tensor) -> Tensor:
        """(n,) int64 indices of instances -> (n, H, W) bool visible masks."""
        return self.instance_map[self.image_index[instances]] == instances[:, None, None]
