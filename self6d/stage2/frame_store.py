"""Unlabelled frames in memory, as batches on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from self6d.datasets.base import UnlabelledFrames
from self6d.datasets.splits import any_depth
from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.geometry import Camera
from self6d.scene import Frame
from self6d.scene.batch import FrameBatch


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


Packed = tuple[Tensor, Tensor | None, Tensor]  # colours, depth, K; of one frame or of many


class FrameStore:
    """Batches of unlabelled frames.

    Args:
        frames: the recording, without labels.
        device: where batches go.
        use_depth: False: depth is not even decoded.
        height: frames are resampled to it, pixels; 0 keeps theirs.
        budget_mb: frames stay in memory (8-bit colour, float32 depth) if all fit; on the device
            if they take no more than a quarter of it.
        tell: hears how many are read, and of how many.

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
        tell: Told = told_to_nobody,
    ) -> None:
        if type(frames) is not UnlabelledFrames:
            raise TypeError(f"stage 2 takes UnlabelledFrames, not {type(frames).__name__}")
        if len(frames) == 0:
            raise InputError("there are no frames to adapt to", remedy="Name another split.")
        self.frames, self.device = frames, torch.device(device)
        self.use_depth, self.height = use_depth, height
        first = resize_frame(frames.read(0, depth=use_depth), height)
        self.size = first.camera.size
        self.keys = frames.keys
        known = first.depth_m is not None
        self.has_depth = use_depth and (known or any_depth(frames.read, len(frames)))
        self.camera: Camera = first.camera
        size = self.size[0] * self.size[1] * (7 if self.has_depth else 3) * len(frames)
        self._kept: Packed | None = None
        if size <= budget_mb * 2**20:
            device = self.device if size <= _memory(self.device) / 4 else torch.device("cpu")
            kept = []
            for i in range(len(frames)):
                tell("reading frames", i, len(frames))
                kept.append(self._packed(i))
            self._kept = _stacked(kept, device)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def in_memory(self) -> bool:
        """Whether no file is read any more for a batch."""
        return self._kept is not None

    def frame(self, index: int) -> Frame:
        """A frame at the store's size, read again; depth that is no distance is 0, unknown."""
        frame = resize_frame(self.frames.read(index, depth=self.use_depth), self.height)
        if frame.camera.size != self.size:
            raise InputError(
                f"frame {frame.name or frame.image_id} is {frame.camera.size[::-1]} pixels large, "
                f"the first one {self.size[::-1]}",
                remedy="Adapt to frames of one size at a time, or set adapt.image_height.",
            )
        if frame.depth_m is None:
            return frame
        depth = np.nan_to_num(frame.depth_m, nan=0.0, posinf=0.0, neginf=0.0).clip(0)
        return replace(frame, depth_m=depth)

    def _packed(self, index: int) -> Packed:
        """Colours (H, W, 3) uint8, depth (H, W) float32 in metres, K."""
        frame = self.frame(index)
        depth = None
        if self.has_depth:
            metres = frame.depth_m if frame.depth_m is not None else np.zeros(self.size)
            depth = torch.from_numpy(np.ascontiguousarray(metres, np.float32))
        K = torch.from_numpy(frame.camera.K.astype(np.float32))
        return torch.from_numpy(frame.rgb), depth, K

    def batch(self, indices: Sequence[int]) -> FrameBatch:
        """Frames by index: images (B, 3, H, W) float32 in [0, 1], depth and K."""
        if self._kept is None:
            rgb, depth, K = _stacked([self._packed(i) for i in indices], self.device)
        else:
            rgb, depth, K = self._kept
            at = torch.tensor(list(indices)).to(rgb.device, non_blocking=True)
            rgb, K = rgb[at].to(self.device), K[at].to(self.device)
            depth = None if depth is None else depth[at].to(self.device)
        return FrameBatch(rgb.permute(0, 3, 1, 2).float() / 255, depth, K)


def _stacked(frames: Sequence[Packed], device: torch.device) -> Packed:
    rgb, depth, K = zip(*frames, strict=True)
    stacked = None if depth[0] is None else torch.stack(depth).to(device)
    return torch.stack(rgb).to(device), stacked, torch.stack(K).to(device)


def _memory(device: torch.device) -> float:
    """Bytes; on the CPU the budget alone counts."""
    if device.type != "cuda":
        return float("inf")
    return float(torch.cuda.get_device_properties(device).total_memory)
