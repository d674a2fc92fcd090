"""Nothing here talks to a network: no socket is opened while the program does its work."""

from __future__ import annotations

import ast
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from self6d import cli

ROOT = Path(__file__).resolve().parents[2]
TALKERS = {"socket", "socketserver", "ssl", "asyncio", "http", "urllib", "ftplib", "smtplib",
           "xmlrpc", "requests", "httpx", "aiohttp", "urllib3", "websockets", "zmq"}  # fmt: skip
ALLOWED = {("self6d/locks.py", "socket")}  # for the name of this machine


class _Ear:
    """An audit hook, which Python cannot take out again, with a switch."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.on:  # it is asked about all that Python does to the end of the process
            return
        talk = event.startswith(("socket.", "urllib.", "http.", "ftplib."))
        own = event == "socket.gethostname" or (
            event == "socket.__new__" and arguments[1] not in (socket.AF_INET, socket.AF_INET6)
        )
        if talk and not own:
            self.heard.append(f"{event} {arguments[1:]}")

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        self.heard.clear()
        self.on = True
        try:
            yield self.heard
        finally:
            self.on = False


EAR = _Ear()


def test_the_ear_hears():
    with EAR.listening() as heard, socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
    assert len(heard) == 2


def test_no_command_opens_a_socket(sample, trained, tmp_path, capsys):
    small = ["--set", "adapt.batch=1", "--set", "adapt.region=48", "--set", "adapt.health_frames=1",
             "--set", "adapt.detection_score=0", "--set", "adapt.max_objects=3", "--set",
             "adapt.collapse=0", "--set", "adapt.pseudo_steps=2", "--set",
             "adapt.pseudo_region=48", "--set", "optimize.region=48",
             "--set", "optimize.flips=false"]  # fmt: skip
    commands = [
        ["doctor", sample, "--models", sample / "models"],
        ["train", "--models", sample / "models", "--preset", "tiny", "--steps", "1",
         "--set", "synthesis.height=64", "--set", "train.batch=2", "--set",
         "train.validation_images=2", "--out", tmp_path / "train"],
        ["adapt", sample, "--from", trained, "--steps", "1", *small, "--out", tmp_path / "adapt"],
        ["evaluate", sample, trained],
        ["predict", sample, "--from", trained],
        ["export", trained, "--to", tmp_path / "export", "--no-onnx"],
        ["report-bug", trained, "--out", tmp_path / "bug.zip"],
    ]  # fmt: skip
    before = len(psutil.Process().net_connections("inet"))
    with EAR.listening() as heard:
        for command in commands:
            assert cli.run([str(word) for word in command]) == 0, capsys.readouterr().err
            assert len(psutil.Process().net_connections("inet")) == before, command
    assert heard == []


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("package", ["self6d", "studio"])
def test_no_module_imports_what_could_talk(package):
    found = set()
    for file in sorted((ROOT / package).rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            if name.startswith("urllib.parse"):  # it only takes texts apart
                continue
            if name.partition(".")[0] in TALKERS or name.startswith("PySide6.QtNetwork"):
                found.add((place, name))
    assert found <= ALLOWED
