"""Pauses a run whose health collapses, before its own guard ends it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from self6d.events import Scalars
from studio.jobs import Job, JobState

HEALTH = "health/trust"
COLLAPSE = "adapt.collapse"  # the setting of the run that says what a collapse is
DEFAULT_COLLAPSE = 0.5


class HealthWatch(QObject):
    """Watches the health of stage-2 jobs: mask and depth agreement, judged without labels.

    The run itself ends at the second check in a row below its limit; the first one pauses it here,
    so that the user can decide. Each fall is reported once.

    Signals:
        collapsed: (job, what happened).
    """

    collapsed = Signal(object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._best: dict[Path, float] = {}
        self._told: set[Path] = set()

    def watch(self, job: Job) -> None:
        job.scalars.connect(lambda batch: self._on_scalars(job, batch))

    def _on_scalars(self, job: Job, batch: list[Scalars]) -> None:
        for event in batch:
            health = event.values.get(HEALTH)
            if health is None:
                continue
            best = self._best[job.run] = max(health, self._best.get(job.run, health))
            limit = float(job.spec.overrides.get(COLLAPSE, DEFAULT_COLLAPSE)) * best
            if health >= limit:
                self._told.discard(job.run)
            elif job.run not in self._told and job.state is JobState.RUNNING:
                self._told.add(job.run)
                job.pause()
                self.collapsed.emit(
                    job,
                    f"Health fell from {best:.2f} to {health:.2f} at step {event.step}: masks and "
                    "depth no longer agree with the poses. The run is paused.",
                )
