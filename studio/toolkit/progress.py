"""The bar that says how far something is, or that nobody knows."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QProgressBar

from studio.toolkit.theme import theme

MOVES_MS, MOVES = 200, 12  # of the piece that wanders while nobody knows
HEIGHT, PIECE = 8, 0.25


class Bar(QProgressBar):
    """A thin bar, paints itself.

    With a style sheet Qt redraws a bar 30 times a second from the first time that it does not know
    how far it is, to its end; where no GPU draws the window this takes a third of a core.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setFixedHeight(HEIGHT)
        self._place = 0
        self._mover = QTimer(self, interval=MOVES_MS)
        self._mover.timeout.connect(self._move)

    @property
    def unknown(self) -> bool:
        """Whether nobody knows how far it is."""
        return self.minimum() == self.maximum()

    def setRange(self, low: int, high: int) -> None:
        super().setRange(low, high)
        self._wake()

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            self._wake()
        return super().event(event)

    def _wake(self) -> None:
        if self.unknown and self.isVisible():
            self._mover.start()
        else:
            self._mover.stop()
        self.update()

    def _move(self) -> None:
        self._place = (self._place + 1) % MOVES
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(self.rect())
        done = QRectF(whole)
        if self.unknown:
            done.setWidth(PIECE * whole.width())
            done.moveLeft(self._place / (MOVES - 1) * (whole.width() - done.width()))
        else:
            share = (self.value() - self.minimum()) / (self.maximum() - self.minimum())
            done.setWidth(max(share, 0.0) * whole.width())
        for area, colour in ((whole, "raised"), (done, "accent")):
            painter.setBrush(theme.colour(colour))
            painter.drawRoundedRect(area, HEIGHT / 2, HEIGHT / 2)
