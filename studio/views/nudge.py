"""Moving a pose by hand: pure functions, and the mouse tool that calls them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent

from studio.engine.compose import rotate_about
from studio.engine.types import FrameData, ModelCard, PoseData
from studio.views.canvas import DragTool, ImageCanvas

DEGREES_PER_PIXEL = 0.4
FINE_MM, COARSE_MM = 1.0, 10.0
FINE_DEG, COARSE_DEG = 1.0, 10.0


def centre_of(pose: PoseData, model: ModelCard) -> np.ndarray:
    """The middle of the model's box in the camera frame, metres."""
    return pose.R @ model.extents.mean(0) + pose.t


def shift(pose: PoseData, delta_m: np.ndarray) -> PoseData:
    """Move by (3,) metres, camera axes."""
    return replace(pose, t=pose.t + np.asarray(delta_m), score=1.0)


def shift_pixels(pose: PoseData, model: ModelCard, K: np.ndarray, dx: float, dy: float) -> PoseData:
    """Move parallel to the image so that the object's centre moves by so many pixels."""
    z = centre_of(pose, model)[2]
    return shift(pose, np.array([dx * z / K[0, 0], dy * z / K[1, 1], 0.0]))


def push(pose: PoseData, model: ModelCard, metres: float) -> PoseData:
    """Farther (or nearer) along the viewing ray: the object keeps its place in the image."""
    centre = centre_of(pose, model)
    moved = centre * max((centre[2] + metres) / centre[2], 0.05)
    return shift(pose, moved - centre)


def turn(pose: PoseData, model: ModelCard, axis: np.ndarray, degrees: float) -> PoseData:
    """Turn about the object's own centre; the axis is in camera coordinates."""
    A = rotate_about(np.asarray(axis, float), degrees)
    centre = centre_of(pose, model)
    return replace(pose, R=A @ pose.R, t=centre + A @ (pose.t - centre), score=1.0)


def perturb(
    pose: PoseData, model: ModelCard, degrees: float, mm: float, generator: np.random.Generator
) -> PoseData:
    """A random turn and shift of exactly these sizes."""
    axis, way = generator.normal(size=3), generator.normal(size=3)
    moved = turn(pose, model, axis, degrees)
    return shift(moved, way / np.linalg.norm(way) * mm / 1000)


def key_nudge(pose: PoseData, model: ModelCard, event: QKeyEvent) -> tuple[PoseData, str] | None:
    """Arrows move, with Shift they turn; Page keys change the distance, with Shift they roll.

    With Control the steps are ten times as large. None if the key means nothing here.
    """
    shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
    large = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
    mm = COARSE_MM if large else FINE_MM
    degrees = COARSE_DEG if large else FINE_DEG
    key = Qt.Key(event.key())
    ways = {
        Qt.Key.Key_Left: ((-1, 0, 0), (0, 1, 0)), Qt.Key.Key_Right: ((1, 0, 0), (0, -1, 0)),
        Qt.Key.Key_Up: ((0, -1, 0), (-1, 0, 0)), Qt.Key.Key_Down: ((0, 1, 0), (1, 0, 0)),
    }  # fmt: skip
    if key in ways:
        move, axis = ways[key]
        if shifted:
            return turn(pose, model, np.array(axis), degrees), "Turn pose"
        return shift(pose, np.array(move) * mm / 1000), "Move pose"
    if key in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
        sign = 1 if key == Qt.Key.Key_PageUp else -1
        if shifted:
            return turn(pose, model, np.array([0, 0, 1]), sign * degrees), "Roll pose"
        return push(pose, model, sign * mm / 1000), "Change distance"
    return None


class PoseTool(QObject, DragTool):
    """Left drag moves, with Shift it turns, with Control it changes the distance."""

    nudged = Signal(object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.pose: PoseData | None = None
        self.model: ModelCard | None = None
        self.frame: FrameData | None = None
        self._last: QPointF | None = None

    @property
    def ready(self) -> bool:
        return None not in (self.pose, self.model, self.frame)

    def press(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if not self.ready:
            return False
        self._last = event.position()
        return True

    def move(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if self._last is None or not self.ready:
            return False
        assert self.pose is not None
        assert self.model is not None
        assert self.frame is not None
        by = event.position() - self._last
        self._last = event.position()
        scale = canvas.transform().m11()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            length = (by.x() ** 2 + by.y() ** 2) ** 0.5
            if length == 0:
                return True
            axis = np.array([by.y(), -by.x(), 0.0])
            moved, text = turn(self.pose, self.model, axis, length * DEGREES_PER_PIXEL), "Turn pose"
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            moved = push(self.pose, self.model, -by.y() * 0.001)
            text = "Change distance"
        else:
            moved = shift_pixels(
                self.pose, self.model, self.frame.K, by.x() / scale, by.y() / scale
            )
            text = "Move pose"
        self.pose = moved
        self.nudged.emit(moved, text)
        return True

    def release(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        held, self._last = self._last is not None, None
        return held
