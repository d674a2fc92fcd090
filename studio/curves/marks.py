"""Marks at steps of a run, such as a weight that was changed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtCore import Qt

from studio.toolkit.theme import theme

TOP = 0.92  # of the plot's height


class Mark(pg.InfiniteLine):
    """A vertical line with its text on its right."""

    def __init__(self, step: int, text: str) -> None:
        colour = theme.tokens.warn
        super().__init__(
            step, angle=90, label=text, pen=pg.mkPen(colour, style=Qt.PenStyle.DashLine),
            labelOpts={"position": TOP, "color": colour, "anchors": [(0, 0.5), (0, 0.5)]},
        )  # fmt: skip


def spread(marks: Sequence[Mark], view: pg.ViewBox) -> None:
    """Give texts that would lie on one another lines of their own, from the top downwards.

    Args:
        view: what the marks are in; the steps it shows say how near they are.
    """
    (low, high), _ = view.viewRange()
    per_step = view.width() / max(high - low, 1e-9)
    tall = max((mark.label.boundingRect().height() for mark in marks), default=1.0)
    lines = max(int(TOP * view.height() / tall), 1)
    ends = [-float("inf")] * lines  # pixels, of the last text in each line
    for mark in sorted(marks, key=lambda mark: mark.value()):
        left = (mark.value() - low) * per_step
        free = (i for i, end in enumerate(ends) if left >= end)
        line = next(free, ends.index(min(ends)))
        ends[line] = left + mark.label.boundingRect().width()
        mark.label.setPosition(TOP - line * tall / max(view.height(), 1.0))
