"""Unlabelled frames in memory, as batches on the training device."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from self6d.datasets.base import UnlabelledFrames
from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.scene import Frame
from self6d.training.refine import Sensor


def resize_frame(frame: Frame, height: int) -> Frame:
    """A frame resampled to a height: colours averaged, depth of the nearest pixel."""
    h, w = frame.camera.size
    if height in (0, h):
        return frame
    width = round(w * height / h)
    rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
    depth = frame.depth_m
    if depth is not None:
        rows = ((np.arange(height) + 0.5) * h / height).astype(int)
        columns = ((np.arange(width) + 0.5) * w / width).astype(int)
        depth = depth[rows][:, columns]
    camera = frame.camera.resized(width, height)
    return Frame(rgb, depth, camera, frame.scene_id, frame.image_id, frame.name)


class FrameStore:
    """Batches of unlabelled frames.

    Args:
        frames: the recording, without labels.
        device: where batches go.
        use_depth: False drops depth.
        height: frames are resampled to it, pixels; 0 keeps theirs.
        budget_mb: frames stay in memory (8-bit colour, depth in 0.1 mm) if all fit.

    Raises:
        TypeError: given anything that could lead to a label.
        InputError: no frames, or frames of different sizes.
    """

    def __init__(
        self,
        frames: UnlabelledFrames,
        device: torch.device | str,
        *,
        use_depth: bool = True,
        height: int = 0,
        budget_mb: int = 4096,
    ) -> None:
        if type(frames) is not UnlabelledFrames:
            raise TypeError(f"stage 2 takes UnlabelledFrames, not {type(frames).__name__}")
        if len(frames) == 0:
            raise InputError("there are no frames to adapt to", remedy="Name another split.")
        self.frames, self.device = frames, torch.device(device)
        self.use_depth, self.height = use_depth, height
        first = resize_frame(frames[0], height)
        self.size = first.camera.size
        self.keys = frames.keys
        self.has_depth = use_depth and first.depth_m is not None
        self.camera: Camera = first.camera
        per_frame = self.size[0] * self.size[1] * (5 if self.has_depth else 3)
        keep = per_frame * len(frames) <= budget_mb * 2**20
        self._kept: list[tuple[np.ndarray, np.ndarray | None, np.ndarray]] | None = None
        if keep:
            self._kept = [self._packed(i) for i in range(len(frames))]

    def __len__(self) -> int:
        return len(self.frames)

    def frame(self, index: int) -> Frame:
        """A frame at the store's size, read again from the recording."""
        frame = resize_frame(self.frames[index], self.height)
        if frame.camera.size != self.size:
            raise InputError(
                f"frame {frame.name or frame.image_id} is {frame.camera.size[::-1]} pixels large, "
                f"the first one {self.size[::-1]}",
                remedy="Adapt to frames of one size at a time, or set adapt.image_height.",
            )
        return frame

    def _packed(self, index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        frame = self.frame(index)
        depth = None
        if self.has_depth:
            metres = frame.depth_m if frame.depth_m is not None else np.zeros(self.size, np.float32)
            depth = np.clip(np.rint(metres * 1e4), 0, 65535).astype(np.uint16)
        return frame.rgb, depth, frame.camera.K.astype(np.float32)

    def batch(self, indices: Sequence[int]) -> Sensor:
        """Frames by index: images (B, 3, H, W) float32 in [0, 1], depth and K."""
        packed = [self._kept[i] if self._kept else self._packed(i) for i in indices]
        rgb = torch.from_numpy(np.stack([p[0] for p in packed])).to(self.device)
        depth: Tensor | None = None
        if self.has_depth:
            counts = np.stack([p[1] for p in packed if p[1] is not None]).astype(np.int32)
            depth = torch.from_numpy(counts).to(self.device).float() / 1e4
        K = torch.from_numpy(np.stack([p[2] for p in packed])).to(self.device)
        return Sensor(rgb.permute(0, 3, 1, 2).float() / 255, depth, K)
