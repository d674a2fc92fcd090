"""Which jobs wait, run or are over. One runs at a time; the rest follow in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.jobs.job import Job, JobState
from studio.jobs.process_runner import ProcessJob
from studio.jobs.run_info import read_run
from studio.jobs.spec import JobSpec, spec_from
from studio.jobs.thread_runner import ThreadJob

Maker = Callable[[JobSpec, QObject], Job]
RUNNERS: dict[str, Maker] = {"process": ProcessJob, "thread": ThreadJob}


class JobQueue(QObject):
    """All jobs of the session."""

    added = Signal(object)
    changed = Signal(object)
    removed = Signal(object)
    reordered = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.jobs: list[Job] = []
        self._closing = False

    @property
    def active(self) -> list[Job]:
        return [job for job in self.jobs if job.state.active]

    @property
    def waiting(self) -> list[Job]:
        return [job for job in self.jobs if job.state is JobState.QUEUED]

    def find(self, run: Path) -> Job | None:
        """The newest job that writes into a run folder."""
        return next((job for job in reversed(self.jobs) if job.run == run), None)

    def under_way(self, run: Path) -> Job | None:
        """The job that works on a run folder or waits to; None where all of them are over."""
        job = self.find(run)
        return job if job is not None and not job.state.over else None

    def submit(self, spec: JobSpec, runner: str = "process") -> Job:
        """Add a job; it starts at once if nothing runs."""
        job = RUNNERS[runner](spec, self)
        self._adopt(job)
        self._start_next()
        return job

    def attach(self, run: Path) -> Job | None:
        """Follow a run that some other process is working on; None if none is."""
        info = read_run(run)
        known = self.under_way(run)
        if known is not None:
            return known
        if info is None or info.pid is None:
            return None
        job = ProcessJob.attach(spec_from(info), info.pid, self)
        self._adopt(job)
        return job

    def promote(self, job: Job) -> None:
        """Let a waiting job run before the others that wait."""
        waiting = self.waiting
        if job in waiting and waiting[0] is not job:
            self.jobs.remove(job)
            self.jobs.insert(self.jobs.index(waiting[0]), job)
            self.reordered.emit()

    def drop(self, job: Job) -> None:
        """Take a job that waits or is over off the list."""
        if job.state.active or job not in self.jobs:
            return
        self.jobs.remove(job)
        self.removed.emit(job)
        job.deleteLater()

    def close(self) -> None:
        """Let go of everything: processes go on, threads are stopped."""
        self._closing = True
        for job in self.active:
            job.detach()

    def _adopt(self, job: Job) -> None:
        self.jobs.append(job)
        job.stateChanged.connect(lambda: self._on_state(job))
        self.added.emit(job)

    def _on_state(self, job: Job) -> None:
        self.changed.emit(job)
        if job.state.over:
            self._start_next()

    def _start_next(self) -> None:
        if self._closing or self.active:
            return
        waiting = self.waiting
        if waiting:
            waiting[0].start()
