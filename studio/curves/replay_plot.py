"""Loss beside pose error over the steps of one optimisation, with a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.toolkit.theme import small_font, theme

HEIGHT = 112
HEAD = 18  # pixels above the curves, for their names
COLOURS = {"loss": "total", "rotation": "mask", "shift": "geometry"}


@dataclass(frozen=True)
class Trace:
    """One quantity by step; each is drawn on a scale of its own, from zero.

    Attributes:
        name: "loss", "rotation" or "shift". unit: such as "°".
        values: (N,), nan where unknown.
    """

    name: str
    unit: str
    values: np.ndarray


class ReplayPlot(QWidget):
    """Draws traces; click or drag to go to a step."""

    stepChosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Loss and pose error by step")
        self.traces: list[Trace] = []
        self._at = 0
        theme.changed.connect(self.update)
        self.hide()

    def sizeHint(self) -> QSize:
        return QSize(260, HEIGHT)

    @property
    def steps(self) -> int:
        return max((len(t.values) for t in self.traces), default=0)

    def set_traces(self, traces: Sequence[Trace]) -> None:
        """Show these, those without a single known value left out."""
        self.traces = [t for t in traces if np.isfinite(t.values).any()]
        self._at = max(self.steps - 1, 0)
        self.setVisible(self.steps > 1)
        self.update()

    def set_step(self, step: int) -> None:
        self._at = step
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._go(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._go(event.position().x())

    def _go(self, x: float) -> None:
        last = self.steps - 1
        if last > 0:
            self.stepChosen.emit(min(max(round(x / max(self.width(), 1) * last), 0), last))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(small_font())
        area = QRectF(0, HEAD, self.width(), self.height() - HEAD).adjusted(1, 2, -1, -2)
        painter.fillRect(area, theme.colour("canvas"))
        left = 0.0
        for trace in self.traces:
            colour = QColor(theme.term_colour(COLOURS[trace.name]))
            painter.setPen(QPen(colour, 1.6))
            painter.drawPolyline(self._line(trace.values, area))
            value = trace.values[min(self._at, len(trace.values) - 1)]
            text = f"{trace.name} {value:.3g}{trace.unit}"
            painter.drawText(QPointF(left, HEAD - 6), text)
            left += painter.fontMetrics().horizontalAdvance(text) + 12
        if self.steps > 1:
            x = area.left() + self._at / (self.steps - 1) * area.width()
            painter.setPen(QPen(theme.colour("accent"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _line(self, values: np.ndarray, area: QRectF) -> QPolygonF:
        top = float(np.nanmax(values)) or 1.0
        x = area.left() + np.arange(len(values)) / max(self.steps - 1, 1) * area.width()
        y = area.bottom() - 3 - np.clip(values / top, 0, 1) * (area.height() - 8)
        known = np.isfinite(y)
        return QPolygonF([QPointF(a, b) for a, b in zip(x[known].tolist(), y[known].tolist())])
