"""Runs a job in this process: quick, easy to debug, and gone with the window."""

from __future__ import annotations

import traceback
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from self6d.errors import Self6DError
from self6d.events import Event, Finished, Progress
from self6d.runs.control import Control
from studio.jobs.job import Job, JobState
from studio.jobs.messages import Status
from studio.jobs.spec import JobSpec


class _Worker(QThread):
    """Calls the function behind the command line."""

    def __init__(self, job: ThreadJob) -> None:
        super().__init__(job)
        self._job = job

    def run(self) -> None:
        job = self._job
        try:
            job.call(job.hear, job.control)
        except Self6DError as error:
            job.fail(error.one_line(), "")
        except Exception as error:
            job.fail(str(error) or type(error).__name__, traceback.format_exc())


class ThreadJob(Job):
    """A job in a thread of the window's process."""

    _left = Signal()

    def __init__(self, spec: JobSpec, parent: QObject | None = None) -> None:
        super().__init__(spec, parent)
        self.control = Control()
        self._worker: _Worker | None = None
        self._ending: Finished | None = None  # told once the job has written its last

    def start(self) -> None:
        self._begin()
        self.mailbox.open()
        self._worker = _Worker(self)
        self._worker.finished.connect(self._on_left)
        self._worker.start(QThread.Priority.LowPriority)
        self._enter(JobState.STARTING)

    def call(self, listener: Any, control: Control) -> None:
        """The job itself; runs in the worker thread."""
        from self6d import jobs

        spec = self.spec
        models = list(spec.models) or None
        common: dict[str, Any] = {
            "out": spec.out, "overrides": dict(spec.overrides), "resume": spec.resume,
            "listener": listener, "control": control,
        }  # fmt: skip
        for name in ("preset", "seed", "device", "steps", "minutes"):
            value = getattr(spec, name)
            if value is not None:
                common[name] = value
        options = {key.replace("-", "_"): value for key, value in spec.options.items()}
        if spec.kind in ("train", "adapt"):
            common["check"] = not options.pop("no_check", False)
        if spec.kind == "train":
            jobs.train(models or [], start=spec.from_run, **options, **common)
        elif spec.kind == "adapt":
            assert spec.data is not None
            assert spec.from_run is not None
            jobs.adapt(spec.data, models, spec.from_run, split=spec.split, **options, **common)
        elif spec.kind == "optimize":
            assert spec.data is not None
            common.pop("resume")
            frame, number = options.pop("frame"), options.pop("object")
            jobs.optimize(
                spec.data, models, frame, number, from_run=spec.from_run, **options, **common
            )
        elif spec.kind == "track":
            assert spec.data is not None
            options["object_id"] = options.pop("object", None)
            options["cuts"] = options.pop("cut", ())
            jobs.track(
                spec.data, models, from_run=spec.from_run, split=spec.split, **options, **common
            )
        else:
            raise ValueError(f"no job of kind {spec.kind!r}")

    def hear(self, event: Event) -> None:
        """From the worker thread: an event of the job."""
        if isinstance(event, Progress):
            self.mailbox.put(Status("paused" if event.phase == "paused" else "running"))
        if isinstance(event, Finished):
            self._ending = event
        else:
            self.mailbox.put(event)

    def fail(self, reason: str, details: str) -> None:
        """From the worker thread: the job ended with an error."""
        self.details = details
        if self._ending is None:
            self._ending = Finished(0, reason)

    def pause(self) -> None:
        self.control.pause()

    def resume(self) -> None:
        self.control.resume()

    def stop(self) -> None:
        self._enter(JobState.STOPPING)
        self.control.stop()

    def save_now(self) -> None:
        self.control.save_now()

    def set_live(self, values: dict[str, float]) -> None:
        self.control.set_live(values)

    def terminate(self) -> None:
        """A thread cannot be ended from outside; it stops at its next step."""
        self.stop()

    def kill(self) -> None:
        self.stop()

    def detach(self) -> None:
        self.control.stop()
        if self._worker is not None:
            self._worker.wait()
        self.mailbox.close()

    def _on_left(self) -> None:
        if self._ending is not None:
            self.mailbox.put(self._ending)
        self.mailbox.close()
        if not self.state.over:
            self._on_event(Finished(0, "the job ended without a word"))
