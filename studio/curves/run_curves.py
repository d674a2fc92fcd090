"""The curves of one run, and what happened along the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from self6d.events import Scalars
from studio.curves.series import Series, Smoothed


@dataclass
class RunCurves:
    """All curves of one run and what happened along the way.

    Attributes:
        name: the run's folder; the last part of it is what people read.
    """

    name: str
    raw: dict[str, Series] = field(default_factory=dict)
    smooth: dict[str, Smoothed] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)

    def add(self, batch: list[Scalars]) -> None:
        """Append the events of one delivery."""
        columns: dict[str, tuple[list[float], list[float]]] = {}
        for event in batch:
            for key, value in event.values.items():
                xs, ys = columns.setdefault(key, ([], []))
                xs.append(event.step)
                ys.append(value)
        for key, (xs, ys) in columns.items():
            self.extend(key, np.array(xs), np.array(ys))

    def extend(self, key: str, steps: np.ndarray, values: np.ndarray) -> None:
        raw = self.raw.setdefault(key, Series())
        raw.extend(steps, values)
        self.smooth.setdefault(key, Smoothed()).follow(raw)

    def take_newer(self, live: RunCurves) -> None:
        """Add what arrived live while these were read from the disk."""
        for key, series in live.raw.items():
            known = self.raw.get(key)
            newer = series.x > (known.x[-1] if known is not None and len(known) else -1)
            self.extend(key, series.x[newer], series.y[newer])
        newest = max(self.checkpoints, default=-1)  # an older one may have been deleted since
        self.checkpoints += [step for step in live.checkpoints if step > newest]
        self.marks += [mark for mark in live.marks if mark not in self.marks]

    @property
    def last_step(self) -> int:
        """Where the curves or the checkpoints end: the last one is saved after the last point."""
        ends = [int(s.x[-1]) for s in self.raw.values() if len(s)]
        return max([*ends, *self.checkpoints], default=0)
