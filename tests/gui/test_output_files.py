"""Nothing that a job wrote for its window is left behind, however the window goes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from self6d.console import JobConsole
from self6d.events import Preparing
from studio.jobs import JobSpec, JobState
from studio.jobs.queue import JobQueue

pytestmark = pytest.mark.gui


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def spec(tmp_path) -> JobSpec:
    return JobSpec("train", tmp_path / "run", models=(tmp_path / "none.ply",))


def test_of_a_job_that_has_ended(qapp, temporary, spec, wait):
    queue = JobQueue()
    job = queue.submit(spec)
    assert len(list(temporary.iterdir())) == 2
    wait(lambda: job.state.over)
    assert job.state is JobState.FAILED
    assert "none.ply" in job.ending.reason  # what it wrote was read before
    assert not list(temporary.iterdir())
    queue.close()


def test_of_a_window_that_closes_before(qapp, temporary, spec, monkeypatch):
    queue = JobQueue()
    job = queue.submit(spec)
    (early,) = temporary.glob("*.jsonl")
    worker = psutil.Process(job.pid)
    queue.close()  # the job goes on
    assert not list(temporary.iterdir())
    worker.wait(60)
    assert not list(temporary.iterdir())
    monkeypatch.setenv("SELF6D_EVENTS", str(early))
    JobConsole("told")(Preparing("nobody waits for it", 0, 1))
    assert not list(temporary.iterdir())


def test_of_a_window_that_was_killed(qapp, temporary, spec, wait):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [temporary / f"self6d-studio-{gone.pid}-a1b2c3d4.{kind}" for kind in ("log", "jsonl")]
    others = [
        temporary / f"self6d-studio-{os.getppid()}-a1b2c3d4.log",  # of a window that lives
        temporary / "self6d-studio-notes.log",
    ]
    for file in (*left, *others):
        file.touch()
    queue = JobQueue()
    job = queue.submit(spec)
    wait(lambda: job.state.over)
    assert sorted(temporary.iterdir()) == sorted(others)
    queue.close()
