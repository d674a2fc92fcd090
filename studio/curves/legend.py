"""Names of curves in their colours, to switch them on and off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QLabel

from studio.curves.run_curves import RunCurves
from studio.jobs.run_info import brief
from studio.toolkit.flow import FlowLayout
from studio.toolkit.theme import theme
from studio.toolkit.words import meaning, word

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


class RunEntry(QLabel):
    """A run's name behind a piece of its lines."""

    SAMPLE = 24  # pixels

    def __init__(self, run: str, number: int) -> None:
        """
        Args:
            run: its folder. number: of the run among those shown, which gives its dashes.
        """
        super().__init__(brief(Path(run).name))
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
    """Whose curves are shown, and their terms, to switch them on and off."""

    switched = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[RunEntry] = []
        self.terms: list[LegendEntry] = []

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
        for entry in (*self.runs, *self.terms):
            self.addWidget(entry)

    def show_all(self, on: bool) -> None:
        """Show or hide all of it."""
        for entry in (*self.runs, *self.terms):
            entry.setVisible(on)


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
