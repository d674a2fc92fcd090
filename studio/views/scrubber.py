"""The recording's timeline: thumbnails to drag along."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.engine.types import RecordingInfo
from studio.model.track import LOST, NOT_REACHED
from studio.toolkit.theme import small_font, theme
from studio.views.canvas import to_image

HEIGHT, LOW = 48, 28  # of the thumbnails; where the window is low, pixels
BELOW = 20  # height of the line under them
STRIP = 10  # height of the scores, pixels
STATE_COLOURS = {"tracked": "good", "found again": "good", "weak": "warn", "lost": "bad",
                 NOT_REACHED: "faint"}  # fmt: skip
GONE = (LOST, NOT_REACHED)
SURE, DOUBTFUL = 0.5, 0.2  # agreement: mask overlap times share of depth explained
SPLIT_COLOURS = {"adapt": "accent", "train": "accent", "eval": "good", "test": "good"}


class Scrubber(QWidget):
    """Thumbnails spread over the whole recording, a handle at the selected frame.

    Drag or click to scrub; arrow keys step, Page keys jump by ten, Home and End go to the ends.
    A line under the pictures tells the splits apart; a strip over it says how poses agree, another
    how sure a track is. Diamonds mark key frames.
    """

    scrubbed = Signal(int)
    wantThumbnails = Signal(list)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._high = HEIGHT
        self.setFixedHeight(HEIGHT + BELOW)
        self.setMouseTracking(True)
        self.setAccessibleName("Frames of the recording")
        self._count = 0
        self._index = 0
        self._hover: int | None = None
        self._aspect = 4 / 3
        self._splits: dict[str, tuple[int, ...]] = {}
        self._pictures: dict[int, QImage] = {}
        self._scores: dict[int, float] = {}
        self._track: dict[int, tuple[str, float]] = {}
        self._keys: set[int] = set()
        self._asked: set[int] = set()
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(480, self._high + BELOW)

    def set_low(self, low: bool) -> None:
        """Whether to leave more room for what stands above."""
        high = LOW if low else HEIGHT
        if high != self._high:
            self._high = high
            self.setFixedHeight(high + BELOW)
            self.updateGeometry()
            self._ask()
            self.update()

    def set_recording(self, info: RecordingInfo | None) -> None:
        self._count = len(info) if info else 0
        self._index = 0
        self._pictures.clear()
        self._scores = {}
        self._asked.clear()
        self._splits = info.splits if info else {}
        if info and info.size[0]:
            self._aspect = info.size[1] / info.size[0]
        self._ask()
        self.update()

    def set_index(self, index: int) -> None:
        self._index = index
        self.update()

    def add_thumbnail(self, index: int, picture: np.ndarray) -> None:
        self._pictures[index] = to_image(picture)
        self.update()

    def set_scores(self, scores: dict[int, float]) -> None:
        """How well poses agree, by frame, 0 to 1: a strip along the foot of the pictures."""
        self._scores = scores
        self.update()

    def set_track(self, track: dict[int, tuple[str, float]], keys: set[int]) -> None:
        """How sure a track is of the selected object, by frame, and its key frames.

        Args:
            track: (state, confidence); see `self6d.datasets.pose_track`.
        """
        if (track, keys) != (self._track, self._keys):
            self._track, self._keys = track, keys
            self.update()

    def _slots(self) -> list[int]:
        """Frame index of each thumbnail that fits."""
        if not self._count:
            return []
        fit = max(1, int(self.width() // (self._high * self._aspect)))
        shown = min(fit, self._count)
        return [min(int((i + 0.5) * self._count / shown), self._count - 1) for i in range(shown)]

    def _ask(self) -> None:
        missing = [i for i in self._slots() if i not in self._asked]
        if missing:
            self._asked.update(missing)
            self.wantThumbnails.emit(missing)

    def _x_of(self, index: float) -> float:
        return (index + 0.5) / max(self._count, 1) * self.width()

    def _index_at(self, x: float) -> int:
        return min(max(int(x / max(self.width(), 1) * self._count), 0), max(self._count - 1, 0))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(QRectF(0, 0, self.width(), self._high), theme.colour("canvas"))
        slots = self._slots()
        if not slots:
            painter.setPen(theme.colour("muted"))
            painter.drawText(
                QRectF(0, 0, self.width(), self._high), int(Qt.AlignmentFlag.AlignCenter),
                "The recording's frames line up here.",
            )  # fmt: skip
            return
        width = self.width() / len(slots)
        for place, index in enumerate(slots):
            picture = self._pictures.get(index)
            if picture is not None:
                painter.drawImage(_cover(picture, QRectF(place * width, 0, width - 1, self._high)),
                                  picture)  # fmt: skip
        self._paint_scores(painter)
        self._paint_track(painter)
        self._paint_splits(painter)
        self._paint_handle(painter)

    def _paint_scores(self, painter: QPainter) -> None:
        if not self._scores:
            return
        painter.fillRect(QRectF(0, self._high - STRIP, self.width(), STRIP), theme.colour("canvas"))
        for index, score in self._scores.items():
            x0, x1 = self._x_of(index - 0.5), self._x_of(index + 0.5)
            level = "good" if score >= SURE else "warn" if score >= DOUBTFUL else "bad"
            high = max(STRIP * score, 2.0)
            box = QRectF(x0, self._high - high, max(x1 - x0, 1), high)
            painter.fillRect(box, theme.colour(level))

    def _paint_track(self, painter: QPainter) -> None:
        foot = self._high - (STRIP + 1 if self._scores else 0)
        if self._track:
            painter.fillRect(QRectF(0, foot - STRIP, self.width(), STRIP), theme.colour("canvas"))
        for index, (state, confidence) in self._track.items():
            x0, x1 = self._x_of(index - 0.5), self._x_of(index + 0.5)
            high = STRIP if state in GONE else max(STRIP * confidence, 2.0)
            box = QRectF(x0, foot - high, max(x1 - x0, 1), high)
            painter.fillRect(box, theme.colour(STATE_COLOURS[state]))
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(0, 0, 0, 160), 1))
        painter.setBrush(QColor("white"))
        for index in self._keys:
            x, y, r = self._x_of(index), 7.0, 5.0
            painter.drawPolygon(
                [QPointF(x, y - r), QPointF(x + r, y), QPointF(x, y + r), QPointF(x - r, y)]
            )
        painter.restore()

    def _paint_splits(self, painter: QPainter) -> None:
        for name, indices in self._splits.items():
            colour = theme.colour(SPLIT_COLOURS.get(name, "muted"))
            for start, end in _runs(indices):
                x0, x1 = self._x_of(start - 0.5), self._x_of(end + 0.5)
                painter.fillRect(QRectF(x0, self._high + 1, max(x1 - x0, 1), 2), colour)

    def _paint_handle(self, painter: QPainter) -> None:
        x = self._x_of(self._index)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.colour("accent"), 2))
        painter.drawLine(QPointF(x, 0), QPointF(x, self._high + 3))
        painter.setFont(small_font())
        at = self._hover if self._hover is not None else self._index
        names = [name for name, indices in self._splits.items() if at in indices]
        if at in self._scores:
            names.append(f"agreement {self._scores[at]:.2f}")
        if at in self._track:
            state, confidence = self._track[at]
            names.append(state if state in GONE else f"{state}, confidence {confidence:.2f}")
        if at in self._keys:
            names.append("key frame")
        text = f"{at + 1} / {self._count}" + (f"  {', '.join(names)}" if names else "")
        painter.setPen(theme.colour("text" if self._hover is None else "muted"))
        width = painter.fontMetrics().horizontalAdvance(text) + 8
        left = min(max(self._x_of(at) - width / 2, 0), self.width() - width)
        painter.drawText(QRectF(left, self._high + 3, width, 16),
                         int(Qt.AlignmentFlag.AlignCenter), text)  # fmt: skip
        if self.hasFocus():
            painter.setPen(QColor(theme.tokens.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(0.5, 0.5, self.width() - 1, self._high - 1))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._ask()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._go(self._index_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = self._index_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._hover = None
            self._go(at)
        else:
            self._hover = at if self._count else None
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hover = None
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, at = event.key(), self._index
        jump = {
            Qt.Key.Key_Left: at - 1, Qt.Key.Key_Right: at + 1, Qt.Key.Key_PageUp: at - 10,
            Qt.Key.Key_PageDown: at + 10, Qt.Key.Key_Home: 0, Qt.Key.Key_End: self._count - 1,
        }.get(Qt.Key(key))  # fmt: skip
        if jump is None:
            super().keyPressEvent(event)
        else:
            self._go(jump)

    def _go(self, index: int) -> None:
        if self._count:
            index = min(max(index, 0), self._count - 1)
            if index != self._index:
                self._index = index
                self.scrubbed.emit(index)
                self.update()


def _cover(picture: QImage, box: QRectF) -> QRectF:
    """The picture fitted into a box, centred."""
    scale = min(box.width() / picture.width(), box.height() / picture.height())
    w, h = picture.width() * scale, picture.height() * scale
    return QRectF(box.center().x() - w / 2, box.center().y() - h / 2, w, h)


def _runs(indices: tuple[int, ...]) -> list[tuple[int, int]]:
    """Consecutive stretches of indices as (first, last)."""
    out: list[tuple[int, int]] = []
    for index in sorted(indices):
        if out and index == out[-1][1] + 1:
            out[-1] = (out[-1][0], index)
        else:
            out.append((index, index))
    return out
