"""The window's end of the helper process: requests go out, answers come back as Qt signals."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.engine.wire import read_message, write_message

Done = Callable[[Any], None]


@dataclass(frozen=True)
class Failure:
    """Why a request failed, ready for the error panel."""

    what: str
    remedy: str | None = None
    path: str | None = None
    trace: str = ""
    type: str = "Error"

    def one_line(self) -> str:
        head = f"{self.path}: {self.what}" if self.path else self.what
        return f"{head.rstrip('.')}. {self.remedy}" if self.remedy else head


@dataclass
class _Request:
    method: str
    args: tuple
    kwargs: dict
    done: Done | None
    failed: Callable[[Failure], None] | None
    partial: Done | None
    key: str | None


def launch() -> subprocess.Popen:
    """Start a helper process that is talked to over its standard input and output."""
    command = [sys.executable, "-m", "studio.engine.server"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Engine(QObject):
    """One helper process, started at the first request and again if it dies.

    Requests that share a `key` replace each other: at most one is under way, at most one waits,
    and a replaced request is never answered. So a slider may ask as often as it likes.
    """

    crashed = Signal(object)  # Failure
    busyChanged = Signal(bool)
    _arrived = Signal(int, int, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._arrived.connect(self._on_arrived)
        self._process: subprocess.Popen | None = None
        self._closed = False
        self._generation = 0
        self._number = 0
        self._sent: dict[int, _Request] = {}
        self._busy_keys: set[str] = set()
        self._waiting: dict[str, _Request] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def busy(self) -> bool:
        return bool(self._sent)

    def start(self) -> None:
        """Start the process now, ahead of the first request; returns at once."""
        if self._process is not None or self._closed:
            return
        self._generation += 1
        self._process = launch()
        threading.Thread(
            target=self._read, args=(self._process, self._generation), name="engine", daemon=True
        ).start()

    def request(
        self,
        method: str,
        *args: Any,
        done: Done | None = None,
        failed: Callable[[Failure], None] | None = None,
        partial: Done | None = None,
        key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Ask for `Desk.method(*args, **kwargs)`; `done` or `failed` is called in this thread, and
        neither once it is closed: what a window still hears then must start no process again."""
        if self._closed:
            return
        item = _Request(method, args, kwargs, done, failed, partial, key)
        if key is not None and key in self._busy_keys:
            self._waiting[key] = item
            return
        self._send(item)

    def _send(self, item: _Request) -> None:
        self.start()
        self._number += 1
        self._sent[self._number] = item
        if item.key is not None:
            self._busy_keys.add(item.key)
        if len(self._sent) == 1:
            self.busyChanged.emit(True)
        assert self._process is not None
        assert self._process.stdin is not None
        message = (self._number, item.method, item.args, item.kwargs)
        # if the process is gone, the reading thread meets the same end and reports it
        with contextlib.suppress(OSError, ValueError):
            write_message(self._process.stdin, message)

    def _read(self, process: subprocess.Popen, generation: int) -> None:
        assert process.stdout is not None
        with process.stdout as answers:
            while True:
                try:
                    number, status, value = read_message(answers)
                except (EOFError, OSError, ValueError):
                    self._post(generation, 0, "dead", None)
                    return
                self._post(generation, number, status, value)

    def _post(self, generation: int, number: int, status: str, value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the window may have gone meanwhile
            self._arrived.emit(generation, number, status, value)

    def _on_arrived(self, generation: int, number: int, status: str, value: Any) -> None:
        if generation != self._generation:
            return
        if status == "dead":
            self._on_death()
            return
        if status == "partial":
            item = self._sent.get(number)
            if item is not None and item.partial is not None:
                item.partial(value)
            return
        item = self._sent.pop(number, None)
        if item is None:
            return
        if not self._sent:
            self.busyChanged.emit(False)
        if item.key is not None:
            self._busy_keys.discard(item.key)
            following = self._waiting.pop(item.key, None)
            if following is not None:
                self._send(following)
        if status == "done" and item.done is not None:
            item.done(value)
        elif status == "failed":
            failure = Failure(**value)
            if item.failed is not None:
                item.failed(failure)
            else:
                self.crashed.emit(failure)

    def _on_death(self) -> None:
        code = self._process.wait() if self._process else None
        lost = [*self._sent.values(), *self._waiting.values()]
        self._reset()
        reason = Failure(
            "the helper process that reads frames and renders has stopped",
            remedy="It starts again by itself with the next request.",
            trace=f"exit code {code}; lost: {', '.join(r.method for r in lost) or 'nothing'}",
            type="HelperDied",
        )
        self.crashed.emit(reason)
        for item in lost:
            if item.failed is not None:
                item.failed(reason)

    def _reset(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = None
        self._sent.clear()
        self._busy_keys.clear()
        self._waiting.clear()

    def close(self) -> None:
        """End the process; nothing is answered any more."""
        self._closed = True
        self._generation += 1
        process = self._process
        self._reset()
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
