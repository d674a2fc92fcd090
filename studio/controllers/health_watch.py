"""Pauses a run when its own health monitor first objects, so that the user can decide."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from self6d.events import Scalars
from studio.jobs import Job, JobState

STRIKES = "health/strikes"  # the run's own count of checks in a row that it objects to
TRUST, GAP = "health/trust", "health/depth_gap_m"


class HealthWatch(QObject):
    """Follows the strikes that stage-2 runs report; it judges nothing itself.

    The run ends at its second strike in a row; the first one pauses it here. Each fall is reported
    once.

    Signals:
        collapsed: (job, what happened).
    """

    collapsed = Signal(object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._told: set[Path] = set()

    def watch(self, job: Job) -> None:
        job.scalars.connect(lambda batch: self._on_scalars(job, batch))

    def _on_scalars(self, job: Job, batch: list[Scalars]) -> None:
        for event in batch:
            strikes = event.values.get(STRIKES)
            if strikes is None:
                continue
            if not strikes:
                self._told.discard(job.run)
            elif job.run not in self._told and job.state is JobState.RUNNING:
                self._told.add(job.run)
                job.pause()
                gap = event.values.get(GAP)
                apart = "" if gap is None else f", {1000 * gap:.0f} mm between rendering and depth"
                self.collapsed.emit(
                    job,
                    f"Health fell to {event.values.get(TRUST, 0.0):.2f}{apart} at step "
                    f"{event.step}: masks and depth no longer agree with the poses. The run is "
                    "paused.",
                )
