"""Runs a job as the very command a shell would run, and follows its run folder.

The process belongs to no window: it has its own session, its output goes to a file, it is steered
through RUN/control.jsonl. So the window may close, crash or come back while it goes on, and a run
that a shell started is attached in the same way.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import psutil
from PySide6.QtCore import QObject, QTimer, Signal

from self6d.errors import Self6DError
from self6d.events import Finished, Note
from self6d.paths import EARLY_EVENTS
from self6d.runs.control import Command, send
from studio.jobs.follow import RunFollower
from studio.jobs.job import Job, JobState
from studio.jobs.run_info import checkpoint_steps, read_run
from studio.jobs.spec import PLAIN_OUTPUT, JobSpec

OUTPUT = "self6d-studio-"  # of files that hold a job's output, followed by the window's process
LOWER_PRIORITY = 10  # than the window's own, which may have been lowered too
STEER_RETRY_MS = 300


def sweep() -> None:
    """Delete what windows that died have left of their jobs' output: nobody will read it."""
    for file in Path(tempfile.gettempdir()).glob(f"{OUTPUT}*"):
        owner = re.fullmatch(rf"{OUTPUT}(\d+)-\w+\.(log|jsonl)", file.name)
        if owner is not None and not psutil.pid_exists(int(owner[1])):
            with contextlib.suppress(OSError):  # somebody else's, perhaps
                file.unlink()


def launch(command: list[str], log: IO[bytes], early: Path) -> subprocess.Popen:
    """Start a job in a session of its own, its output in a file.

    Args:
        early: file for what it does before it has a run folder.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | PLAIN_OUTPUT | {EARLY_EVENTS: str(early)},
    )


class ProcessJob(Job):
    """A job in a process of its own."""

    _ended = Signal(bool)

    def __init__(self, spec: JobSpec, parent: QObject | None = None) -> None:
        super().__init__(spec, parent)
        self._process: subprocess.Popen | None = None
        self._known: psutil.Process | None = None
        self._follower: RunFollower | None = None
        self._log: Path | None = None
        self._early: Path | None = None  # what it does before it has a run folder
        self._command_sent = ""
        self._ended.connect(self._on_ended)

    @classmethod
    def attach(cls, spec: JobSpec, pid: int, parent: QObject | None = None) -> ProcessJob:
        """Follow a run whose process somebody else started."""
        job = cls(spec, parent)
        try:
            job._known = psutil.Process(pid)
        except psutil.Error:
            job._known = None
        info = read_run(spec.out)
        paused = info is not None and info.status == "paused"
        job._follow(job._written())
        job._enter(JobState.PAUSED if paused else JobState.RUNNING)
        return job

    @property
    def pid(self) -> int | None:
        return self._known.pid if self._known else None

    @property
    def survives_window(self) -> bool:
        return True

    def start(self) -> None:
        self._begin()
        history = self._written()
        sweep()
        handle, name = tempfile.mkstemp(prefix=f"{OUTPUT}{os.getpid()}-", suffix=".log")
        self._log = Path(name)
        self._early = self._log.with_suffix(".jsonl")
        self._early.touch(0o600)
        self.spec.out.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(handle, "wb") as log:
            self._process = launch(self.spec.command(), log, self._early)
        try:
            self._known = psutil.Process(self._process.pid)
            lower = min(psutil.Process().nice() + LOWER_PRIORITY, 19)
            self._known.nice(lower if os.name == "posix" else 0x4000)
        except psutil.Error:
            pass  # gone already; the follower will tell
        self._follow(history)
        self._enter(JobState.STARTING)

    def pause(self) -> None:
        self._steer("pause")

    def resume(self) -> None:
        self._steer("resume")

    def stop(self) -> None:
        self._enter(JobState.STOPPING)
        self._steer("stop")

    def save_now(self) -> None:
        self._steer("save")

    def set_live(self, values: dict[str, float]) -> None:
        self._steer("live", values)

    def terminate(self) -> None:
        self._signal("terminate")

    def kill(self) -> None:
        self._signal("kill")

    def detach(self) -> None:
        if self._follower is not None:
            self._follower.halt()
            self._follower = None
        self.mailbox.close()
        self._forget_output()  # the job goes on; what it does stands in its run folder

    def _steer(self, command: Command, values: dict[str, float] | None = None) -> None:
        if self.state.over:
            return
        try:
            send(self.run, command, values)
        except Self6DError:  # the run folder is not there yet: the process is still importing
            if command == "stop":
                self.terminate()
            else:
                QTimer.singleShot(STEER_RETRY_MS, self, lambda: self._steer(command, values))
        except OSError as error:  # its disk is full, say
            if command == "stop":
                self.terminate()
            else:
                self.note.emit(Note("error", f"could not be told to {command}: {error}"))

    def _signal(self, name: str) -> None:
        self._command_sent = name
        try:
            if self._known is not None:
                getattr(self._known, name)()
        except psutil.NoSuchProcess:
            pass
        except psutil.Error as error:
            self.note.emit(Note("error", f"could not be ended: {error}"))

    def _written(self) -> int:
        """How much events.jsonl holds already: history, not news."""
        with contextlib.suppress(OSError):
            return (self.run / "events.jsonl").stat().st_size
        return 0

    def _follow(self, offset: int) -> None:
        self._follower = RunFollower(
            self.run, self.mailbox, self._alive, self._ended.emit, offset=offset,
            early=self._early,
        )  # fmt: skip
        self.mailbox.open()
        self._follower.start()

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        try:
            return self._known is not None and self._known.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _on_ended(self, said_so: bool) -> None:
        self.mailbox.close()
        self._follower = None
        output = self._read_log()
        self._forget_output()
        if said_so:
            if self.ending is not None and self.state is JobState.FAILED:
                self.details = output
            return
        self.details = output
        code = self._process.returncode if self._process is not None else None
        steps = checkpoint_steps(self.run)
        self._on_event(Finished(steps[-1] if steps else 0, self._cause(code, output)))

    def _cause(self, code: int | None, output: str) -> str:
        if self._command_sent:
            return "stopped" if self._command_sent == "terminate" else "killed on request"
        if code is not None and code < 0:
            hint = " (often: out of memory)" if code == -9 else ""
            return f"the worker was killed by signal {-code}{hint}"
        lines = [line for line in output.splitlines() if line.strip()]
        if code and lines:  # newer than what run.json may hold of an earlier attempt
            return lines[-1].removeprefix("error: ")[:400]
        info = read_run(self.run)
        if info is not None and info.status == "failed" and info.error:
            return str(info.error)
        return f"the worker ended with exit code {code}" if code else "the worker has gone"

    def _read_log(self) -> str:
        try:
            return "" if self._log is None else self._log.read_text(errors="replace")[-20_000:]
        except OSError:
            return ""

    def _forget_output(self) -> None:
        for file in (self._log, self._early):
            if file is not None:
                with contextlib.suppress(OSError):  # one that is open stays, where the system is so
                    file.unlink(missing_ok=True)
        self._log = self._early = None
