"""Cropped LineMOD: 64x64 crops of one object each, cut from LineMOD's frames (Self6D, Table 4).

The set has been passed around in several containers; all of them are these crops: a window of
128 pixels round the projected object centre, halved. Cutting them from LineMOD itself keeps the
camera of each crop exact. The window comes from the label, as in the published set: it says
where to look, and no label leaves the reader with the frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.paper_splits import OBJECTS
from self6d.datasets.recording import FrameSource, Recording, Truth
from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.scene import Frame, GroundTruth


class CroppedRecording(Recording):
    """Crops of the object that each scene is about (LineMOD: scene number = object number)."""

    kind = "cropped_linemod"

    def __init__(
        self,
        whole: Recording,
        *,
        objects: Sequence[int] = OBJECTS["lmcrop11"],
        window: int = 128,
        size: int = 64,
        reason: str = "",
    ) -> None:
        """
        Args:
            whole: a labelled recording whose scenes are about one object each.
            objects: object numbers to keep.
            window: side of the square cut from the frame, pixels.
            size: side of the crop, pixels.
        """
        self._whole = whole
        self._window, self._size = window, size
        self._place = {key: i for i, key in enumerate(whole.keys) if key.scene_id in objects}
        super().__init__(whole.root, self._place, reason=reason, models_path=whole.models_path)

    def source(self, key: FrameKey) -> FrameSource:
        return self._whole.source(key)

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        key = self.keys[index]
        whole = self._whole.frame(self._place[key], depth=depth)
        x, y = self._corner(key, whole.camera)
        rgb = _cut(whole.rgb, x, y, self._window)
        size = (self._size, self._size)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        metres = None
        if whole.depth_m is not None:
            metres = _cut(whole.depth_m, x, y, self._window)
            metres = cv2.resize(metres, size, interpolation=cv2.INTER_NEAREST_EXACT)
        scale = self._size / self._window
        shift = np.array([[scale, 0, -scale * x], [0, scale, -scale * y], [0, 0, 1.0]])
        camera = Camera(shift @ whole.camera.K, self._size, self._size)
        return Frame(rgb, metres, camera, key.scene_id, key.image_id, whole.name)

    def _truth(self, key: FrameKey) -> Truth:
        instance = self._instance(key)
        return (GroundTruth(instance.object_id, instance.pose),)

    def _instance(self, key: FrameKey) -> GroundTruth:
        for instance in self._whole.truth(self._place[key]):
            if instance.object_id == key.scene_id:
                return instance
        raise InputError(
            f"image {key.image_id} of scene {key.scene_id} has no label to cut its crop by",
            path=self.root,
            remedy="Use LineMOD's labelled test scenes.",
        )

    def _corner(self, key: FrameKey, camera: Camera) -> tuple[int, int]:
        """Top-left pixel of the window, moved inside the image."""
        u, v, w = camera.K @ self._instance(key).pose.t_m2c
        half = self._window // 2
        x = int(np.clip(round(u / w) - half, 0, max(0, camera.width - self._window)))
        y = int(np.clip(round(v / w) - half, 0, max(0, camera.height - self._window)))
        return x, y


def _cut(image: np.ndarray, x: int, y: int, window: int) -> np.ndarray:
    cut = image[y : y + window, x : x + window]
    missing = [(0, window - cut.shape[0]), (0, window - cut.shape[1])]
    return np.pad(cut, missing + [(0, 0)] * (image.ndim - 2))
