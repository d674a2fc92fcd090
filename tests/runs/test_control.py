"""Requests to a job, from its process and through the file."""

from __future__ import annotations

import json
import time

import pytest

from self6d.errors import CheckpointError
from self6d.runs.control import Control, ControlFile, send
from self6d.runs.folder import RunFolder


@pytest.fixture
def run(run_path):
    RunFolder.create(run_path, "toy", {})
    return run_path


def test_requests_travel_through_the_file(run):
    control, inbox = Control(), ControlFile(run, since=time.time() - 1)
    send(run, "pause")
    send(run, "save")
    send(run, "live", {"loss.mask": 0.5})
    inbox.poll(control)
    assert control.paused
    assert control.take_save()
    assert not control.take_save()
    assert control.take_live() == {"loss.mask": 0.5}
    assert control.take_live() == {}
    send(run, "resume")
    send(run, "stop")
    inbox.poll(control)
    assert not control.paused
    assert control.stopping


def test_requests_from_before_are_ignored(run):
    send(run, "stop")
    control = Control()
    ControlFile(run, since=time.time() + 1).poll(control)
    assert not control.stopping


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'{"command": "explode"}',
        b'{"command": "__init__"}',
        b'{"command": "live", "values": {"a": "x", "b": true, "c": [1]}}',
        b'{"command": "live", "values": 3}',
        b'{"command": ["stop"]}',
        b"\xff\xfe",
        b'{"time": "soon", "command": "stop"}',
    ],
)
def test_nonsense_is_ignored(run, line):
    (run / "control.jsonl").write_bytes(line + b"\n")
    control = Control()
    ControlFile(run, since=0).poll(control)
    said = [control.paused, control.stopping, control.take_save(), control.take_live()]
    assert not any(said)


def test_half_a_line_waits_for_its_end(run):
    control, inbox = Control(), ControlFile(run, since=0)
    line = json.dumps({"command": "pause", "time": time.time()}).encode()
    (run / "control.jsonl").write_bytes(line[:10])
    inbox.poll(control)
    assert not control.paused
    (run / "control.jsonl").write_bytes(line + b"\n")
    inbox.poll(control)
    assert control.paused


def test_cleared_requests_are_gone(run):
    send(run, "stop")
    inbox = ControlFile(run, since=0)
    inbox.clear()
    control = Control()
    inbox.poll(control)
    assert not control.stopping


def test_only_run_folders_can_be_steered(tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        send(tmp_path, "stop")


def test_waiting_ends_with_a_request():
    control = Control()
    control.stop()
    began = time.monotonic()
    control.wait(10)
    assert time.monotonic() - began < 1
