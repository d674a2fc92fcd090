"""Two runs, two windows and the shell on one folder: nobody spoils anybody's work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_task import ToyTask

from self6d import cli
from self6d.engine.loop import LoopConfig, run_task
from self6d.errors import LockedError
from self6d.events import Note
from self6d.runs.control import Control, ControlFile
from self6d.runs.folder import RunFolder

HELPERS = Path(__file__).resolve().parent.parent / "helpers"
RUN_LONG = (
    "import sys; from toy_task import ToyTask; from self6d.runs.folder import RunFolder\n"
    "from self6d.engine.loop import LoopConfig, run_task\n"
    "run_task(ToyTask(10**9), RunFolder.open(sys.argv[1]), LoopConfig(checkpoint_every=50))"
)


def python(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


@pytest.fixture
def other(run_path):
    """Another process that runs a job in the folder."""
    RunFolder.create(run_path, "toy", {})
    process = python("-c", RUN_LONG, str(run_path))
    until = time.monotonic() + 60
    while RunFolder.open(run_path).latest_checkpoint() is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_the_first_goes_on(run_path, other):
    with pytest.raises(LockedError) as caught:
        run_task(ToyTask(5), RunFolder.open(run_path), LoopConfig())
    line = caught.value.one_line()
    assert f"in use by toy (process {other.pid} on " in line
    assert "since " in line
    assert "--take-lock" in line
    # the holder is alive: not even by force
    with pytest.raises(LockedError):
        run_task(ToyTask(5), RunFolder.open(run_path), LoopConfig(), take_lock=True)
    assert other.poll() is None
    steps = RunFolder.open(run_path).curves()["loss/total"][0]
    assert steps.tolist() == list(range(len(steps)))
    assert cli.run(["ctl", str(run_path), "stop"]) == 0
    assert other.wait(30) == 0, other.stderr.read()
    assert RunFolder.open(run_path).status == "stopped"


def test_lock_of_a_killed_process_is_explained_and_taken(run_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    run = RunFolder.open(run_path)
    assert run.status == "interrupted"
    at = int(run.latest_checkpoint().stem[5:])
    notes = []
    task = ToyTask(at + 3)
    run_task(task, run, LoopConfig(), lambda e: isinstance(e, Note) and notes.append(e.text))
    assert notes[0].startswith(f"took over the lock of toy (process {other.pid} on ")
    assert notes[0].endswith("which is gone")
    assert task.steps_done == [at, at + 1, at + 2]


def test_requests_of_many_senders_all_arrive(run_path):
    RunFolder.create(run_path, "toy", {})
    since, names, count = time.time() - 1, ("a", "b", "c"), 300
    senders = [
        python(str(HELPERS / "senders.py"), str(run_path), name, str(count)) for name in names
    ]
    inbox, found = ControlFile(run_path, since), Control()
    heard: dict[str, list[float]] = {f"loss.{name}": [] for name in names}
    while any(sender.poll() is None for sender in senders):  # reads while the others write
        inbox.poll(found)
        for name, value in found.take_live().items():
            heard[name].append(value)
    assert [sender.returncode for sender in senders] == [0, 0, 0]
    inbox.poll(found)
    heard_last = {name: values[-1:] for name, values in heard.items()} | {
        name: [value] for name, value in found.take_live().items()
    }
    assert heard_last == {name: [count - 1.0] for name in heard}
    assert all(values == sorted(values) for values in heard.values())
    lines = (run_path / "control.jsonl").read_bytes().splitlines()
    assert len(lines) == 3 * count
    assert all(line.startswith(b'{"command": "live"') and line.endswith(b"}") for line in lines)
    for sender in senders:
        sender.communicate()
