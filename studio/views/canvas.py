"""A zoomable picture that layers can be painted on, in image coordinates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.toolkit.theme import theme

MAX_ZOOM = 64.0
Layer = Callable[[QPainter, float], None]


def to_image(array: np.ndarray) -> QImage:
    """(H, W, 3) or (H, W, 4) uint8 -> QImage that owns its pixels."""
    array = np.ascontiguousarray(array)
    h, w, channels = array.shape
    fmt = QImage.Format.Format_RGB888 if channels == 3 else QImage.Format.Format_RGBA8888
    image = QImage(array.data, w, h, array.strides[0], fmt)
    return image.convertToFormat(
        QImage.Format.Format_RGB32 if channels == 3 else QImage.Format.Format_ARGB32_Premultiplied
    )


class ImageCanvas(QWidget):
    """Shows one image; wheel zooms at the cursor, drag pans, double click fits.

    `layers` are painted over the image in image coordinates (pixel corner convention, (0, 0) at the
    outer corner of the first pixel); each gets the painter and the length of one screen pixel.
    Subclass hooks for tools: `press`, `drag`, `release` may claim the left button.

    Args:
        name: what it shows, for who cannot see it.
    """

    hovered = Signal(object)  # (column, row) or None
    viewChanged = Signal()
    keys = Signal(object)  # a key event nobody has taken; accept it to take it

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(160, 72)
        self.layers: list[Layer] = []
        self.message = ""
        self.tool: DragTool | None = None
        self._image: QImage | None = None
        self._zoom = 1.0  # times the fitted size
        self._centre = QPointF(0.5, 0.5)  # of the view, in shares of the image
        self._grab: QPointF | None = None
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(480, 360)

    @property
    def image(self) -> QImage | None:
        return self._image

    def set_image(self, image: QImage | None) -> None:
        """Another image of the same size keeps zoom and position."""
        if image is None or self._image is None or image.size() != self._image.size():
            self._zoom, self._centre = 1.0, QPointF(0.5, 0.5)
        self._image = image
        self.update()

    def fit(self) -> None:
        self._zoom, self._centre = 1.0, QPointF(0.5, 0.5)
        self._moved()

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom, keeping the point of the image under `at` (widget coordinates) in its place."""
        if self._image is None:
            return
        at = at if at is not None else QPointF(self.width() / 2, self.height() / 2)
        before = self.to_image_point(at)
        self._zoom = min(max(self._zoom * factor, 1.0), MAX_ZOOM)
        after = self.to_image_point(at)
        size = self._image.size()
        self._centre += QPointF(
            (before.x() - after.x()) / size.width(), (before.y() - after.y()) / size.height()
        )
        self._moved()

    def zoom_to(self, box: tuple[float, float, float, float]) -> None:
        """Show a box of the image (x0, y0, x1, y1, pixels) with a margin."""
        if self._image is None:
            return
        w, h = self._image.width(), self._image.height()
        x0, y0, x1, y1 = box
        self._zoom = 1.0
        scale = self.transform().m11()
        reach = 0.7 * min(
            self.width() / scale / max(x1 - x0, 1.0), self.height() / scale / max(y1 - y0, 1.0)
        )
        self._zoom = min(max(reach, 1.0), MAX_ZOOM)
        self._centre = QPointF((x0 + x1) / 2 / w, (y0 + y1) / 2 / h)
        self._moved()

    def transform(self) -> QTransform:
        """Image coordinates to widget coordinates."""
        if self._image is None:
            return QTransform()
        w, h = self._image.width(), self._image.height()
        scale = self._zoom * min(self.width() / w, self.height() / h)
        t = QTransform()
        t.translate(self.width() / 2, self.height() / 2)
        t.scale(scale, scale)
        t.translate(-self._centre.x() * w, -self._centre.y() * h)
        return t

    def to_image_point(self, point: QPointF) -> QPointF:
        inverse, _ = self.transform().inverted()
        return inverse.map(point)

    def to_widget_point(self, point: QPointF) -> QPointF:
        return self.transform().map(point)

    def _moved(self) -> None:
        if self._image is not None:
            half = 0.5 / self._zoom  # keep the image's middle part in view
            self._centre = QPointF(
                min(max(self._centre.x(), half), 1 - half),
                min(max(self._centre.y(), half), 1 - half),
            )
        self.viewChanged.emit()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("canvas"))
        if self._image is None:
            self._paint_message(painter)
            return
        transform = self.transform()
        scale = transform.m11()
        painter.save()
        painter.setTransform(transform, True)
        smooth = scale * self.devicePixelRatioF() < 4  # further in, single pixels want to be seen
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.drawImage(QRectF(self._image.rect()), self._image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        for layer in self.layers:
            painter.save()
            layer(painter, 1.0 / scale)
            painter.restore()
        painter.restore()
        if self.hasFocus():
            painter.setPen(QColor(theme.tokens.accent))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _paint_message(self, painter: QPainter) -> None:
        painter.setPen(theme.colour("muted"))
        area = self.rect().adjusted(24, 24, -24, -24)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(area, int(flags), self.message)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.viewChanged.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.tool is not None and self.tool.wheel(self, event):
            event.accept()
            return
        self.zoom_by(1.0015 ** event.angleDelta().y(), event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        tool = self.tool
        if tool is not None and event.button() in tool.buttons and tool.press(self, event):
            return
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._grab = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.tool is not None and self.tool.move(self, event):
            return
        if self._grab is not None and self._image is not None:
            delta = event.position() - self._grab
            self._grab = event.position()
            scale = self.transform().m11()
            size = self._image.size()
            self._centre -= QPointF(
                delta.x() / scale / size.width(), delta.y() / scale / size.height()
            )
            self._moved()
        self._report(event.position().toPoint())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.tool is not None and self.tool.release(self, event):
            return
        if self._grab is not None:
            self._grab = None
            self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self.tool is None:
            self.fit()

    def leaveEvent(self, event: object) -> None:
        self.hovered.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()
        self.keys.emit(event)
        if event.isAccepted():
            return
        if event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(1.25)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom_by(0.8)
        elif event.key() == Qt.Key.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)

    def _report(self, point: QPoint) -> None:
        if self._image is None:
            return
        at = self.to_image_point(QPointF(point))
        column, row = int(np.floor(at.x())), int(np.floor(at.y()))
        inside = 0 <= column < self._image.width() and 0 <= row < self._image.height()
        self.hovered.emit((column, row) if inside else None)


class DragTool:
    """Something that may take buttons and wheel from the canvas: the wipe handle, the pose tool."""

    buttons: tuple[Qt.MouseButton, ...] = (Qt.MouseButton.LeftButton,)

    def press(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        """Whether the tool takes this press."""
        return False

    def move(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        return False

    def release(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        return False

    def wheel(self, canvas: ImageCanvas, event: QWheelEvent) -> bool:
        """Whether the tool takes this turn of the wheel."""
        return False
