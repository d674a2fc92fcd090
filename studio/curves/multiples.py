"""Small multiples: one little plot a quantity, each with its own unit and scale, one cursor."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.curves.legend import dashes
from studio.curves.run_curves import RunCurves
from studio.toolkit.theme import small_font, theme
from studio.toolkit.words import meaning, unit, word

HEAD, FOOT, GAP = 18, 14, 62  # pixels; the scale stands in the gap
LEAST_WIDTH, LEAST_HEIGHT = 180, 72
REACH_PX = 7
MARK = 5  # half a mark, pixels; at the ends there is room for a whole one


class SmallMultiples(QWidget):
    """Draws the curves of one group of all runs that are shown.

    Signals:
        cursorMoved: the step under the mouse, or None. checkpointClicked: run folder, step.
    """

    cursorMoved = Signal(object)
    checkpointClicked = Signal(str, int)

    def __init__(self) -> None:
        super().__init__()
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(LEAST_WIDTH, LEAST_HEIGHT)
        self.setAccessibleName("Health of the run, one plot a quantity")
        self.names: list[str] = []
        self.at: tuple[str, int | None] = ("", None)
        self._group = ""
        self._runs: dict[str, RunCurves] = {}
        self._cursor: float | None = None
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(480, 160)

    def show_group(self, group: str, names: list[str], runs: dict[str, RunCurves]) -> None:
        """Show "group/name" of each name; `runs` is looked at when painting, so it may grow."""
        self._group, self.names, self._runs = group, names, runs
        self.update()

    def set_at(self, run: str, step: int | None) -> None:
        """The checkpoint that picture and cloud look through."""
        self.at = (run, step)
        self.update()

    def area_of(self, name: str) -> QRectF:
        """Where a quantity's curve is drawn, in the widget's pixels."""
        columns = max(1, min(len(self.names), int(self.width() // LEAST_WIDTH)))
        lines = math.ceil(len(self.names) / columns)
        place = self.names.index(name)
        w, h = self.width() / columns, self.height() / max(lines, 1)
        return QRectF(place % columns * w, place // columns * h + HEAD, w - GAP, h - HEAD - FOOT)

    def text_of(self, name: str) -> str:
        """A quantity with its unit, and its value at the cursor, at the checkpoint that is looked
        through, or the newest.
        """
        values = []
        for run, curves in self._runs.items():
            series = curves.raw.get(f"{self._group}/{name}")
            if series is not None and len(series):
                step = self.at[1] if self._cursor is None and self.at[0] == run else self._cursor
                value = series.y[-1] if step is None else series.at(step)
                values.append("–" if value is None else self._number(name, value))
        return f"{word(name)}  {' | '.join(values)}"

    def title_of(self, name: str, area: QRectF) -> str:
        """The same over its plot, as much as ends before the next plot's begins."""
        room = int(area.width() + GAP - 8)
        metrics = QFontMetrics(small_font())
        return metrics.elidedText(self.text_of(name), Qt.TextElideMode.ElideMiddle, room)

    def _number(self, name: str, value: float) -> str:
        scale, suffix, digits = unit(name)
        return f"{value * scale:.{digits}f}{suffix}"

    def _last(self) -> int:
        return max((c.last_step for c in self._runs.values()), default=0) or 1

    def _x_of(self, step: float, area: QRectF) -> float:
        return area.left() + MARK + step / self._last() * (area.width() - 2 * MARK)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(small_font())
        for name in self.names:
            self._paint_one(painter, name, self.area_of(name))

    def _paint_one(self, painter: QPainter, name: str, area: QRectF) -> None:
        painter.fillRect(area, theme.colour("canvas"))
        painter.setPen(theme.colour("text"))
        painter.drawText(QPointF(area.left(), area.top() - 5), self.title_of(name, area))
        key = f"{self._group}/{name}"
        found = [(number, run, c.raw[key]) for number, (run, c) in enumerate(self._runs.items())
                 if key in c.raw]  # fmt: skip
        known = np.concatenate([s.y[np.isfinite(s.y)] for *_, s in found] or [np.zeros(0)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        if low == high:  # a constant stands where it is between zero and itself
            low, high = min(low, 0.0), max(high, 0.0)
        low = min(low, 0.0) if low < 0.5 * high else low
        span = high - low or max(abs(high), 1e-9)
        painter.setPen(theme.colour("muted"))
        right, bottom = int(Qt.AlignmentFlag.AlignRight), int(Qt.AlignmentFlag.AlignBottom)
        beside = QRectF(area.right() + 4, area.top(), GAP - 6, area.height())
        painter.drawText(beside, 0, self._number(name, high))
        if high > low and area.height() >= 2 * painter.fontMetrics().height():
            painter.drawText(beside, bottom, self._number(name, low))
        painter.save()
        painter.setClipRect(area)
        for number, run, series in found:
            x, y = series.view(0, self._last(), max(int(area.width()), 64))
            y = area.bottom() - 4 - (y - low) / span * (area.height() - 8)
            sound = np.isfinite(y)
            points = [QPointF(self._x_of(a, area), b) for a, b in zip(x[sound], y[sound])]
            pen = QPen(QColor(theme.term_colour(name)), 1.6)
            pen.setStyle(dashes(number))
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF(points))
            if len(points) < 2:
                painter.drawEllipse(points[0], 2, 2) if points else None
            self._paint_marks(painter, run, area)
        painter.restore()
        painter.setPen(theme.colour("faint"))
        foot = QRectF(area.left(), area.bottom(), area.width(), FOOT)
        painter.drawText(foot, int(Qt.AlignmentFlag.AlignLeft), "0")
        painter.drawText(foot, right, f"step {self._last()}")

    def _paint_marks(self, painter: QPainter, run: str, area: QRectF) -> None:
        """Checkpoints, the one that is looked through, and the cursor."""
        top, foot = area.top(), area.bottom()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("accent"))
        for step in self._runs[run].checkpoints:
            x = self._x_of(step, area)
            diamond = [QPointF(x - 4, foot - 5), QPointF(x, foot - 9), QPointF(x + 4, foot - 5)]
            painter.drawPolygon(QPolygonF([*diamond, QPointF(x, foot - 1)]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.at[0] == run and self.at[1] is not None:
            x = self._x_of(self.at[1], area)
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawLine(QPointF(x, top), QPointF(x, foot))
        if self._cursor is not None:
            x = self._x_of(self._cursor, area)
            painter.setPen(QPen(theme.colour("muted"), 1))
            painter.drawLine(QPointF(x, top), QPointF(x, foot))

    def _under(self, point: QPointF) -> tuple[str, QRectF] | None:
        for name in self.names:
            area = self.area_of(name)
            if area.adjusted(0, -HEAD, 0, FOOT).contains(point):
                return name, area
        return None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self._under(event.position())
        if found is None:
            self._move_cursor(None)
            return
        name, area = found
        self.setToolTip(meaning(name))
        share = (event.position().x() - area.left() - MARK) / max(area.width() - 2 * MARK, 1)
        self._move_cursor(min(max(share, 0.0), 1.0) * self._last())

    def leaveEvent(self, event: object) -> None:
        self._move_cursor(None)

    def _move_cursor(self, step: float | None) -> None:
        self._cursor = step
        self.cursorMoved.emit(step)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        found = self._under(event.position())
        if found is None:
            return
        x = event.position().x()
        near = [(abs(self._x_of(step, found[1]) - x), run, step)
                for run, curves in self._runs.items() for step in curves.checkpoints]  # fmt: skip
        if near and min(near)[0] <= REACH_PX:
            self.checkpointClicked.emit(*min(near)[1:])
