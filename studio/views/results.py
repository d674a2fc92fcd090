"""The table of scores: a row an object and run, the runs of an object under each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QFont, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
)

from studio.toolkit.theme import theme


@dataclass(frozen=True)
class Measure:
    """A column group: a key of an object's scores and how it is shown.

    Attributes:
        most: value of a full bar; None: the group's own greatest.
    """

    key: str
    caption: str
    scale: float
    digits: int
    more_is_better: bool
    tip: str

    @property
    def most(self) -> float | None:
        return 1.0 if self.scale == 100 else None


MEASURES = (
    Measure("recall_10", "ADD(-S)\n10 %", 100, 1, True,
            "Share of instances with ADD(-S) below 10 % of the diameter"),
    Measure("rotation_deg", "rotation\n°", 1, 1, False, "Median rotation error"),
    Measure("translation_mm", "shift\nmm", 1, 1, False, "Median translation error"),
    Measure("mask_f1", "mask F1\n%", 100, 1, True, "F1 of the predicted visible mask"),
    Measure("mask_iou", "mask IoU\n%", 100, 1, True, "IoU of the predicted visible mask"),
    Measure("recall_5", "ADD(-S)\n5 %", 100, 1, True, "Recall at 5 % of the diameter"),
    Measure("detection_recall", "found\n%", 100, 1, True, "Share found with a box IoU of 0.5"),
)  # fmt: skip
RUN, OBJECT = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
BAR, CHANGE = Qt.ItemDataRole.UserRole + 2, Qt.ItemDataRole.UserRole + 3
BAR_PX = 3
FIRST = 2  # column of the first measure, after object and run
NARROWEST, WIDEST = 66, 150  # pixels of a column
HIGH, HIGHER = 28, 46  # of a row: with a number, with its change under it


class NoWider(QStyledItemDelegate):
    """Rows as wide as their list: what is longer is elided instead of scrolled to."""

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        return QSize(1, super().sizeHint(option, index).height())


class _Bars(QStyledItemDelegate):
    """A number with a bar at its foot: as long as its share, in the colour of its change."""

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        super().paint(painter, option, index)
        share = index.data(BAR)
        if share is not None:
            area = option.rect.adjusted(4, option.rect.height() - BAR_PX - 1, -4, -1)  # type: ignore[attr-defined]
            painter.fillRect(area, theme.colour("raised"))
            area.setWidth(round(area.width() * min(max(share, 0.0), 1.0)))
            painter.fillRect(area, theme.colour(index.data(CHANGE) or "accent"))


class _Cell(QTableWidgetItem):
    """Sorts by number, the mean always first."""

    def __init__(self, text: str, value: float, is_mean: bool) -> None:
        super().__init__(text)
        self.value, self.is_mean = value, is_mean
        self.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        if isinstance(other, _Cell):
            if self.is_mean != other.is_mean:
                ascending = self.tableWidget().horizontalHeader().sortIndicatorOrder()
                return self.is_mean == (ascending == Qt.SortOrder.AscendingOrder)
            return self.value < other.value
        return super().__lt__(other)


class ResultsTable(QTableWidget):
    """Shows evaluations as `Results.to_dict` gives them.

    `cellChosen` carries (position of the run, object id or None for the mean).
    """

    cellChosen = Signal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setMinimumSectionSize(NARROWEST)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.currentItemChanged.connect(self._on_current)
        theme.changed.connect(self._recolour)
        self._runs: list[dict[str, Any]] = []
        self.setItemDelegate(_Bars(self))

    def show_runs(
        self, runs: list[dict[str, Any]], names: list[str], start: int | None = None
    ) -> None:
        """Fill the table; the best of each group is bold, and each number has its bar.

        Args:
            names: of the runs, as they stand beside the objects.
            start: place of the run that the others are held against: they say how far they moved.
        """
        self._runs = runs
        self.setSortingEnabled(False)
        self.clear()
        shown = [m for m in MEASURES if any(r["mean"].get(m.key) is not None for r in runs)]
        self.setColumnCount(FIRST + len(shown))
        self.setHorizontalHeaderLabels(["object", "run", *(m.caption for m in shown)])
        objects = [(o["object_id"], o["name"]) for o in runs[0]["objects"]] if runs else []
        objects.insert(0, (None, "mean"))  # what it comes to is in sight without scrolling
        self.setRowCount(len(objects) * len(runs))
        for line, (number, name) in enumerate(objects):
            first = line * len(runs)
            for i, name_of_run in enumerate(names):
                step = runs[i].get("step") if start is not None else None  # two lines high then
                run_name = name_of_run if step is None else f"{name_of_run}\nstep {step}"
                self.setItem(first + i, 0, self._name_cell(name, number, first + i))
                self.setItem(first + i, 1, self._name_cell(run_name, number, first + i))
            for group, measure in enumerate(shown):
                values = [_score(run, number, measure.key) for run in runs]
                best = _best(values, measure)
                base = values[start] if start is not None else None
                most = measure.most or max((v for v in values if v is not None), default=0.0)
                for i, value in enumerate(values):
                    cell = self._cell(measure, value, i, number, bold=i == best)
                    if value is not None:
                        cell.setData(BAR, value / most if most else 0.0)
                        if base is not None and i != start:
                            self._say_change(cell, measure, value - base, names[start or 0])
                    self.setItem(first + i, FIRST + group, cell)
        header, left = self.horizontalHeader(), Qt.AlignmentFlag.AlignLeft
        for column in range(self.columnCount()):
            named = column < FIRST
            head = self.horizontalHeaderItem(column)
            if head is not None and named:
                head.setTextAlignment(left | Qt.AlignmentFlag.AlignVCenter)
            elif head is not None:
                head.setToolTip(shown[column - FIRST].tip)
            to_fit = QHeaderView.ResizeMode.ResizeToContents if named else (
                QHeaderView.ResizeMode.Stretch)  # fmt: skip
            header.setSectionResizeMode(column, to_fit)
        header.setMaximumSectionSize(WIDEST)
        self.verticalHeader().setDefaultSectionSize(HIGH if start is None else HIGHER)
        self.setColumnHidden(1, len(runs) < 2)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)

    def _name_cell(self, name: str, number: int | None, line: int) -> _Cell:
        cell = _Cell(name, float(line), number is None)
        cell.setToolTip(name)
        cell.setData(RUN, -1)
        cell.setData(OBJECT, number)
        self._embolden(cell, number is None)
        return cell

    def _cell(
        self, measure: Measure, value: float | None, run: int, number: int | None, *, bold: bool
    ) -> _Cell:
        if value is None:
            worst = float("-inf") if measure.more_is_better else float("inf")
            cell = _Cell("–", worst, number is None)
        else:
            scaled = value * measure.scale
            cell = _Cell(f"{scaled:.{measure.digits}f}", scaled, number is None)
        cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        cell.setData(RUN, run)
        cell.setData(OBJECT, number)
        cell.setToolTip("Click for the worst frames")
        self._embolden(cell, bold)
        return cell

    def _say_change(
        self, cell: QTableWidgetItem, measure: Measure, change: float, start: str
    ) -> None:
        moved = round(change * measure.scale, measure.digits)
        if not moved:
            cell.setText(f"{cell.text()}\n(=)")
            return
        cell.setText(f"{cell.text()}\n({moved:+.{measure.digits}f})".replace("(-", "(\u2212"))
        better = (moved > 0) == measure.more_is_better
        cell.setData(CHANGE, "good" if better else "bad")
        cell.setToolTip(f"{'Better' if better else 'Worse'} than {start or 'its start'}. "
                        "Click for the worst frames")  # fmt: skip

    def _embolden(self, cell: QTableWidgetItem, bold: bool) -> None:
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
        cell.setFont(font)

    def _on_current(self, cell: QTableWidgetItem | None, _: object) -> None:
        if cell is not None and cell.data(RUN) is not None and cell.data(RUN) >= 0:
            self.cellChosen.emit(cell.data(RUN), cell.data(OBJECT))

    def _recolour(self) -> None:
        self.viewport().update()


def worst_instances(run: dict[str, Any], object_id: int | None, count: int = 24) -> list[dict]:
    """Instances of an object (or all) by their error, misses first."""
    chosen = [
        i for i in run["instances"] if object_id is None or i["object_id"] == object_id
    ]  # fmt: skip

    def badness(i: dict) -> float:
        return float("inf") if i["add_m"] is None else i["add_m"] / i["diameter_m"]

    return sorted(chosen, key=badness, reverse=True)[:count]


def _score(run: dict[str, Any], number: int | None, key: str) -> float | None:
    if number is None:
        return run["mean"].get(key)
    return next((o.get(key) for o in run["objects"] if o["object_id"] == number), None)


def _best(values: list[float | None], measure: Measure) -> int:
    """Position of the best value as shown; -1 where none stands out."""
    shown = [None if v is None else round(v * measure.scale, measure.digits) for v in values]
    known = [v for v in shown if v is not None]
    if len(known) < 2 or min(known) == max(known):
        return -1
    return shown.index(max(known) if measure.more_is_better else min(known))


def short_names(names: list[str]) -> list[str]:
    """Run names without the part that all share at their beginning."""
    if len(names) < 2:
        return [""] * len(names)
    shared = 0
    while all(len(n) > shared + 1 and n[shared] == names[0][shared] for n in names):
        shared += 1
    cut = names[0].rfind("-", 0, shared + 1) + 1
    return [n[cut:] for n in names]
