"""The part of a frame about a posed model, and the model drawn into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from self6d.geometry import Pose
from self6d.geometry.outlines import REACH, Gradient, Outline, depth_outline
from self6d.rendering import PackedModels, pack_models, render
from self6d.scene import Frame, ObjectModel

SIDE = 256  # pixels at most
AROUND = 2 * REACH  # pixels around the model
BEFORE_M = 0.02  # nearer than the model by so much is another thing, whose edges say nothing
CLEAR = 6  # pixels to such a thing
RIM = 3  # pixels to the region's end


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """For threads that draw: a GPU takes one after the other, and each thread must choose it."""
    if device.type != "cuda":
        yield
        return
    with _ONE_AT_A_TIME, torch.cuda.device(device):
        yield


@dataclass(frozen=True)
class Drawing:
    """A posed model in a region.

    Attributes:
        depth_m: (h, w), 0 where it is not. rgb: (h, w, 3) float32 in [0, 1].
        outline: where it ends with nothing in front. free: (h, w) bool, well within it likewise.
    """

    depth_m: np.ndarray
    rgb: np.ndarray
    outline: Outline
    free: np.ndarray


@dataclass(frozen=True)
class Region:
    """A part of a frame, made smaller where it is large.

    Attributes:
        rgb: (h, w, 3) uint8. depth_m: (h, w), 0 unknown. K: (3, 3), pixels of it.
        scale: (2,), its pixels by the frame's, across and down.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    K: np.ndarray
    scale: np.ndarray

    @classmethod
    def about(cls, frame: Frame, middle: np.ndarray, diameter: float) -> Region | None:
        """Around a sphere, (3,) and metres, of a frame with depth; None where it is not seen."""
        assert frame.depth_m is not None
        if middle[2] <= 0.5 * diameter:
            return None
        K = frame.camera.K.copy()
        u, v = (K @ middle)[:2] / middle[2]
        reach = 0.5 * diameter / middle[2] * np.array([K[0, 0], K[1, 1]]) + AROUND
        left, top = max(int(u - reach[0]), 0), max(int(v - reach[1]), 0)
        right = min(int(u + reach[0]), frame.camera.width)
        bottom = min(int(v + reach[1]), frame.camera.height)
        wide, high = right - left, bottom - top
        if min(wide, high) <= AROUND:
            return None
        rgb = frame.rgb[top:bottom, left:right]
        depth = frame.depth_m[top:bottom, left:right]
        shrunk = min(1.0, SIDE / max(wide, high))
        if shrunk < 1:
            size = round(shrunk * wide), round(shrunk * high)
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
        scale = np.array([rgb.shape[1] / wide, rgb.shape[0] / high])
        K[:2, 2] -= left, top
        K[:2] *= scale[:, None]
        return cls(rgb, depth, K, scale)

    def moved(self, shift: np.ndarray) -> Region:
        """With its depth shifted by (2,) pixels of the frame."""
        if not shift.any():
            return self
        way = np.column_stack((np.eye(2), shift * self.scale))
        size = self.depth_m.shape[::-1]
        depth = cv2.warpAffine(self.depth_m, way, size, flags=cv2.INTER_NEAREST)
        return Region(self.rgb, depth, self.K, self.scale)

    @cached_property
    def gradient(self) -> Gradient:
        """Of the colours."""
        return Gradient.of(self.rgb)

    @torch.no_grad()
    def drawn(self, R: np.ndarray, t: np.ndarray, models: PackedModels) -> Drawing:
        """The one model of `models` at a pose, (3, 3) and (3,), metres."""
        given = [
            torch.as_tensor(x, dtype=torch.float32, device=models.device)[None]
            for x in (R, t, self.K)
        ]
        size = (self.rgb.shape[0], self.rgb.shape[1])
        with _on(models.device):
            view = render(given[0], given[1], given[2], models, size, soft_mask=False)
            depth = view.depth_m[0].cpu().numpy()
            rgb = view.rgb[0].permute(1, 2, 0).cpu().numpy()
        hidden = self._hidden(depth)
        outline = depth_outline(depth)
        column, row = outline.pixel.T
        inside = cv2.erode((depth > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return Drawing(depth, rgb, outline.chosen(~hidden[row, column]), inside & ~hidden)

    def _hidden(self, drawn: np.ndarray) -> np.ndarray:
        """(h, w) bool: about things before the model, and at the region's end."""
        surface = np.where(drawn > 0, drawn, 1e3).astype(np.float32)
        surface = np.where(drawn > 0, drawn, cv2.erode(surface, np.ones((15, 15), np.uint8)))
        nearer = ((self.depth_m > 0) & (self.depth_m < surface - BEFORE_M)).astype(np.uint8)
        before = cv2.morphologyEx(nearer, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        hidden = np.asarray(cv2.dilate(before, np.ones((2 * CLEAR + 1,) * 2, np.uint8)) > 0)
        hidden[:RIM] = hidden[-RIM:] = True
        hidden[:, :RIM] = hidden[:, -RIM:] = True
        return hidden


class PackedThing:
    """A model, packed, and where it is in frames."""

    def __init__(self, model: ObjectModel, device: torch.device | str) -> None:
        self.packed: PackedModels = pack_models([model], device=device)
        self.centre, self.diameter = model.extents.mean(0), float(model.diameter)
        self.painted = model.has_color

    def region(self, frame: Frame, pose: Pose) -> Region | None:
        """The part of a frame about a pose; None without depth, or where it is not seen."""
        if frame.depth_m is None:
            return None
        return Region.about(frame, pose.R_m2c @ self.centre + pose.t_m2c, self.diameter)
