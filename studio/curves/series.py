"""A growing curve that can be drawn at any zoom at the cost of one screen's width.

Raw values live in arrays that double as they grow. Above them stands a pyramid: level k keeps the
minimum and the maximum of every block of FACTOR^k values. To draw, the coarsest level that still
gives each pixel column its own block is sent to the screen, so peaks are never lost.
"""

from __future__ import annotations

import numpy as np

FACTOR = 4
SMALLEST = 256


class Series:
    """Values over increasing steps. A step that comes again cuts what followed it."""

    def __init__(self) -> None:
        self._x = np.empty(SMALLEST)
        self._y = np.empty(SMALLEST)
        self._size = 0
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        self._built: list[int] = []  # blocks of each level that are final

    def __len__(self) -> int:
        return self._size

    @property
    def x(self) -> np.ndarray:
        """(N,) float64 steps."""
        return self._x[: self._size]

    @property
    def y(self) -> np.ndarray:
        """(N,) float64 values."""
        return self._y[: self._size]

    def extend(self, x: np.ndarray, y: np.ndarray) -> None:
        """Append points. After a resume the steps may begin again below the last one."""
        x = np.asarray(x, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        if len(x) == 0:
            return
        if self._size and x[0] <= self._x[self._size - 1]:
            self._cut(int(np.searchsorted(self.x, x[0])))
        needed = self._size + len(x)
        if needed > len(self._x):
            room = max(needed, 2 * len(self._x))
            self._x = np.concatenate((self.x, np.empty(room - self._size)))
            self._y = np.concatenate((self.y, np.empty(room - self._size)))
        self._x[self._size : needed] = x
        self._y[self._size : needed] = y
        self._size = needed
        self._build()

    def append(self, x: float, y: float) -> None:
        self.extend(np.array([x]), np.array([y]))

    def at(self, step: float) -> float | None:
        """The value of the last point at or before a step."""
        index = int(np.searchsorted(self.x, step, side="right")) - 1
        return float(self._y[index]) if index >= 0 else None

    def view(self, x0: float, x1: float, width: int) -> tuple[np.ndarray, np.ndarray]:
        """What to draw between two steps on `width` pixel columns: at most 4 x width points."""
        start = max(int(np.searchsorted(self.x, x0)) - 1, 0)
        end = min(int(np.searchsorted(self.x, x1, side="right")) + 1, self._size)
        count, level = end - start, 0
        if count <= 4 * width or not self._levels:
            return self.x[start:end], self.y[start:end]
        while level < len(self._levels) and (level == 0 or 2 * count / FACTOR**level > 4 * width):
            level += 1  # a block is drawn as two numbers
        return self._blocks(start, end, level)

    def _blocks(self, start: int, end: int, level: int) -> tuple[np.ndarray, np.ndarray]:
        block = FACTOR**level
        low, high = self._levels[level - 1]
        final = self._built[level - 1]
        first, last = start // block, min(end // block, final)
        middle = self._x[first * block : last * block : block][: last - first]
        x = np.repeat(middle, 2)
        y = np.empty(2 * len(middle))
        y[0::2] = low[first:last][: len(middle)]
        y[1::2] = high[first:last][: len(middle)]
        tail = slice(last * block, end)  # the newest values, not yet a whole block
        return np.concatenate((x, self._x[tail])), np.concatenate((y, self._y[tail]))

    def _cut(self, size: int) -> None:
        self._size = size
        for level in range(len(self._levels)):
            self._built[level] = min(self._built[level], size // FACTOR ** (level + 1))

    def _build(self) -> None:
        level = 0
        low_in, high_in, count = self._y, self._y, self._size
        while count // FACTOR >= SMALLEST // FACTOR:
            blocks = count // FACTOR
            if level == len(self._levels):
                self._levels.append((np.empty(SMALLEST), np.empty(SMALLEST)))
                self._built.append(0)
            low, high = self._levels[level]
            if blocks > len(low):
                room = max(blocks, 2 * len(low))
                low = np.concatenate((low, np.empty(room - len(low))))
                high = np.concatenate((high, np.empty(room - len(high))))
                self._levels[level] = (low, high)
            done = self._built[level]
            if blocks > done:
                part = slice(done * FACTOR, blocks * FACTOR)
                low[done:blocks] = np.fmin.reduce(low_in[part].reshape(-1, FACTOR), axis=1)
                high[done:blocks] = np.fmax.reduce(high_in[part].reshape(-1, FACTOR), axis=1)
                self._built[level] = blocks
            low_in, high_in, count = low, high, blocks
            level += 1


class Smoothed(Series):
    """Exponential moving average of another series, kept up to date as that one grows.

    Bias-corrected: s_n = sum_i a^(n-i) y_i / sum_i a^(n-i), so it starts at the first value.
    """

    def __init__(self, weight: float = 0.98) -> None:
        super().__init__()
        self.weight = weight
        self._sum = 0.0
        self._norm = 0.0

    def follow(self, raw: Series) -> None:
        """Take over points of `raw` that are new, or everything if it was cut."""
        if len(self) > len(raw) or (len(self) and self._x[len(self) - 1] != raw.x[len(self) - 1]):
            self._cut(0)
            self._sum = self._norm = 0.0
        start = len(self)
        if start == len(raw):
            return
        values = raw.y[start:]
        out = np.empty(len(values))
        total, norm, a = self._sum, self._norm, self.weight
        for i, value in enumerate(values.tolist()):
            if value == value:
                total, norm = a * total + value, a * norm + 1.0
            out[i] = total / norm if norm else np.nan
        self._sum, self._norm = total, norm
        self.extend(raw.x[start:], out)
