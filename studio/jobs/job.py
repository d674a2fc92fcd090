"""What every job is to the window, whoever does the work."""

from __future__ import annotations

import enum
import time
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from self6d.events import CheckpointSaved, Event, Finished, Note, Preparing, Progress
from studio.jobs.messages import Mailbox, Status
from studio.jobs.spec import JobSpec


class JobState(enum.Enum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        return self in (JobState.DONE, JobState.STOPPED, JobState.FAILED)

    @property
    def active(self) -> bool:
        return not self.over and self is not JobState.QUEUED


class Job(QObject):
    """A run in the background. Its signals arrive in the window's thread at a bearable rate."""

    stateChanged = Signal()
    scalars = Signal(list)
    preview = Signal(object)
    progress = Signal(object)
    preparing = Signal(object)
    note = Signal(object)
    checkpoint = Signal(object)
    finished = Signal(object)

    def __init__(self, spec: JobSpec, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.spec = spec
        self.state = JobState.QUEUED
        self.last_progress: Progress | None = None
        self.last_preparing: Preparing | None = None  # None while it makes steps
        self.last_checkpoint: CheckpointSaved | None = None
        self.ending: Finished | None = None
        self.details = ""
        self._since: float | None = None
        self._phase_since = 0.0
        self._made_here = False  # an attached run is somebody else's
        self.mailbox = Mailbox(self)
        self.mailbox.scalars.connect(self.scalars)
        self.mailbox.preview.connect(self.preview)
        self.mailbox.progress.connect(self._on_progress)
        self.mailbox.preparing.connect(self._on_preparing)
        self.mailbox.other.connect(self._on_event)

    @property
    def run(self) -> Path:
        return self.spec.out

    @property
    def step(self) -> int | None:
        """Steps made, as far as is known: they are told now and then, the end for certain."""
        if self.ending is not None:
            return self.ending.step
        return None if self.last_progress is None else self.last_progress.step

    def start(self) -> None:
        raise NotImplementedError

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Save, then stop: the first rung of the ladder."""
        raise NotImplementedError

    def terminate(self) -> None:
        """The second rung: ask the system to end it; the last checkpoint remains."""
        raise NotImplementedError

    def kill(self) -> None:
        """The last rung."""
        raise NotImplementedError

    def save_now(self) -> None:
        raise NotImplementedError

    def set_live(self, values: dict[str, float]) -> None:
        """Change loss weights from the next step on."""
        raise NotImplementedError

    def detach(self) -> None:
        """Stop watching. A process goes on by itself; a thread cannot and is stopped."""
        raise NotImplementedError

    @property
    def survives_window(self) -> bool:
        return False

    @property
    def discardable(self) -> bool:
        """Whether its folder holds nothing but what this job made."""
        return not self.spec.resume and self._made_here

    @property
    def before_steps(self) -> bool:
        """Whether it is at work but makes no steps: before the first one, or between two."""
        at_work = self.state in (JobState.STARTING, JobState.RUNNING)
        return at_work and (self.last_progress is None or self.last_preparing is not None)

    @property
    def age_s(self) -> float | None:
        """Seconds since it was started here; None where somebody else did."""
        return None if self._since is None else time.monotonic() - self._since

    @property
    def phase_s(self) -> float:
        """Seconds since it told of what it does now, other than steps."""
        return time.monotonic() - self._phase_since

    def _begin(self) -> None:
        """Called first by `start`."""
        self._since, self._made_here = time.monotonic(), not self.run.exists()

    def _enter(self, state: JobState) -> None:
        if state is not self.state:
            self.state = state
            self.stateChanged.emit()

    def _on_progress(self, progress: Progress) -> None:
        self.last_progress, self.last_preparing = progress, None
        if self.state is JobState.STARTING:
            self._enter(JobState.RUNNING)
        self.progress.emit(progress)

    def _on_preparing(self, preparing: Preparing) -> None:
        before, self.last_preparing = self.last_preparing, preparing
        if before is None or before.what != preparing.what:
            self._phase_since = time.monotonic()
        if self.state is JobState.STARTING:
            self._enter(JobState.RUNNING)
        self.preparing.emit(preparing)

    def _on_event(self, event: Event | Status) -> None:
        if isinstance(event, Status):
            if self.state in (JobState.STARTING, JobState.RUNNING, JobState.PAUSED):
                known = {"paused": JobState.PAUSED, "running": JobState.RUNNING}
                self._enter(known.get(event.text, self.state))
        elif isinstance(event, Note):
            self.note.emit(event)
        elif isinstance(event, CheckpointSaved):
            self.last_checkpoint = event
            self.checkpoint.emit(event)
        elif isinstance(event, Finished):
            self.ending = event
            states = {"done": JobState.DONE, "stopped": JobState.STOPPED}
            self._enter(states.get(event.reason, JobState.FAILED))
            self.finished.emit(event)
