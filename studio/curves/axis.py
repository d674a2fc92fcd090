"""The axis of the curves' values."""

from __future__ import annotations

import math

import pyqtgraph as pg

LABEL_HEIGHT = 14.0  # pixels, with the gap to the next one


class ValueAxis(pg.AxisItem):
    """Even ticks; on the logarithmic scale they are labelled with the values they stand for."""

    def __init__(self, side: str) -> None:
        super().__init__(side)
        self._log = True

    def set_log(self, on: bool) -> None:
        self._log = on
        self.picture = None  # pyqtgraph's own cache
        self.update()

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        """Distances of ticks and their offsets; none so near that labels lie on one another."""
        near = (high - low) * LABEL_HEIGHT / max(size, 1.0)
        levels = super().tickSpacing(low, high, size)
        wide = [level for level in levels if level[0] >= near]
        coarsest = max(spacing for spacing, _ in levels)
        while not wide:
            coarsest *= 2
            wide = [(coarsest, 0.0)] if coarsest >= near else []
        return wide

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        """Ticks of each distance; in a plot too low for even ticks one in its middle."""
        levels = super().tickValues(low, high, size)
        if any(len(values) for _, values in levels):
            return levels
        return [(high - low, [(low + high) / 2])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if not self._log:
            return super().tickStrings(values, scale, spacing)
        numbers = [10**value for value in values]
        # as many digits as tell neighbours apart: 0.995 is not 1
        digits = max(2, 1 + math.ceil(-math.log10(10**spacing - 1)))
        whole = digits == 2
        return [f"{x:.0f}" if whole and 10 <= x < 1e5 else f"{x:.{digits}g}" for x in numbers]
