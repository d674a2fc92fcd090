"""Steering a running job: from its own process by flags, from any other through a file."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any, Literal

from self6d.errors import CheckpointError
from self6d.storage import append_bytes

Command = Literal["pause", "resume", "stop", "save", "live"]
COMMANDS: tuple[Command, ...] = ("pause", "resume", "stop", "save", "live")
_FILE = "control.jsonl"


class Control:
    """Thread-safe requests to a job. The job looks at them between steps.

    Args:
        patient: somebody watches who sees that a disk is full, can mend it or stop the job: it
            waits. Else it ends soon, with what it has kept.

    >>> control = Control()
    >>> control.set_live({"loss.mask": 0.5})
    >>> control.stop()
    >>> control.stopping
    True
    """

    def __init__(self, *, patient: bool = True) -> None:
        self.patient = patient
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._paused = False
        self._stop = False
        self._save = False
        self._live: dict[str, float] = {}

    def pause(self) -> None:
        self._set(_paused=True)

    def resume(self) -> None:
        self._set(_paused=False)

    def stop(self) -> None:
        """Save and stop."""
        self._set(_stop=True)

    def save_now(self) -> None:
        self._set(_save=True)

    def set_live(self, values: dict[str, float]) -> None:
        """Change values such as {"loss.mask": 0.0} from the next step on."""
        with self._lock:
            self._live.update(values)
        self._wake.set()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def stopping(self) -> bool:
        return self._stop

    def take_save(self) -> bool:
        """Whether a save was asked for since the last call."""
        with self._lock:
            wanted, self._save = self._save, False
        return wanted

    def take_live(self) -> dict[str, float]:
        """Live values that came since the last call."""
        with self._lock:
            values, self._live = self._live, {}
        return values

    def wait(self, seconds: float) -> None:
        """Sleep until a request comes, or `seconds` pass."""
        self._wake.wait(seconds)
        self._wake.clear()

    def apply(self, command: dict[str, Any]) -> None:
        """Obey one record of a control file; unknown ones are ignored."""
        name, values = command.get("command"), command.get("values")
        if name == "live" and isinstance(values, dict):
            self.set_live({str(k): float(v) for k, v in values.items() if _is_number(v)})
        elif name == "save":
            self.save_now()
        elif name in ("pause", "resume", "stop"):
            getattr(self, name)()

    def _set(self, **flags: bool) -> None:
        with self._lock:
            self.__dict__.update(flags)
        self._wake.set()


class ControlFile:
    """The receiving end of a run folder's control file.

    Args:
        run: the run folder.
        since: unix time; older records were meant for an earlier process and are ignored.
    """

    def __init__(self, run: Path, since: float) -> None:
        self._path = run / _FILE
        self._since = since
        self._offset = 0

    def poll(self, control: Control) -> None:
        """Pass new records on. Costs one stat when there are none."""
        try:
            size = self._path.stat().st_size
            if size == self._offset:
                return
            if size < self._offset:
                self._offset = 0
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            sent = record.get("time") if isinstance(record, dict) else None
            if isinstance(sent, int | float) and sent >= self._since:
                control.apply(record)

    def clear(self) -> None:
        """Forget all records: the job has ended."""
        self._path.unlink(missing_ok=True)
        self._offset = 0


def send(run: str | Path, command: Command, values: dict[str, float] | None = None) -> None:
    """Ask the job of a run folder, in whatever process, for something.

    Raises:
        CheckpointError: not a run folder.
        OSError: the request could not be written.
    """
    run = Path(run)
    if not (run / "run.json").is_file():
        raise CheckpointError(
            "not a run folder (no run.json)", path=run, remedy="Name a folder that --out made."
        )
    record = {"command": command, "values": values, "time": time.time(), "pid": os.getpid()}
    append_bytes(run / _FILE, json.dumps(record).encode() + b"\n")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
