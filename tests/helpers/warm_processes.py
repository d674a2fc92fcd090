"""Processes of windows as forks of one that has loaded torch, so that a test need not wait.

What runs in a fork is what a process started afresh runs: `studio.engine.server.main` for a helper,
`self6d.cli.run` for a job. Windows in processes of their own, which tests/gui has too, start theirs
afresh, but for one that takes them from here (`Joined`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from self6d.paths import EARLY_EVENTS

HERE = Path(__file__).resolve().parent
MOST = 1 << 16  # bytes of a request


class Fork:
    """What the window uses of a `subprocess.Popen`."""

    def __init__(self, pid: int, status: int, pipes: Sequence[int] = ()) -> None:
        self.pid, self._status = pid, status
        if pipes:
            self.stdin, self.stdout = os.fdopen(pipes[0], "wb"), os.fdopen(pipes[1], "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            data = os.read(self._status, 4)
            os.close(self._status)
            self.returncode = struct.unpack("i", data)[0]
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Joined:
    """Starts forks that run one of `KINDS`, of a process that is there already.

    Args:
        to: on which it listens; one at a time may ask.
    """

    def __init__(self, to: socket.socket) -> None:
        self._socket = to
        self.helpers: list[Fork] = []
        self.jobs: list[Fork] = []

    def helper(self) -> Fork:
        """A helper whose standard input and output are pipes, as `studio.engine.client.launch`."""
        (read, write), (answers, told) = os.pipe(), os.pipe()
        fork = self._start("helper", [], [read, told], [write, answers])
        self.helpers.append(fork)
        os.close(read)
        os.close(told)
        return fork

    def job(self, command: Sequence[str], log: IO[bytes], early: Path) -> Fork:
        """A job whose output goes to a file, as `studio.jobs.process_runner.launch`."""
        with open(os.devnull, "rb") as nothing:
            told = {EARLY_EVENTS: str(early)}
            fork = self._start("job", command[3:], [nothing.fileno(), log.fileno()], told=told)
            self.jobs.append(fork)
            return fork

    def _start(
        self, kind: str, arguments: Sequence[str], given: list[int], pipes: Sequence[int] = (),
        told: dict[str, str] | None = None,
    ) -> Fork:  # fmt: skip
        done, ending = os.pipe()
        environment = dict(os.environ) | (told or {})
        asked = json.dumps([kind, arguments, environment, os.getcwd()]).encode()
        assert len(asked) < MOST
        socket.send_fds(self._socket, [asked], [*given, ending])
        os.close(ending)
        (pid,) = struct.unpack("i", self._socket.recv(4))
        return Fork(pid, done, pipes)

    def alive(self) -> list[int]:
        """Helpers that have not ended, by their process id."""
        self.helpers = [fork for fork in self.helpers if fork.poll() is None]
        return [fork.pid for fork in self.helpers]

    def end(self) -> None:
        """Kill jobs that have not ended."""
        for fork in self.jobs:
            fork.kill()
            fork.wait(5)
        self.jobs.clear()


class Warm(Joined):
    """Starts that process too; `close` at the end of the session.

    Args:
        recording: what most windows open.
    """

    def __init__(self, recording: Path) -> None:
        here, there = socket.socketpair(type=socket.SOCK_SEQPACKET)
        super().__init__(here)
        code = (
            f"import warm_processes; warm_processes.fork_for({there.fileno()}, {str(recording)!r})"
        )
        paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[there.fileno()], stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        there.close()

    def fileno(self) -> int:
        """Of the socket that `Joined` asks on in a process that is given it."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:  # on a busy machine it may not have loaded all yet
            self._process.kill()
            self._process.wait()


def _load(recording: Path) -> None:
    """What helpers and jobs need of libraries, and what the doctor keeps of most windows' data."""
    import cv2
    from numba.core.registry import cpu_target

    from self6d import cli, config, jobs
    from self6d.doctor.doctor import examine
    from self6d.run_config import build_config
    from studio.engine import desk, server

    assert all((cli.run, jobs.train, server.main))  # are loaded then
    for needed in ("PIL.PngImagePlugin", "rich.progress",
                   "self6d.commands.output", "self6d.console",
                   "self6d.laptop.settings",
                   "self6d.stage1.task", "self6d.stage2.looks", "self6d.stage2.task",
                   "studio.engine.requests.colours", "studio.engine.requests.film",
                   "studio.engine.requests.placing",
                   "studio.engine.requests.scores", "studio.engine.requests.xray"):  # fmt: skip
        importlib.import_module(needed)
    with contextlib.suppress(ImportError):
        importlib.import_module("pydantic.type_adapter")  # for typer's words, in some versions
    desk.Desk(print).load_torch()
    cv2.setNumThreads(1)  # a fork would wait for threads that it does not have
    # symmetries, and whether depth lies beside the colours: the doctor of nearly every test asks
    examine(recording, recording / "models")
    config.describe(build_config(None))  # reads the docstrings of settings
    cpu_target.typing_context.refresh()  # numba's tables
    cpu_target.target_context.refresh()
    gc.freeze()


def _helper(_: list[str]) -> int:
    from studio.engine import server

    server.main()
    return 0


def _job(arguments: list[str]) -> int:
    from self6d import cli
    from studio.jobs.spec import PLAIN_OUTPUT

    os.setsid()
    os.environ.update(PLAIN_OUTPUT)
    return cli.run(arguments)


KINDS = {"helper": _helper, "job": _job}


def fork_for(number: int, recording: str) -> None:
    """Fork a process for each request on a socket, until it closes."""
    _load(Path(recording))
    with socket.socket(fileno=number) as asked:
        while True:
            words, given, _, _ = socket.recv_fds(asked, MOST, 3)
            if not words:
                return
            watcher = os.fork()
            if watcher == 0:
                _watch(asked, given, *json.loads(words))
            for one in given:
                os.close(one)
            while True:  # those that have ended meanwhile
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def _watch(
    asked: socket.socket,
    given: list[int],
    kind: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
) -> None:
    """Fork the process, tell its process id, and how it ended."""
    stdin, stdout, status = given
    pid = os.fork()
    if pid == 0:
        asked.close()
        os.close(status)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        if arguments:
            os.dup2(stdout, 2)
        os.close(stdin)
        os.close(stdout)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        code = 1
        try:
            code = KINDS[kind](arguments)
            sys.stdout.flush()
        finally:
            os._exit(code)
    asked.sendall(struct.pack("i", pid))
    asked.close()
    os.close(stdin)
    os.close(stdout)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, struct.pack("i", code))
    os._exit(0)
