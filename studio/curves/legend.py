"""Names of curves in their colours, to switch them on and off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import (
    QColor,
    QIcon,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QLabel, QMenu, QToolButton

from studio.curves.run_curves import RunCurves
from studio.jobs.run_info import brief
from studio.toolkit.flow import FlowLayout
from studio.toolkit.theme import theme
from studio.toolkit.words import meaning, word

LINES = 2  # of names above the curves
CONFIDENCE = "confidence"  # its curves bear the names of objects
DASHES = (  # of the lines of one run, and the next
    Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine,
)  # fmt: skip


def dashes(number: int) -> Qt.PenStyle:
    """How the lines of a run are drawn, by its number among those shown."""
    return DASHES[number % len(DASHES)]


class LegendEntry(QLabel):
    """A term's name in its colour; click or Space hides it."""

    switched = Signal(str, bool)

    def __init__(self, term: str, colour: str, shown: bool, text: str = "") -> None:
        """
        Args:
            text: what to call it; by default the term's word.
        """
        super().__init__()
        self.term, self.shown, self.name = term, shown, text or word(term)
        self.colour = colour if shown else theme.tokens.faint
        ink = theme.tokens.text if shown else theme.tokens.faint
        self.setText(
            f'<span style="color:{self.colour}">━</span> '
            f'<span style="color:{ink}">{escape(self.name)}</span>'
        )
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        about = f"{meaning(term)}\n" if meaning(term) else ""
        self.setToolTip(f"{about}Click to {'hide' if shown else 'show'} it")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setContentsMargins(0, 0, 8, 0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.switched.emit(self.term, not self.shown)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self.switched.emit(self.term, not self.shown)


class RunEntry(QLabel):
    """A run's name behind a piece of its lines."""

    SAMPLE = 24  # pixels

    def __init__(self, run: str, number: int) -> None:
        """
        Args:
            run: its folder. number: of the run among those shown, which gives its dashes.
        """
        self.name = brief(Path(run).name)
        super().__init__(self.name)
        self.setObjectName("small")
        self.setToolTip(run)
        self.setContentsMargins(self.SAMPLE + 4, 0, 8, 0)
        self._dashes = dashes(number)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        pen = QPen(theme.colour("text"), 1.6)
        pen.setStyle(self._dashes)
        painter.setPen(pen)
        painter.drawLine(0, self.height() // 2, self.SAMPLE, self.height() // 2)


class Legend(FlowLayout):
    """Whose curves are shown, and their terms, to switch them on and off.

    It takes few lines: what does not fit is behind its last button.
    """

    switched = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[RunEntry] = []
        self.terms: list[LegendEntry] = []
        self.more = QToolButton()

    def name(
        self, runs: Mapping[str, RunCurves], group: str, terms: Sequence[str], hidden: set[str],
        *, terms_too: bool,
    ) -> None:  # fmt: skip
        """Name what is drawn of "group/term"; small multiples bear the terms' names themselves."""
        while self.count():
            item = self.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.runs = [
            RunEntry(run, number) for number, (run, curves) in enumerate(runs.items())
            if any(f"{group}/{term}" in curves.raw for term in terms)
        ]  # fmt: skip
        self.terms = [
            LegendEntry(term, theme.term_colour(term), term not in hidden, named(term, group))
            for term in terms
            if terms_too
        ]
        for switch in self.terms:
            switch.switched.connect(self.switched)
        self.more = QToolButton()
        self.more.setObjectName("inline")
        self.more.setAccessibleName("Further curves")
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(QMenu(self.more))
        for entry in (*self.runs, *self.terms, self.more):
            self.addWidget(entry)
            entry.hide()

    def fit(self, width: int) -> None:
        """Show as much as has room in `LINES` lines of a width; 0: nothing."""
        entries: list[LegendEntry | RunEntry] = [*self.runs, *self.terms]
        widths = [entry.sizeHint().width() for entry in entries]
        known = len(entries) if width > 0 else 0
        if width > 0 and self._lines(widths, width) > LINES:
            self.more.setText(f"+{len(entries)}")  # as wide as it gets
            last = self.more.sizeHint().width()
            while known and self._lines([*widths[:known], last], width) > LINES:
                known -= 1
        for place, entry in enumerate(entries):
            entry.setVisible(place < known)
        self.more.setVisible(width > 0 and known < len(entries))
        self.more.setText(f"+{len(entries) - known}")
        self._offer(entries[known:])

    def _lines(self, widths: Sequence[int], width: int) -> int:
        lines, x = 1, 0
        for one in widths:
            if x and x + one > width:
                lines, x = lines + 1, 0
            x += one + self._gap
        return lines

    def _offer(self, entries: Sequence[LegendEntry | RunEntry]) -> None:
        """The menu of what had no room: terms can be switched there as well."""
        menu = self.more.menu()
        menu.clear()
        self.more.setToolTip(", ".join(entry.name for entry in entries))
        for entry in entries:
            action = menu.addAction(entry.name)
            if isinstance(entry, LegendEntry):
                action.setIcon(swatch(entry.colour))
                action.setCheckable(True)
                action.setChecked(entry.shown)
                action.toggled.connect(partial(self.switched.emit, entry.term))
            else:
                action.setEnabled(False)


def swatch(colour: str) -> QIcon:
    """A small square of a colour."""
    picture = QPixmap(12, 12)
    picture.fill(QColor(colour))
    return QIcon(picture)


def named(term: str, group: str) -> str:
    """What people read for a curve."""
    return term if group == CONFIDENCE else word(term)


def values_at(
    step: float, runs: Mapping[str, RunCurves], group: str, terms: Sequence[str], *, named_run: bool
) -> str:
    """The newest run's values at a step in one line; "" without a run."""
    if not runs:
        return ""
    run = list(runs)[-1]
    curves = runs[run]
    parts = [brief(Path(run).name)] if named_run else []
    parts.append(f"step {max(step, 0):.0f}")
    for term in terms:
        series = curves.smooth.get(f"{group}/{term}")
        value = series.at(step) if series else None
        if value is not None:
            parts.append(f"{named(term, group)} {value:.4g}")
    return "   ".join(parts)
