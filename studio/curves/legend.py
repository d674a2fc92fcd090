"""Names of curves in their colours, to switch them on and off."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QLabel

from studio.toolkit.theme import theme
from studio.toolkit.words import meaning, word

DASHES = (  # of the lines of one run, and the next
    Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine,
)  # fmt: skip


class LegendEntry(QLabel):
    """A term's name in its colour; click or Space hides it."""

    switched = Signal(str, bool)

    def __init__(self, term: str, colour: str, shown: bool, text: str = "") -> None:
        """
        Args:
            text: what to call it; by default the term's word.
        """
        super().__init__()
        self._term, self._shown = term, shown
        colour = colour if shown else theme.tokens.faint
        ink = theme.tokens.text if shown else theme.tokens.faint
        name = escape(text or word(term))
        self.setText(
            f'<span style="color:{colour}">━</span> <span style="color:{ink}">{name}</span>'
        )
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        about = f"{meaning(term)}\n" if meaning(term) else ""
        self.setToolTip(f"{about}Click to {'hide' if shown else 'show'} it")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setContentsMargins(0, 0, 8, 0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.switched.emit(self._term, not self._shown)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self.switched.emit(self._term, not self._shown)
