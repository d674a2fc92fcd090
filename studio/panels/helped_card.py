"""`Did it help?`: one card with a plain verdict, what it rests on, and the worst frames."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QIcon, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from studio.controllers.comparison import Comparison
from studio.jobs.run_info import brief
from studio.model.verdict import BETTER, SAME, WORSE, Measure, Verdict
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import (
    Choice,
    ElidedLabel,
    IconButton,
    button,
    column,
    label,
    row,
    scrolled,
)
from studio.views.canvas import to_image
from studio.views.results import short_names

SHOWN = 24  # frames listed
LIST_WIDE, LIST_HIGH, BESIDE = 208, 132, 12  # pixels
MARGINS = (12, 8, 8, 4)
UNBOUND = (1 << 24) - 1  # Qt's own, which PySide does not name
WORST, BEST, CHANGED = "worst", "best", "changed"
ORDERS = (("Worst first", WORST), ("Best first", BEST), ("Changed most first", CHANGED))
LOOKS = {BETTER: ("circle-check", "good"), WORSE: ("circle-alert", "bad"),
         SAME: ("circle-dot", "muted")}  # fmt: skip
NOTHING = "After stage 2 this card says whether it helped, without labels."
INDEX = Qt.ItemDataRole.UserRole


class HelpedCard(QWidget):
    """Shows a `Comparison`; always there, whatever there is to say."""

    frameWanted = Signal(int)
    compareWanted = Signal()
    wantThumbnails = Signal(list)

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison
        self._pictures: dict[int, QPixmap] = {}
        self._asked: set[int] = set()
        self._offer: tuple[Path, Path] | None = None
        self.mark = QLabel()
        self.headline = ElidedLabel(NOTHING, "subheading")
        self.detail = ElidedLabel("", "small")
        self.go = button("Compare", self.compareWanted.emit, "primary")
        self.most = button("Frame that changed most", self._on_most)
        self.table = QGridLayout()
        self.table.setHorizontalSpacing(16)
        self.table.setVerticalSpacing(0)
        self.worst = QListWidget()
        self.worst.setIconSize(QSize(72, 54))
        self.worst.setUniformItemSizes(True)
        self.worst.setAccessibleName("Frames in the chosen order")
        self.worst.itemClicked.connect(lambda item: self.frameWanted.emit(item.data(INDEX)))
        self.worst.itemActivated.connect(lambda item: self.frameWanted.emit(item.data(INDEX)))
        self.order = Choice("Order of the frames")
        for text, order in ORDERS:
            self.order.addItem(text, order)
        self.order.setToolTip("Which frames the list begins with")
        self.order.activated.connect(self._on_order)
        back = IconButton("chevron-left", "The frame before in this list", lambda: self.step(-1))
        on = IconButton("chevron-right", "The next frame in this list", lambda: self.step(1))
        self.previous, self.next = back, on
        self._head = row(self.mark, self.headline, self.most, self.go)
        self._head.setStretch(1, 1)
        self._left = QWidget()
        self._left.setLayout(column(self.detail, self.table, 1, gap=4))
        self._choice = row(self.order, back, on, gap=4)
        self._choice.setStretch(0, 1)
        self.list_side = QWidget()
        self.list_side.setObjectName("plain")
        self.list_side.setLayout(column(self._choice, self.worst, gap=4))
        self._body = row(self._left, self.list_side, gap=BESIDE)
        self._body.setStretch(0, 1)
        page = QWidget()
        whole = column(self._head, self._body, gap=8)
        whole.setContentsMargins(*MARGINS)
        whole.setStretch(1, 1)
        page.setLayout(whole)
        self.setLayout(column(scrolled(page)))  # a low window has room for a few lines of it
        self._arrange()
        comparison.changed.connect(self.refresh)
        theme.changed.connect(self.refresh)
        self.refresh()

    def offer(self, before: Path | None, after: Path | None) -> None:
        """Two runs that could be compared; None: there are none."""
        self._offer = (before, after) if before is not None and after is not None else None
        self.refresh()

    @property
    def offered(self) -> tuple[Path, Path] | None:
        return self._offer

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """The list beside the table where both have their width, else below it."""
        needed = self._left.minimumSizeHint().width() + BESIDE + LIST_WIDE + sum(MARGINS[::2])
        below = self.width() < needed
        direction = QBoxLayout.Direction
        self._body.setDirection(direction.TopToBottom if below else direction.LeftToRight)
        self.list_side.setMinimumWidth(0 if below else LIST_WIDE)
        self.list_side.setMaximumWidth(UNBOUND if below else LIST_WIDE)
        self.worst.setMinimumHeight(LIST_HIGH if below else 40)
        row, place = (self._choice, 1) if below else (self._head, 2)
        if row.indexOf(self.most) < 0:  # there the headline needs its room
            row.insertWidget(place, self.most)

    def add_thumbnail(self, index: int, picture: np.ndarray) -> None:
        if index not in self._asked:
            return
        self._pictures[index] = QPixmap.fromImage(to_image(picture))
        for line in range(self.worst.count()):
            item = self.worst.item(line)
            if item.data(INDEX) == index:
                item.setIcon(QIcon(self._pictures[index]))

    def forget(self) -> None:
        """Another recording: its pictures are not these."""
        self._pictures.clear()
        self._asked.clear()

    def step(self, by: int) -> None:
        """Go along the list of worst frames."""
        if self.worst.count():
            line = min(max(self.worst.currentRow() + by, 0), self.worst.count() - 1)
            self.worst.setCurrentRow(line)
            self.frameWanted.emit(self.worst.item(line).data(INDEX))

    def refresh(self) -> None:
        """Say what is known now."""
        comparison, verdict = self.comparison, self.comparison.verdict
        pair = (comparison.before, comparison.after)
        other = self._offer is not None and self._offer != pair
        self.go.setVisible(other)
        if other and self._offer is not None:
            self.go.setToolTip(f"{self._offer[0].name} against {self._offer[1].name}")
        self.most.setVisible(verdict is not None)
        self._say(verdict)
        self._fill_table(verdict)
        self._fill_worst()
        QTimer.singleShot(0, self, self._arrange)  # the table's new cells have their sizes then

    def _say(self, verdict: Verdict | None) -> None:
        comparison = self.comparison
        before, after = comparison.before, comparison.after
        if before is None or after is None:
            self.mark.setPixmap(icon("circle-dashed", "faint").pixmap(20, 20))
            self.headline.setText(
                f"Did {brief(self._offer[1].name)} help?" if self._offer else NOTHING
            )
            self.detail.setText("")
            return
        names = f"{_named(comparison, before)} → {_named(comparison, after)}"
        if verdict is None:
            done = sum(len(frames) for frames in comparison.judged.values())
            self.mark.setPixmap(icon("circle-dot", "accent").pixmap(20, 20))
            total = 2 * len(comparison.sample)
            self.headline.setText(f"Did it help? Looking at frames, {done} of {total}…")
            self.detail.setText(names)
            return
        name, colour = LOOKS[verdict.agreement.verdict]
        self.mark.setPixmap(icon(name, colour).pixmap(20, 20))
        self.headline.setText(verdict.headline)
        short = " → ".join(
            _named(comparison, run, name)
            for run, name in zip(
                (before, after), short_names([before.name, after.name]), strict=True
            )
        )
        used = "labels in last row only" if verdict.recall else "no label used"
        self.detail.setText(f"{verdict.frames} frames, {used}: {short}")
        self.detail.setToolTip(
            f"{names}\nThe headline rests on Agreement in {verdict.frames} frames: the change is "
            "told from chance\nwhere its 95 % interval, on the right, does not reach 0. Accuracy "
            "mostly follows agreement."
        )

    def _fill_table(self, verdict: Verdict | None) -> None:
        while self.table.count():
            item = self.table.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        if verdict is None:
            return
        measures = [
            verdict.agreement,
            *verdict.measures,
            *([verdict.recall] if verdict.recall else []),
        ]
        for line, measure in enumerate(measures):
            name, colour = LOOKS[measure.verdict]
            mark = QLabel()
            mark.setPixmap(icon(name, colour).pixmap(14, 14))
            cells = (
                mark, label(measure.name), label(_number(measure, measure.before), "muted"),
                label("→", "muted"), label(_number(measure, measure.after)),
                label(_change(measure), "small"),
            )  # fmt: skip
            for place, cell in enumerate(cells):
                cell.setToolTip(f"{measure.tip}. Right: the change's 95 % interval.")
                self.table.addWidget(cell, line, place)
        self.table.setColumnStretch(5, 1)

    def _fill_worst(self) -> None:
        scores, changes = self.comparison.scores(), self.comparison.changes()
        by_change = self.order.currentData() == CHANGED
        frames = self.comparison.most_changed() if by_change else self.comparison.worst()
        frames = frames[::-1] if self.order.currentData() == BEST else frames
        frames = frames[:SHOWN]
        self.list_side.setVisible(bool(frames))
        missing = [i for i in frames if i not in self._asked]
        if missing and not self.comparison.busy:  # the list has settled
            self._asked.update(missing)
            self.wantThumbnails.emit(missing)
        listed = [self.worst.item(i).data(INDEX) for i in range(self.worst.count())]
        if frames == listed:
            return
        current = self.worst.currentItem()
        chosen = current.data(INDEX) if current is not None else None
        self.worst.clear()
        for index in frames:
            told = f"agrees {scores[index]:.2f}"
            if by_change:
                told = " → ".join(f"{value:.2f}" for value in changes[index])
            item = QListWidgetItem(f"frame {index + 1}\n{told}")
            item.setData(INDEX, index)
            if index in self._pictures:
                item.setIcon(QIcon(self._pictures[index]))
            self.worst.addItem(item)
            if index == chosen:
                self.worst.setCurrentItem(item)

    def _on_order(self, _: int) -> None:
        self.worst.clear()
        self._fill_worst()

    def _on_most(self) -> None:
        if self.comparison.verdict is not None:
            self.frameWanted.emit(self.comparison.verdict.most_changed)


def _named(comparison: Comparison, run: Path, name: str = "") -> str:
    """A run and the step of its network; `name` instead of its own where there is little room."""
    step, told = comparison.steps.get(run), brief(name or run.name)
    return told if step is None else f"{told} (step {step})"


def _number(measure: Measure, value: float) -> str:
    return f"{value:.{measure.digits}f}{measure.unit}" if math.isfinite(value) else "none"


def _change(measure: Measure) -> str:
    """The interval of the change in words; "" where it is not known."""
    if not math.isfinite(measure.low):
        return ""
    if measure.low == measure.high == 0:
        return "no change"
    return f"{_signed(measure, measure.low)} to {_signed(measure, measure.high)}"


def _signed(measure: Measure, value: float) -> str:
    unit = " points" if measure.unit == " %" else measure.unit  # a change of shares is no share
    return f"{value:+.{measure.digits}f}{unit}".replace("-", "−")
