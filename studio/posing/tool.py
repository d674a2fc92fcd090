"""The mouse on an object in the picture: it is put down, moved, turned and rolled."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPen, QWheelEvent

from studio.engine.compose import box_corners, project
from studio.engine.types import FrameData, ModelCard, PoseData
from studio.posing import nudge
from studio.toolkit.theme import PREDICTED
from studio.views.canvas import DragTool, ImageCanvas

DEGREES_PER_PIXEL = 0.4
CLICK_PX = 4.0  # a press that moves less is a click
RING = 1.15  # of the object's reach in the image
KNOB_PX, GRIP_PX = 6.0, 12.0
NOTCH = 120.0  # of the wheel
ROLL_DEG, PUSH_MM = 5.0, 5.0  # a notch
SEARCH = (
    "Look for the object in the whole frame, by depth and colour; takes some seconds and may miss "
    "small or half-hidden things"
)
HELP = (
    "Drag moves it; with the right button, or Shift, it turns. The ring's knob, or Shift-wheel, "
    "rolls it; Ctrl-drag or Ctrl-wheel changes its distance. Arrows move by 1 mm, Shift-arrows "
    "turn by 1°, Page keys change the distance; with Ctrl ten times as much."
)


def help_text(*, depth: bool) -> str:
    """How an object is placed, on a frame with depth or without."""
    where = ", on the measured depth" if depth else "; its distance is guessed from its size"
    return f"Click puts the object there{where}. {HELP}"


def search_text(*, depth: bool) -> str:
    """What a search does, on a frame with depth or without."""
    return SEARCH if depth else "A search looks at depth, and this frame has none"


class PoseTool(QObject, DragTool):
    """Works on one object on one frame; whoever owns it keeps `pose`, `model` and `frame` up.

    Signals:
        nudged: (pose, what was done). pointed: image point of a click, QPointF.
        released: image point of the object's middle after it was dragged.
        missed: a drag or the wheel would move the object, which has no pose to be moved from.
    """

    nudged = Signal(object, str)
    pointed = Signal(QPointF)
    released = Signal(QPointF)
    missed = Signal()
    buttons = (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.pose: PoseData | None = None
        self.model: ModelCard | None = None
        self.frame: FrameData | None = None
        self.active = False  # whether the ring is drawn
        self._pressed: QPointF | None = None
        self._last = QPointF()
        self._way = ""  # "", "move", "turn", "push" or "roll"
        self._knob = -90.0  # degrees, clockwise from the right

    def press(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if self.model is None or self.frame is None:
            return False
        self._pressed = self._last = event.position()
        held, keys = event.button(), event.modifiers()
        self._way = "move"
        if self.pose is None:
            self._way = ""
        elif held == Qt.MouseButton.LeftButton and self._on_knob(canvas, event.position()):
            self._way = "roll"
        elif held == Qt.MouseButton.RightButton or keys & Qt.KeyboardModifier.ShiftModifier:
            self._way = "turn"
        elif keys & Qt.KeyboardModifier.ControlModifier:
            self._way = "push"
        return True

    def move(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if self._pressed is None:
            return False
        if self._near_press(event.position()) and self._last == self._pressed:
            return True  # not yet more than a click
        at, last = event.position(), self._last
        self._last = at
        pose, model, frame = self.pose, self.model, self.frame
        if pose is None and last == self._pressed:
            self.missed.emit()
        if pose is None or model is None or frame is None:
            return True
        by = at - last
        if self._way == "turn":
            self._turn(pose, model, by)
        elif self._way == "roll":  # its knob was under the mouse: it is in front
            centre = canvas.to_widget_point(self.centre())
            degrees = _angle(at - centre) - _angle(last - centre)
            degrees = (degrees + 180) % 360 - 180
            self._knob += degrees
            self._do(nudge.roll(pose, model, degrees), "Roll pose")
        elif self._way == "push":
            self._do(nudge.push(pose, model, -by.y() * 0.001), "Change distance")
        elif self._in_front():
            scale = canvas.transform().m11()
            moved = nudge.shift_pixels(pose, model, frame.K, by.x() / scale, by.y() / scale)
            self._do(moved, "Move pose")
        return True

    def release(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if self._pressed is None:
            return False
        clicked = self._last == self._pressed and self._near_press(event.position())
        way, self._pressed = self._way, None
        if clicked:
            image, at = canvas.image, canvas.to_image_point(event.position())
            left = event.button() == Qt.MouseButton.LeftButton
            if left and way in ("", "move") and image is not None and image.rect().contains(
                at.toPoint()
            ):  # fmt: skip
                self.pointed.emit(at)
        elif way == "move" and self._in_front():
            self.released.emit(self.centre())
        return True

    def wheel(self, canvas: ImageCanvas, event: QWheelEvent) -> bool:
        pose, model, keys = self.pose, self.model, event.modifiers()
        notches = (event.angleDelta().y() or event.angleDelta().x()) / NOTCH
        for_it = keys & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
        if model is None or self.frame is None or not for_it:
            return False
        if pose is None:
            self.missed.emit()
        elif keys & Qt.KeyboardModifier.ShiftModifier:
            self._do(nudge.roll(pose, model, ROLL_DEG * notches), "Roll pose")
        else:
            self._do(nudge.push(pose, model, PUSH_MM / 1000 * notches), "Change distance")
        return True

    def paint(self, painter: QPainter, px: float) -> None:
        """The ring to roll by, a layer of the canvas."""
        if not self.active or self.pose is None or self.model is None or self.frame is None:
            return
        centre, radius = self.centre(), self.radius(px)
        if not math.isfinite(radius):
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 120), 3.0), (QColor(PREDICTED), 1.2)):
            painter.setPen(QPen(colour, width * px))
            painter.drawEllipse(centre, radius, radius)
        painter.setPen(QPen(QColor(0, 0, 0, 160), px))
        painter.setBrush(QColor("white"))
        painter.drawEllipse(self.knob(px), KNOB_PX * px, KNOB_PX * px)

    def centre(self) -> QPointF:
        """Image point of the object's middle."""
        assert self.pose is not None
        assert self.model is not None
        assert self.frame is not None
        u, v, w = self.frame.K @ nudge.centre_of(self.pose, self.model)
        return QPointF(u / w, v / w) if w > 0 else QPointF(math.nan, math.nan)

    def radius(self, px: float) -> float:
        """Of the ring, image pixels; nan behind the camera. px: length of one screen pixel."""
        assert self.pose is not None
        assert self.model is not None
        assert self.frame is not None
        corners = project(box_corners(self.model), self.pose, self.frame.K)
        centre = self.centre()
        reach = np.linalg.norm(corners - (centre.x(), centre.y()), axis=1).max()
        return max(RING * float(reach), 4 * GRIP_PX * px)

    def knob(self, px: float) -> QPointF:
        """Image point of the ring's knob: where it was dragged to, or where the ring is still on
        the picture.
        """
        assert self.frame is not None
        centre, radius = self.centre(), self.radius(px)
        height, width = self.frame.size
        points = []
        for aside in (0, 45, -45, 90, -90, 135, -135, 180):
            angle = math.radians(self._knob + aside)
            points.append(centre + QPointF(radius * math.cos(angle), radius * math.sin(angle)))
        inside = QRectF(0, 0, width, height)
        return next((point for point in points if inside.contains(point)), points[0])

    def _in_front(self) -> bool:
        """Whether the object has a place in the image to be moved from."""
        return self.pose is not None and math.isfinite(self.centre().x())

    def _on_knob(self, canvas: ImageCanvas, at: QPointF) -> bool:
        away = canvas.to_widget_point(self.knob(1 / canvas.transform().m11())) - at
        return math.hypot(away.x(), away.y()) < GRIP_PX

    def _near_press(self, at: QPointF) -> bool:
        assert self._pressed is not None
        by = at - self._pressed
        return math.hypot(by.x(), by.y()) < CLICK_PX

    def _turn(self, pose: PoseData, model: ModelCard, by: QPointF) -> None:
        length = math.hypot(by.x(), by.y())
        if length > 0:
            axis = np.array([by.y(), -by.x(), 0.0])
            self._do(nudge.turn(pose, model, axis, length * DEGREES_PER_PIXEL), "Turn pose")

    def _do(self, pose: PoseData, text: str) -> None:
        self.pose = pose
        self.nudged.emit(pose, text)


def _angle(by: QPointF) -> float:
    """Degrees, clockwise from the right."""
    return math.degrees(math.atan2(by.y(), by.x()))
