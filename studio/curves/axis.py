"""The axis of the curves' values."""

from __future__ import annotations

import math

import pyqtgraph as pg


class ValueAxis(pg.AxisItem):
    """Even ticks; on the logarithmic scale they are labelled with the values they stand for."""

    def __init__(self, side: str) -> None:
        super().__init__(side)
        self._log = True

    def set_log(self, on: bool) -> None:
        self._log = on
        self.picture = None  # pyqtgraph's own cache
        self.update()

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if not self._log:
            return super().tickStrings(values, scale, spacing)
        numbers = [10**value for value in values]
        # as many digits as tell neighbours apart: 0.995 is not 1
        digits = max(2, 1 + math.ceil(-math.log10(10**spacing - 1)))
        whole = digits == 2
        return [f"{x:.0f}" if whole and 10 <= x < 1e5 else f"{x:.{digits}g}" for x in numbers]
