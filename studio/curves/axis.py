"""The axis of the curves' values."""

from __future__ import annotations

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
        return [f"{x:.0f}" if 10 <= x < 1e5 else f"{x:.2g}" for x in numbers]
