"""Jobs that go on from what another job makes, and what becomes of them when that one ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.controllers.runs import RunControl
from studio.jobs import Job, JobState
from studio.jobs.run_info import is_run, nothing_right
from studio.jobs.spec import JobSpec


class Chain(QObject):
    """Keeps what waits for a run in step with it.

    A run that is done, or that was stopped with something learned, is gone on from: what waits for
    it takes its turn. Where a run left nothing to go on from, what waits is taken off the queue and
    kept here; it waits again as soon as that run is resumed. Of a run that was taken off the queue
    before it began nothing can come: what waits for it goes too.
    """

    goesOn = Signal(object, list)  # a job that was stopped, specs of what now goes on from it
    halted = Signal(object, list)  # a job, specs of what does not start without it

    def __init__(self, runs: RunControl, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runs, self._queue = runs, runs.queue
        self._held: list[JobSpec] = []  # in the order they waited
        self._queue.changed.connect(self._on_changed)
        self._queue.added.connect(self._on_added)
        self._queue.removed.connect(self._on_removed)
        runs.discarded.connect(self._on_discarded)

    @property
    def waiting(self) -> list[JobSpec]:
        """All that waits, taken off the queue or not: what a restart has to offer again."""
        return [*(job.spec for job in self._queue.waiting), *self._held]

    def hold(self, specs: Iterable[JobSpec]) -> None:
        """What waited when the window was closed, until the runs it needs are resumed."""
        self._held += specs

    def _on_changed(self, job: Job) -> None:
        if not job.state.over or job.state is JobState.DONE:
            return
        _, waiting = _parted(job.run, [one.spec for one in self._queue.waiting])
        if not waiting:
            return
        if usable(job):
            self.goesOn.emit(job, waiting)
            return
        self._drop(waiting)
        self._held += waiting
        self.halted.emit(job, waiting)

    def _drop(self, specs: list[JobSpec]) -> None:
        # the last first, so that none of them is one that another waits for
        for job in reversed([job for job in self._queue.waiting if job.spec in specs]):
            self._queue.drop(job)

    def _on_removed(self, job: Job) -> None:
        if job.state is not JobState.QUEUED or is_run(job.run):
            return
        _, waiting = _parted(job.run, [one.spec for one in self._queue.waiting])
        if waiting:
            self._drop(waiting)
            self.halted.emit(job, waiting)

    def _on_added(self, job: Job) -> None:
        if not job.spec.resume:
            return
        self._held, back = _parted(job.run, self._held)
        if back:  # once the resumed one has begun: they wait for it
            QTimer.singleShot(0, self, lambda: self._wait_again(back))

    def _wait_again(self, specs: list[JobSpec]) -> None:
        renamed: dict[Path | None, Path] = {}
        for spec in specs:
            start = renamed.get(spec.from_run, spec.from_run)
            renamed[spec.out] = self._runs.submit(replace(spec, from_run=start)).run

    def _on_discarded(self, job: Job) -> None:
        """Its run is gone for good, and all that it was to bring about."""
        self._held, _ = _parted(job.run, self._held)


def usable(job: Job) -> bool:
    """Whether a job that was stopped early has learned something that another can go on from."""
    ending = job.ending
    return (
        job.state is JobState.STOPPED
        and ending is not None
        and ending.step > 0
        and not nothing_right(ending.result)
    )


def needs(spec: JobSpec) -> set[Path]:
    """Folders of the runs that a job begins from."""
    poses, refiner = spec.options.get("poses"), spec.options.get("refiner")
    named = [spec.from_run, refiner, None if poses is None else Path(poses).parent, poses]
    return {Path(path) for path in named if path is not None}


def _parted(run: Path, specs: list[JobSpec]) -> tuple[list[JobSpec], list[JobSpec]]:
    """Those that need nothing of a run, and those that need it, or one of these."""
    others, dependent, made = [], [], {run}
    for spec in specs:
        if needs(spec) & made:
            dependent.append(spec)
            made.add(spec.out)
        else:
            others.append(spec)
    return others, dependent
