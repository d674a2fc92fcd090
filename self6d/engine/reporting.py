"""How the loop speaks: events to the listener and to disk, patient when it cannot write."""

from __future__ import annotations

import contextlib
import errno
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from self6d.errors import StorageError
from self6d.events import (
    CheckpointSaved,
    Event,
    Finished,
    Listener,
    Note,
    Preparing,
    Preview,
    Progress,
    Told,
)
from self6d.runs.control import Control, ControlFile
from self6d.runs.event_log import EventWriter
from self6d.runs.folder import RunFolder

FLUSH_S = 0.1
PREVIEW_S = 0.2
PREPARING_S = 0.5
LOGGED_PROGRESS_S = 1.0
LOGGED_PROGRESSES = 5000  # after so many seconds they come less and less often: a bounded log
RETRY_S = 1.0
GIVE_UP_S = 30.0  # a disk that fails for a moment ends no run

T = TypeVar("T")


class Reporter:
    """Sends events out and looks for requests.

    Args:
        run: where events are written.
        listener: gets every event.
        control, inbox: requests from this process and from the control file.
        beat: called often while the job lives.
    """

    def __init__(
        self,
        run: RunFolder,
        listener: Listener | None,
        control: Control,
        inbox: ControlFile,
        beat: Callable[[], None],
    ) -> None:
        self._run = run
        self._listener = listener or (lambda event: None)
        self._control, self._inbox, self._beat = control, inbox, beat
        self._writer = EventWriter(run.events_path)
        self._flushed = self._polled = self._progressed = self._logged_progress = 0.0
        self._began = time.monotonic()
        self._previewed: dict[str, float] = {}
        self._newest: Progress | None = None

    def emit(self, event: Event) -> None:
        """Send an event; notes, checkpoints and the end are on disk when this returns."""
        self._listener(event)
        self._writer.add(event)
        urgent = isinstance(event, Note | CheckpointSaved | Finished)
        if urgent or time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        self.patiently(self._writer.flush)
        self._flushed = time.monotonic()

    def progress(self, event: Progress) -> None:
        """At most ten a second to the listener; to disk one a second, on long runs fewer."""
        now, self._newest = time.monotonic(), event
        if now - self._progressed < FLUSH_S and event.step < event.total:
            return
        self._progressed = now
        self._listener(event)
        pause = max(LOGGED_PROGRESS_S, (now - self._began) / LOGGED_PROGRESSES)
        if now - self._logged_progress >= pause:
            self._logged_progress = now
            self._writer.add(event)

    def preparing(self, event: Preparing) -> None:
        """On disk when this returns: whoever waits reads it there."""
        self.emit(event)
        self.flush()

    def preview(self, event: Preview, always: bool = False) -> None:
        """At most five a second of each name, unless `always`; on disk the newest replaces all."""
        now = time.monotonic()
        if not always and now - self._previewed.get(event.name, -PREVIEW_S) < PREVIEW_S:
            return
        self._previewed[event.name] = now
        self.patiently(lambda: self._run.save_preview(event))
        self._listener(event)

    def poll(self) -> None:
        """Look for requests in the control file, ten times a second at most."""
        now = time.monotonic()
        if now - self._polled >= FLUSH_S:
            self._polled = now
            self._inbox.poll(self._control)
            self._beat()

    def status(self, status: str, **info: Any) -> None:
        """Write the run's state into run.json."""
        self.patiently(lambda: self._run.update(status=status, **info))

    def patiently(self, write: Callable[[], T]) -> T:
        """Do `write`; while it fails for the storage's sake, wait for the fault to be mended.

        Raises:
            StorageError: stop was requested meanwhile, or nobody mends it, see `Control`.
        """
        failing_since: float | None = None
        while True:
            try:
                if failing_since is not None:
                    self._run.ensure()
                value = write()
            except OSError as error:
                if failing_since is None:
                    failing_since = time.monotonic()
                    self._say_paused(error)
                self._wait_or_stop(error, time.monotonic() - failing_since)
                continue
            if failing_since is not None:
                self._say_going_on()
            return value

    def _say_paused(self, error: OSError) -> None:
        """To the listener alone: nothing can be written."""
        patience = (
            "the job waits and loses nothing" if self._control.patient
            else f"it is tried for {GIVE_UP_S:g} s, then the run ends with its last checkpoint"
        )  # fmt: skip
        path, why, mend = _fault(self._run, error)
        self._listener(Note("error", f"paused: cannot write {path}: {why}. {mend}; {patience}"))
        if self._newest is not None:
            self._listener(replace(self._newest, seconds_left=None, phase="paused"))

    def _say_going_on(self) -> None:
        note = Note("info", "the run folder can be written again; going on")
        self._listener(note)
        self._writer.add(note)
        if self._newest is not None:
            self._listener(self._newest)
        with contextlib.suppress(OSError):
            self._run.update()  # whoever follows the folder looks at its state again

    def finish(self, event: Finished, *, step: int) -> None:
        """The last words of a job that did what it was asked; waits for a storage that fails."""
        self.status(event.reason, step=step, result=event.result)
        self.emit(event)
        with contextlib.suppress(OSError):
            self._inbox.clear()

    def fail(self, event: Finished, *, step: int) -> None:
        """The last words of a job that failed. Does not wait for a storage that fails as well."""
        self._writer.add(event)
        with contextlib.suppress(OSError):
            self._writer.flush()
        with contextlib.suppress(OSError):
            self._run.update(status="failed", step=step, error=event.reason)
        with contextlib.suppress(OSError):
            self._inbox.clear()
        self._listener(event)

    def _wait_or_stop(self, error: OSError, failing_s: float) -> None:
        self._control.wait(RETRY_S)
        self._inbox.poll(self._control)
        self._beat()
        if self._control.stopping:
            raise self._ended("stopped while it could not be written", error)
        if failing_s > GIVE_UP_S and not self._control.patient:
            raise self._ended("cannot be written", error)

    def _ended(self, what: str, error: OSError) -> StorageError:
        path, why, mend = _fault(self._run, error)
        last = self._run.latest_checkpoint()
        if last is not None:
            then = f"go on from {last.name}, which is kept, with --resume"
        elif self._run.path.exists():
            then = "start again: nothing was kept yet"
        else:
            then = "go on with --resume"
        return StorageError(f"{what} ({why})", path=path, remedy=f"{mend}, then {then}.")


class DeferredScalars:
    """Scalars of one step, some perhaps still being computed by the device.

    Args:
        step: which step.
        values: numbers or 0-dim tensors. Tensors start their way to the host at once, together.
    """

    def __init__(self, step: int, values: dict[str, float | Tensor]) -> None:
        self.step = step
        self._plain = {k: float(v) for k, v in values.items() if not isinstance(v, Tensor)}
        tensors = {k: v for k, v in values.items() if isinstance(v, Tensor)}
        self._order = list(values)
        self._names = list(tensors)
        self._ready: torch.cuda.Event | None = None
        self._host = torch.empty(0)
        if tensors:
            stacked = torch.stack([v.detach().double().reshape(()) for v in tensors.values()])
            if stacked.is_cuda:
                self._host = torch.empty(len(tensors), dtype=torch.float64, pin_memory=True)
                self._host.copy_(stacked, non_blocking=True)
                self._ready = torch.cuda.Event()
                self._ready.record()
            else:
                self._host = stacked

    @property
    def deferred(self) -> bool:
        """Whether the numbers may not be there yet."""
        return self._ready is not None

    def get(self) -> dict[str, float]:
        """All numbers, in the order given; waits for those that are on their way."""
        if self._ready is not None:
            self._ready.synchronize()
        found = {**self._plain, **dict(zip(self._names, self._host.tolist(), strict=True))}
        return {name: found[name] for name in self._order}


class TimeLeft:
    """Seconds left, from the durations of recent steps.

    A mean forgets slowly (a checkpoint now and then counts with its share), and one stall, such as
    a suspended laptop, counts as at most ten usual steps.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=64)
        self._mean: float | None = None

    def add(self, seconds: float) -> None:
        """The duration of one more step, all around it included."""
        if len(self._recent) >= 5:
            seconds = min(seconds, 10 * statistics.median(self._recent))
        self._recent.append(seconds)
        if len(self._recent) < 5:  # first steps compile and warm up
            self._mean = min(self._recent)
        else:
            assert self._mean is not None
            self._mean += 0.05 * (seconds - self._mean)

    def estimate(self, steps: int) -> float | None:
        """Seconds that `steps` more steps will take; None before the third."""
        if self._mean is None or len(self._recent) < 3:
            return None
        return self._mean * steps


def in_phases(emit: Callable[[Preparing], object]) -> Told:
    """What is told of a phase as events with the time left, at most two a second.

    The first and the last word of a phase are passed on in any case.
    """
    phase, began, emitted = "", 0.0, 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal phase, began, emitted
        now = time.monotonic()
        if done == 0 or what != phase:
            phase, began = what, now
        elif done < total and now - emitted < PREPARING_S:
            return
        emitted = now
        left = (now - began) / done * (total - done) if done else None
        emit(Preparing(what, done, total, left))

    return tell


def _fault(run: RunFolder, error: OSError) -> tuple[str, str, str]:
    """The file or folder that cannot be written, why, and what mends it."""
    if not run.path.exists():
        return str(run.path), "the folder is gone", "Put it back"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    mend = "Free space" if full else "Make it writable again"
    return str(error.filename or run.path), error.strerror or str(error), mend
