"""kill -9 of the worker and of the window; leaving a job behind; long use without growth."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import disks
import numpy as np
import psutil
import pytest
from hands import answer, click
from PySide6.QtWidgets import QApplication, QLabel

from self6d.events import Note
from self6d.runs.folder import RunFolder
from studio.engine.types import PoseData
from studio.jobs import JobSpec, JobState, process_runner
from studio.jobs.run_info import checkpoint_steps

pytestmark = pytest.mark.gui

# SELF6D_ENDURANCE=1 goes the whole way; the short one finds what grows with every cycle.
FULL = bool(os.environ.get("SELF6D_ENDURANCE"))
CYCLES = 1000 if FULL else 20
FRAME_CHANGES = 10_000 if FULL else 150
GROWTH = 1.05
ROOT = Path(__file__).parents[2]
LONG_USE = str(ROOT / "tests" / "helpers" / "long_use.py")

WINDOW = """
import json
import sys
from pathlib import Path

from PySide6.QtCore import QTimer
from studio.shell.app import make_application, open_window
from studio.jobs import JobSpec
from studio.model.settings import Settings

ini, sample, out, overrides = sys.argv[1:]
app = make_application()
window = open_window(Settings(Path(ini)), Path(sample), restore=False)
started = []

def look():
    if not started and window.built and window.project.models:
        window.project.select_frame(3)
        pairs = json.loads(overrides)
        started.append(window.runs.submit(JobSpec(
            "train", Path(out), models=(Path(sample) / "models",), preset="tiny", steps=100000,
            options={"camera": Path(sample)}, overrides=pairs)))
    if started and started[0].last_progress is not None:
        print(started[0].pid, flush=True)
    else:
        QTimer.singleShot(50, look)

look()
app.exec()
"""


@pytest.fixture
def long_run(sample, settings, quick) -> JobSpec:
    return JobSpec(
        "train", settings.runs_folder / "long", models=(sample / "models",), preset="tiny",
        steps=100_000, options={"camera": sample}, overrides=dict(quick),
    )  # fmt: skip


def test_killed_worker_is_said_and_resumed_by_a_click(opened, long_run, wait):
    job = opened.runs.submit(long_run)
    wait(lambda: job.last_progress is not None and job.last_progress.step >= 1)
    click(opened.job_bar.save)
    wait(lambda: checkpoint_steps(job.run))
    saved = checkpoint_steps(job.run)[-1]
    wait(lambda: job.last_progress.step > saved)
    os.kill(job.pid, signal.SIGKILL)
    wait(lambda: job.state is JobState.FAILED)
    banner, reached = opened.banner, job.last_progress.step
    # it named the step of the last checkpoint
    assert f"ended at step {reached}, saved to step {saved}: " in banner.text.text()
    assert "killed by signal 9" in banner.text.text()
    assert banner.copy.isVisible()
    click(banner.action)
    again = opened.runs.job
    assert again is not job
    wait(lambda: again.last_progress is not None and again.last_progress.step > saved)
    opened.job_bar.stop.setFocus()
    click(opened.job_bar.stop)
    wait(lambda: again.state is JobState.STOPPED)
    assert opened.focusWidget() is opened.job_bar  # not Undo, where a Space would undo


def test_a_full_disk_is_said_in_the_window_and_waited_for(opened, long_run, tmp_path, wait):
    """The job paused, and only a file of its own said so."""
    (tmp_path / "disk").mkdir()
    with disks.full(tmp_path / "disk", "40m") as (path, fail, mend):
        job = opened.runs.submit(replace(long_run, out=path))
        wait(lambda: job.last_progress is not None and job.last_progress.step >= 1)
        fail()
        wait(lambda: job.state is JobState.PAUSED)
        banner = opened.banner
        assert banner.isVisible()
        assert banner.text.text().startswith(f"run paused: cannot write {path}/")
        assert "No space left on device. Free space; the job waits" in banner.text.text()
        at = job.last_progress.step
        mend()
        wait(lambda: job.state is JobState.RUNNING and job.last_progress.step > at)
        assert not banner.isVisible()
        job.kill()
        wait(lambda: job.state.over)


def test_a_job_whose_folder_takes_no_request_is_stopped_all_the_same(
    opened, long_run, wait, monkeypatch
):
    """On a full disk nothing but the last rung ended it, and what was said of it stayed."""
    job = opened.runs.submit(long_run)
    wait(lambda: job.last_progress is not None and job.last_progress.step >= 1)

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(process_runner, "send", refused)
    job.save_now()
    said = "long could not be told to save: [Errno 30] Read-only file system."
    assert opened.banner.text.text() == said
    job.note.emit(Note("info", "the run folder can be written again; going on"))
    assert not opened.banner.isVisible()
    opened.runs.stop()
    wait(lambda: job.state.over)
    assert job.state is JobState.STOPPED
    assert checkpoint_steps(job.run)


def test_killed_window_comes_back_to_its_running_job(
    open_studio, settings, sample, quick, wait, tmp_path
):
    out = settings.runs_folder / "left"
    settings.sync()
    process = subprocess.Popen(
        [sys.executable, "-c", WINDOW, str(settings.file), str(sample), str(out),
         json.dumps(quick)], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    worker = psutil.Process(int(process.stdout.readline()))
    helpers = [c for c in psutil.Process(process.pid).children() if c.pid != worker.pid]
    process.kill()
    process.wait()
    for helper in helpers:  # they end by themselves when the window has gone
        helper.wait(20)
    assert worker.is_running()

    try:
        settings.sync()
        window = open_studio(restore=True)
        wait(lambda: window.runs.job is not None)
        assert window.project.recording_path == sample
        assert window.project.frame_index == 3
        job = window.runs.job
        assert (job.run, job.pid, job.state) == (out, worker.pid, JobState.RUNNING)
        assert "still running" in window.banner.text.text()
        wait(lambda: window.workspace.curves.terms())
        click(window.job_bar.stop)
        wait(lambda: job.state is JobState.STOPPED)
        worker.wait(10)
    finally:  # it would train for days beside whatever comes next
        if worker.is_running():
            worker.kill()


def test_job_that_ended_meanwhile_is_found(open_studio, settings, sample, trained, wait):
    placed = PoseData(1, np.eye(3), np.array([0, 0, 0.5])).to_dict()
    settings.save_workspace({
        "recording": str(sample), "models": [str(sample / "models")], "jobs": [str(trained)],
        "object": 1, "keys": [{"frame": 2, **placed}],
    })  # fmt: skip
    window = open_studio(restore=True)
    wait(lambda: window.banner.isVisible())
    assert "stage1 ended meanwhile: done at step 2" in window.banner.text.text()
    assert [run.path for run in window.project.runs] == [trained]
    wait(lambda: window.project.models)
    assert window.workspace.stage.scrubber._keys == {2}  # its diamond stands on the timeline


def test_a_step_chosen_while_the_workspace_comes_back_stays(open_studio, settings, sample, wait):
    """It went to the step of last time, and asked for models that were being read."""
    settings.save_workspace({
        "recording": str(sample), "models": [str(sample / "models")], "step": "synthetic",
    })  # fmt: skip
    window = open_studio(restore=True)
    wait(lambda: window.project.recording is not None)
    assert window.project.awaits_models
    window.workspace.next_step.refresh()
    assert window.job_bar.text.text() == "The CAD models are being read."
    assert not window.job_bar.go.isVisible()
    click(window.header.buttons["export"])
    wait(lambda: window.banner.isVisible() and window.project.models)
    assert "Back in" in window.banner.text.text()
    assert window.project.step == "export"
    wait(lambda: "CAD models" not in window.job_bar.text.text())


def test_closing_with_a_job_asks_and_may_leave_it(opened, long_run, wait):
    job = opened.runs.submit(long_run)
    wait(lambda: job.last_progress is not None)
    answer("stay")
    opened.close()
    assert opened.isVisible()
    answer("leave")
    opened.close()
    assert not opened.isVisible()
    worker = psutil.Process(job.pid)
    assert worker.status() != psutil.STATUS_ZOMBIE
    worker.kill()
    worker.wait(10)


def words_of(dialog) -> str:
    return " ".join(label.text() for label in dialog.findChildren(QLabel))


def test_a_queue_is_offered_again_after_the_window_was_closed(
    opened, open_studio, long_run, sample, trained, settings, wait
):
    """What waited was lost with the window; of a crash nobody ever heard of it."""
    window, then = opened, settings.runs_folder / "then"
    job = window.runs.submit(long_run)
    waits = replace(long_run, out=then, steps=1, options={"camera": sample})
    window.runs.submit(waits)
    wait(lambda: job.last_progress is not None)
    asked: list[str] = []
    answer("stay", lambda title: asked.extend([title, words_of(QApplication.activeModalWidget())]))
    assert not window.close()
    assert asked[0] == "Work is under way"
    assert (
        f"{long_run.out.name} is at work: it can go on without the window; the next start finds it."
        " then waits and does not start without the window; its next start offers it again."
    ) in asked[1]
    answer("stop")  # it was asked twice: about what waits, then about what is at work
    assert window.close()
    psutil.Process(job.pid).wait(60)

    window = open_studio(restore=True)
    wait(lambda: window.banner.isVisible())
    said = window.banner.text.text()
    assert f"{long_run.out.name} ended meanwhile: stopped at step" in said
    assert "then waited and was not started" in said
    assert waits.shell() in window.workspace.log.text.toPlainText()
    assert window.banner.action.text() == "Resume from the last checkpoint"
    window.close()

    state = settings.workspace()
    settings.save_workspace({**state, "jobs": [], "waiting": [waits.to_dict()]})
    window = open_studio(restore=True)
    wait(lambda: window.banner.isVisible())
    assert window.banner.action.text() == "Start what waited"
    click(window.banner.action)
    (again,) = window.queue.jobs
    assert again.spec.shell() == waits.shell()
    again.kill()
    wait(lambda: again.state.over)


def test_a_job_that_failed_meanwhile_is_not_told_with_a_green_tick(
    open_studio, settings, sample, tmp_path, wait
):
    run = RunFolder.create(tmp_path / "broken", "synthetic", {})
    run.update(status="failed", error="the disk was full")
    settings.save_workspace({
        "recording": str(sample), "models": [str(sample / "models")], "jobs": [str(run.path)],
    })  # fmt: skip
    window = open_studio(restore=True)
    wait(lambda: window.banner.isVisible())
    assert "broken ended meanwhile: failed (the disk was full)" in window.banner.text.text()
    assert window.banner.objectName() == "banner_warn"


def test_memory_is_flat(settings, sample):
    """One window is used for both, after each has warmed up."""
    settings.sync()
    uses = {"frames": FRAME_CHANGES, "cycles": CYCLES}
    done = subprocess.run(
        [sys.executable, LONG_USE, str(settings.file), str(sample)]
        + [f"{what}={count}" for what, count in uses.items()],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    told = [json.loads(line) for line in done.stdout.splitlines()[-len(uses) :]]
    assert {one["what"]: one["count"] for one in told} == uses
    for one in told:
        for name, before in one["before_mb"].items():
            assert one["after_mb"][name] < GROWTH * before, (name, one)
