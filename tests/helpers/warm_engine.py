"""Helper processes of windows as forks of one that has loaded torch, so that a test need not wait.

What runs in a fork is `studio.engine.server.main`, as in a helper started afresh; windows in
processes of their own, which tests/gui has too, start theirs afresh.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Fork:
    """What the window uses of a `subprocess.Popen`."""

    def __init__(self, pid: int, stdin: int, stdout: int, status: int) -> None:
        self.pid, self._status = pid, status
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("studio.engine.server", timeout or 0)
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


class WarmEngine:
    """Starts helpers; `close` at the end of the session."""

    def __init__(self) -> None:
        self._socket, there = socket.socketpair()
        code = f"import warm_engine; warm_engine.fork_for({there.fileno()})"
        paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[there.fileno()], stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        there.close()
        self.forks: list[Fork] = []

    def start(self) -> Fork:
        """A helper whose standard input and output are pipes."""
        requests, answers, status = os.pipe(), os.pipe(), os.pipe()
        given = [requests[0], answers[1], status[1]]
        socket.send_fds(self._socket, [b"+"], given)
        (pid,) = struct.unpack("i", self._socket.recv(4))
        for number in given:
            os.close(number)
        self.forks.append(Fork(pid, requests[1], answers[0], status[0]))
        return self.forks[-1]

    def alive(self) -> list[int]:
        """Helpers that have not ended, by their process id."""
        self.forks = [fork for fork in self.forks if fork.poll() is None]
        return [fork.pid for fork in self.forks]

    def close(self) -> None:
        self._socket.close()
        self._process.wait(20)


def fork_for(number: int) -> None:
    """Fork a helper for each request on a socket, until it closes."""
    from self6d.sample.models import make_sample_models
    from self6d.scene.mesh_io import load_models
    from self6d.scene.symmetry import find_symmetry
    from studio.engine import desk, server

    assert desk.Desk is not None  # loaded with all that it needs
    with tempfile.TemporaryDirectory() as folder:
        make_sample_models(Path(folder))
        for model in load_models(Path(folder)):
            find_symmetry(model)  # which the doctor of nearly every test asks for
    with socket.socket(fileno=number) as asked:
        while True:
            word, given, _, _ = socket.recv_fds(asked, 1, 3)
            if not word:
                return
            watcher = os.fork()
            if watcher == 0:
                _watch(asked, given, server.main)
            for one in given:
                os.close(one)
            while True:  # those that have ended meanwhile
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def _watch(asked: socket.socket, given: list[int], main) -> None:
    """Fork the helper, tell its process id, and how it ended."""
    requests, answers, status = given
    pid = os.fork()
    if pid == 0:
        asked.close()
        os.close(status)
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        os.close(requests)
        os.close(answers)
        code = 1
        try:
            main()
            code = 0
        finally:
            os._exit(code)
    asked.sendall(struct.pack("i", pid))
    asked.close()
    os.close(requests)
    os.close(answers)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, struct.pack("i", code))
    os._exit(0)
