"""Loss curves of one or several runs: one line a term, raw and smoothed."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QCursor, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QToolButton, QToolTip, QWidget

from self6d.events import Scalars
from self6d.losses.terms import TERMS
from studio.curves.axis import ValueAxis
from studio.curves.legend import CONFIDENCE, Legend, dashes, values_at
from studio.curves.marks import Mark, spread
from studio.curves.multiples import SmallMultiples
from studio.curves.run_curves import RunCurves
from studio.toolkit.theme import theme
from studio.toolkit.widgets import Choice, ElidedLabel, IconButton, button, column, label, row
from studio.toolkit.words import GROUPS, none_of

# A redraw holds the window for 15 ms: of a hundred clicks no more than one may wait for it.
REDRAW_MS = 500
TERM_ORDER = ("total", *TERMS)
APART = ("health",)
LETTERS = 14  # of the box of groups that are seen where there is room
LOW = 150  # pixels; below, the plot needs the room of names and steps: it tells them at the mouse


class CurvesView(QWidget):
    """Curves with a legend that switches terms, a cursor, and checkpoints to click."""

    checkpointClicked = Signal(str, int)  # run folder, step
    checkpointLeft = Signal()
    cursorMoved = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plain")
        self.runs: dict[str, RunCurves] = {}
        self.group = "loss"
        self.at: tuple[str, int | None] = ("", None)
        self._hidden_terms: set[str] = set()
        self._lines: dict[tuple[str, str, bool], pg.PlotCurveItem] = {}
        self._checkpoint_dots: dict[str, pg.ScatterPlotItem] = {}
        self._mark_lines: list[Mark] = []
        self._ranged = False
        self._fitting = False
        self._later = QTimer(self, singleShot=True, interval=REDRAW_MS)
        self._later.timeout.connect(self._redraw)

        self._values_axis = ValueAxis("left")
        self.plot = pg.PlotWidget(axisItems={"left": self._values_axis})
        self.plot.setAccessibleName("Curves by step")
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.getPlotItem().setContentsMargins(0, 4, 8, 0)
        self.view = self.plot.getPlotItem().getViewBox()
        self.view.sigXRangeChanged.connect(self._redraw)
        self.view.sigResized.connect(self._redraw)
        self.view.sigRangeChangedManually.connect(self._on_manual)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse)
        self.plot.scene().sigMouseClicked.connect(self._on_click)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._at = pg.InfiniteLine(angle=90, movable=False)  # the checkpoint looked through
        for line in (self._cursor, self._at):
            line.setVisible(False)
            self.plot.addItem(line, ignoreBounds=True)
        self.log_scale = QToolButton()
        self.log_scale.setText("log")
        self.log_scale.setToolTip("Logarithmic scale")
        self.log_scale.setCheckable(True)
        self.log_scale.setChecked(True)  # the terms differ by orders of magnitude
        self.log_scale.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.log_scale.toggled.connect(self._on_log)
        self.raw_too = IconButton("activity", "Raw values behind the smoothed", self.refresh,
                                  checkable=True)  # fmt: skip
        self.raw_too.setChecked(True)
        self.fit_button = IconButton("maximize", "Show everything", self.fit)
        self.groups = Choice("Which curves")
        self.groups.setToolTip("Which curves")
        self.groups.setMinimumContentsLength(LETTERS)
        self.groups.activated.connect(lambda i: self.choose_group(self.groups.itemData(i)))
        self.leave = button("", self.checkpointLeft.emit, "",
                            "Picture, 3D view and probes look through this checkpoint until you "
                            "leave it")  # fmt: skip
        self.leave.hide()
        self.legend = Legend()
        self.legend.switched.connect(self._on_switch)
        self.readout = ElidedLabel("", "small")
        self.message = label("", "muted")
        self.expect("")
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = column(gap=4)
        layout.setContentsMargins(8, 8, 4, 0)
        self.head = QWidget()
        self.head.setObjectName("plain")
        tools = row(self.groups, self.readout, self.leave, self.raw_too, self.log_scale,
                   self.fit_button, gap=4)  # fmt: skip
        tools.setStretch(1, 1)
        self.head.setLayout(tools)
        layout.addWidget(self.head)
        layout.addLayout(self.legend)
        layout.addWidget(self.message, 1)
        layout.addWidget(self.plot, 1)
        self.multiples = SmallMultiples()
        self.multiples.cursorMoved.connect(self._on_step)
        self.multiples.checkpointClicked.connect(self.checkpointClicked)
        layout.addWidget(self.multiples, 1)
        self.setLayout(layout)
        self._dress()
        theme.changed.connect(self._dress)
        self.refresh()

    def add_scalars(self, run: str, batch: list[Scalars]) -> None:
        """New points of a run that is shown."""
        curves = self.runs.setdefault(run, RunCurves(run))
        known = set(curves.raw)
        curves.add(batch)
        if set(curves.raw) != known:
            self.refresh()
        elif not self._later.isActive():
            self._later.start()

    def expect(self, run: str, status: str = "") -> None:
        """Say in their place whose curves will come, or why none will; "": nobody's.

        Args:
            status: how the run ended; "" while it has not.
        """
        self.message.setText(
            none_of("curves", run, status) if run and status
            else f"The curves of {run} come with its first steps." if run
            else "Loss curves stand here: start a run, or double-click one in the list."
        )  # fmt: skip

    def show_run(self, curves: RunCurves) -> None:
        """Show (another version of) a run's curves."""
        if curves.name in self.runs:
            curves.take_newer(self.runs[curves.name])
        self.runs[curves.name] = curves
        self._ranged = False
        self.refresh()

    def clear(self, keep: str = "") -> None:
        """Show none but this run."""
        self.runs = {run: curves for run, curves in self.runs.items() if run == keep}
        self._ranged = False
        self.refresh()

    def set_checkpoints(self, run: str, steps: list[int]) -> None:
        """Those that can be looked through: a run at work also deletes old ones."""
        self.runs.setdefault(run, RunCurves(run)).checkpoints = steps
        self._redraw()

    def checkpoint_place(self, run: str, step: int) -> QPoint:
        """Where a checkpoint's mark stands, in pixels of the plot's viewport."""
        spot = next(p for p in self._checkpoint_dots[run].points() if p.pos().x() == step)
        return self.plot.mapFromScene(self.view.mapViewToScene(spot.pos()))

    def set_cursor(self, run: str, step: int | None) -> None:
        """Mark the checkpoint that picture and cloud look through; None: they look through none."""
        self.at = (run, step)
        self._at.setVisible(step is not None and run in self.runs)
        self._at.setPos(step or 0)
        self.multiples.set_at(run, step)
        self.leave.setVisible(step is not None)
        self.leave.setText(f"Leave step {step}")

    def add_mark(self, run: str, step: int, text: str) -> None:
        """A visible mark, such as where a loss weight was changed by hand."""
        self.runs.setdefault(run, RunCurves(run)).marks.append((step, text))
        self.refresh()

    def choose_group(self, group: str) -> None:
        """Show the curves "group/..."."""
        self.group = group
        self._hidden_terms.clear()
        self._ranged = False
        self.refresh()

    def _fill_groups(self) -> None:
        found = {key.partition("/")[0] for c in self.runs.values() for key in c.raw if "/" in key}
        groups = sorted(found, key=lambda g: (g != "loss", g))
        if [self.groups.itemData(i) for i in range(self.groups.count())] != groups:
            self.groups.clear()
            for group in groups:
                self.groups.addItem(GROUPS.get(group, group), group)
            if groups and self.group not in groups:
                self.group = groups[0]
            self.groups.setCurrentIndex(self.groups.findData(self.group))
        self.groups.setVisible(len(groups) > 1)

    def terms(self) -> list[str]:
        """Curves of the shown group, "loss/mask" as "mask", total first."""
        names: list[str] = []
        for curves in self.runs.values():
            for key in curves.raw:
                group, _, name = key.partition("/")
                if group == self.group and name and name not in names:
                    names.append(name)
        if {"total", "self"} <= set(names) and all(map(self._self_is_all, self.runs.values())):
            names.remove("self")  # the same line twice
        rank = {name: i for i, name in enumerate(TERM_ORDER)}
        return sorted(names, key=lambda n: (rank.get(n, 99), n))

    def _self_is_all(self, curves: RunCurves) -> bool:
        """Whether L_self is all there is to a run's total, as in the paper's form."""
        own, total = (curves.raw.get(f"{self.group}/{name}") for name in ("self", "total"))
        if own is None or total is None:
            return own is None
        last = min(len(own), len(total), 64)
        return np.allclose(own.y[-last:], total.y[-last:], rtol=1e-5)

    def refresh(self) -> None:
        """Make legend and lines anew: runs, terms or looks have changed."""
        for line in self._lines.values():
            self.plot.removeItem(line)
        for dots in self._checkpoint_dots.values():
            self.plot.removeItem(dots)
        for mark in self._mark_lines:
            self.plot.removeItem(mark)
        self._lines, self._checkpoint_dots, self._mark_lines = {}, {}, []
        self._fill_groups()
        terms = self.terms()
        apart = self.group in APART  # unlike quantities, each on a scale of its own
        for widget in (self.plot, self.raw_too, self.log_scale, self.fit_button):
            widget.setVisible(bool(terms) and not apart)
        self.multiples.setVisible(bool(terms) and apart)
        self.multiples.show_group(self.group, terms if apart else [], self.runs)
        self.message.setVisible(not terms)
        self.legend.name(self.runs, self.group, terms, self._hidden_terms, terms_too=not apart)
        self._fit_legend()
        for number, (run, curves) in enumerate(self.runs.items()):
            for term in terms:
                if term not in self._hidden_terms and f"{self.group}/{term}" in curves.raw:
                    self._add_lines(run, term, dashes(number))
            dots = pg.ScatterPlotItem(size=8, symbol="d", pxMode=True)
            dots.setBrush(QColor(theme.tokens.accent))
            dots.setPen(None)
            self.plot.addItem(dots, ignoreBounds=True)
            self._checkpoint_dots[run] = dots
            for step, text in curves.marks:
                mark = Mark(step, text)
                self.plot.addItem(mark, ignoreBounds=True)
                self._mark_lines.append(mark)
        if not self._ranged:
            self.fit()
        else:
            self._redraw()

    def fit(self) -> None:
        """Show all steps and values of the smoothed curves; raw peaks of losses may leave."""
        last = max((c.last_step for c in self.runs.values()), default=0)
        self._ranged = False
        self.view.setXRange(0, max(last, 1), padding=0.01)
        self._redraw()

    def redraw_now(self) -> None:
        """Draw at once, for measurements."""
        self._redraw()
        self.plot.viewport().repaint()

    def _add_lines(self, run: str, term: str, dash: Qt.PenStyle) -> None:
        colour = QColor(theme.term_colour(term))
        faint = QColor(colour)
        faint.setAlpha(70)
        width = 2 if term == "total" else 1
        if self.raw_too.isChecked():
            raw = pg.PlotCurveItem(pen=pg.mkPen(faint, width=1), skipFiniteCheck=False)
            self.plot.addItem(raw, ignoreBounds=True)
            self._lines[run, term, False] = raw
        smooth = pg.PlotCurveItem(pen=pg.mkPen(colour, width=width, style=dash))
        self.plot.addItem(smooth, ignoreBounds=True)
        self._lines[run, term, True] = smooth

    def _redraw(self, *_: object) -> None:
        if self._fitting:
            return
        self.multiples.update()
        if not self._ranged and self.runs:
            last = max(c.last_step for c in self.runs.values())
            self._fitting = True
            self.view.setXRange(0, max(last, 1), padding=0.01)  # the axis has to hear of it
            self._fitting = False
        (x0, x1), _ = self.view.viewRange()
        # half a column's width: minimum and maximum of each pair of columns are drawn
        width = max(int(self.view.width() * self.devicePixelRatioF()) // 2, 64)
        log = self.log_scale.isChecked()
        low, high = np.inf, -np.inf
        for (run, term, smooth), line in self._lines.items():
            curves = self.runs[run]
            series = (curves.smooth if smooth else curves.raw).get(f"{self.group}/{term}")
            if series is None:
                continue
            x, y = series.view(x0, x1, width)
            if log:
                with np.errstate(divide="ignore", invalid="ignore"):
                    y = np.log10(np.where(y > 0, y, np.nan))
            line.setData(x, y)
            counts = smooth or self.group == CONFIDENCE  # a dip is what one looks for
            if counts and len(y) and not np.isnan(y).all():
                low, high = min(low, np.nanmin(y)), max(high, np.nanmax(y))
        if np.isfinite(low) and not self._ranged:
            margin = 0.06 * (high - low) or 0.5
            self.view.setYRange(low - margin, high + margin, padding=0)
        self._place_checkpoints()

    def _place_checkpoints(self) -> None:
        spread(self._mark_lines, self.view)
        bottom = self.view.viewRange()[1][0]
        height = self.view.viewRange()[1][1] - bottom
        for run, dots in self._checkpoint_dots.items():
            steps = self.runs[run].checkpoints if run in self.runs else []
            dots.setData(steps, [bottom + 0.04 * height] * len(steps))

    def _on_manual(self, *_: object) -> None:
        self._ranged = True
        self._redraw()

    def _on_log(self, on: bool) -> None:
        self._values_axis.set_log(on)
        self._ranged = False
        self.refresh()

    def leaveEvent(self, event: QEvent) -> None:
        self._on_mouse(QPointF(-1.0, -1.0))  # the plot's own signal stays silent

    def _on_mouse(self, position: QPointF) -> None:
        inside = self.view.sceneBoundingRect().contains(position)
        self._cursor.setVisible(inside)
        if not inside:
            self.readout.setText("")
            return
        step = self.view.mapSceneToView(position).x()
        self._cursor.setPos(step)
        shown = [term for term in self.terms() if term not in self._hidden_terms]
        # one run alone is named in the legend, where that is seen
        named = len(self.runs) > 1 or self.readout.isHidden()
        self.readout.setText(values_at(step, self.runs, self.group, shown, named_run=named))
        if self.readout.isHidden():
            QToolTip.showText(QCursor.pos(), self.readout.text(), self.plot)
        self.cursorMoved.emit(step)

    def _on_step(self, step: float | None) -> None:
        self.readout.setText("" if step is None else f"step {step:.0f}")
        self.cursorMoved.emit(step)

    def _on_click(self, event: QMouseEvent) -> None:
        position = event.scenePos()  # type: ignore[attr-defined]  # pyqtgraph's own event
        for run, dots in self._checkpoint_dots.items():
            hit = dots.pointsAt(dots.mapFromScene(position))
            if len(hit):
                self.checkpointClicked.emit(run, int(hit[0].pos().x()))
                return

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit_legend()

    def _fit_legend(self) -> None:
        high = self.height() >= LOW
        self.plot.showAxis("bottom", high)
        sides = self.contentsMargins() + self.layout().contentsMargins()  # type: ignore[union-attr]
        self.legend.fit(self.width() - sides.left() - sides.right() if high else 0)

    def _on_switch(self, term: str, shown: bool) -> None:
        (self._hidden_terms.discard if shown else self._hidden_terms.add)(term)
        self.refresh()

    def _dress(self) -> None:
        self.plot.setBackground(theme.tokens.surface)
        pen = pg.mkPen(theme.tokens.line)
        for side in ("left", "bottom"):
            axis = self.plot.getPlotItem().getAxis(side)
            axis.setPen(pen)
            axis.setTextPen(theme.tokens.muted)
            axis.setStyle(tickLength=-4)
        self.plot.showGrid(x=True, y=True, alpha=0.12)
        self._cursor.setPen(pg.mkPen(theme.tokens.muted))
        self._at.setPen(pg.mkPen(theme.tokens.accent, width=2))
        self.refresh()
