"""How the loop speaks: events to the listener and to disk, patient when it cannot write."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable
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
        now = time.monotonic()
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
            StorageError: stop was requested meanwhile.
        """
        told = False
        while True:
            try:
                if told:
                    self._run.ensure()
                value = write()
            except OSError as error:
                if not told:
                    self._listener(
                        Note("error", f"paused: cannot write {_describe(self._run, error)}")
                    )
                    told = True
                self._wait_or_stop(error)
                continue
            if told:
                note = Note("info", "the run folder can be written again; going on")
                self._listener(note)
                self._writer.add(note)
            return value

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

    def _wait_or_stop(self, error: OSError) -> None:
        self._control.wait(RETRY_S)
        self._inbox.poll(self._control)
        self._beat()
        if self._control.stopping:
            raise StorageError(
                f"stopped while it could not write ({error.strerror or error})",
                path=self._run.path,
                remedy="Mend it and go on from the last checkpoint with --resume.",
            ) from error


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


def _describe(run: RunFolder, error: OSError) -> str:
    reason = error.strerror or str(error)
    if not run.path.exists():
        return f"{run.path}: the folder is gone. Put it back; the job waits, or stop it"
    return f"{run.path}: {reason}. Mend it; the job waits and loses nothing"
