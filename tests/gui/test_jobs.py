"""Jobs: both runners, steering, crashes, attachment; messages at a bearable rate."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from self6d.events import Note, Preview, Progress, Scalars
from studio.jobs import JobSpec, JobState
from studio.jobs.messages import Mailbox
from studio.jobs.queue import JobQueue
from studio.jobs.run_info import checkpoint_steps, read_run
from studio.panels.job_bar import JobBar

pytestmark = pytest.mark.gui


@pytest.fixture
def queue(qapp):
    queue = JobQueue()
    yield queue
    for job in queue.active:
        job.kill()
    queue.close()


@pytest.fixture
def spec_for(quick):
    def make(sample: Path, out: Path, steps: int) -> JobSpec:
        return JobSpec(
            "train", out, models=(sample / "models",), preset="tiny", steps=steps,
            options={"camera": sample}, overrides=dict(quick),
        )  # fmt: skip

    return make


def test_command_line_is_the_shells(tmp_path):
    spec = JobSpec(
        "adapt", tmp_path / "out", data=Path("/d"), models=(Path("/m a"),), from_run=Path("/r"),
        preset="self6d", split="adapt", seed=3, overrides={"loss.mask": 0.5, "adapt.pseudo": True},
    )  # fmt: skip
    assert spec.shell() == (
        "self6d-studio adapt /d --models '/m a' --from /r --preset self6d --split adapt --seed 3 "
        f"--set loss.mask=0.5 --set adapt.pseudo=true --out {tmp_path / 'out'}"
    )
    assert spec.command()[1:3] == ["-m", "self6d.cli"]


def test_mailbox_coalesces(qtbot):
    mailbox = Mailbox()
    batches, previews, progress, notes = [], [], [], []
    mailbox.scalars.connect(batches.append)
    mailbox.preview.connect(previews.append)
    mailbox.progress.connect(progress.append)
    mailbox.other.connect(notes.append)
    mailbox.wants_preview = lambda name: name != "hidden"

    def work() -> None:
        for step in range(1000):
            mailbox.put(Scalars(step, {"loss/total": 1.0}))
            mailbox.put(Progress(step, 1000, None))
            mailbox.put(Preview(step, "seen"))
            mailbox.put(Preview(step, "hidden"))
        mailbox.put(Note("info", "end"))

    thread = threading.Thread(target=work)
    mailbox.open()
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: bool(notes), timeout=2000)
    mailbox.close()
    assert sum(len(b) for b in batches) == 1000  # nothing of the curves is lost
    assert len(batches) <= 3
    assert progress[-1].step == 999
    assert len(progress) <= 3
    assert [p.name for p in previews] == ["seen"] * len(previews)
    assert previews[-1].step == 999


@pytest.mark.parametrize("runner", ["process", "thread"])
def test_run_from_start_to_end(queue, spec_for, sample, tmp_path, wait, runner):
    scalars, previews, states = [], [], []
    job = queue.submit(spec_for(sample, tmp_path / "run", 3), runner)
    job.scalars.connect(scalars.extend)
    job.preview.connect(previews.append)
    job.stateChanged.connect(lambda: states.append(job.state))
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, job.details
    assert [s.step for s in scalars] == [0, 1, 2]
    assert "loss/total" in scalars[0].values
    assert previews
    assert job.ending.result["step"] == 3
    assert JobState.RUNNING in states
    assert read_run(tmp_path / "run").status == "done"


def test_the_bar_names_its_run_where_there_is_room(queue, spec_for, sample, tmp_path, qtbot, wait):
    """Of two runs of a stage it was not said which one the steps belong to."""
    bar = JobBar()
    qtbot.addWidget(bar)
    bar.resize(1280, 44)
    bar.show()
    job = queue.submit(spec_for(sample, tmp_path / "kitchen-stage1-02", 2))
    bar.set_job(job)
    assert bar.text.text().startswith(f"{job.spec.title}, kitchen-stage1-02: ")
    wait(lambda: job.state.over)
    whole = f"{job.spec.title}, kitchen-stage1-02: done, step 2/2"
    assert bar.text.drawn() == whole
    bar.text.setFixedWidth(bar.text.fontMetrics().horizontalAdvance(whole) - 1)
    assert bar.text.drawn() == f"{job.spec.title}: done, step 2/2"


def test_what_comes_before_the_steps_is_told(queue, spec_for, sample, tmp_path, wait):
    bar = JobBar()
    job = queue.submit(spec_for(sample, tmp_path / "run", 2))
    bar.set_job(job)
    assert "starting its program, for 0:" in bar.text.text()
    told, shown, written = [], [], []
    job.preparing.connect(told.append)
    job.preparing.connect(lambda event: shown.append(bar.text.text()))
    early = job._early
    # told outside the run folder, which is not there yet; when the window reads it, it may be
    job.preparing.connect(lambda event: written.append(early.read_text()))
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, job.details
    names = ("reading CAD models", "painting backgrounds", "rendering 16 validation images")
    order = [written[-1].index(f'"{name}"') for name in names]
    assert order == sorted(order)
    counted = [text for event, text in zip(told, shown, strict=True) if event.total > 1]
    assert all(", 0 of " in text or ", about " in text for text in counted), counted
    others = [text for event, text in zip(told, shown, strict=True) if event.total == 1]
    assert all(" so far" in text for text in others), others
    assert not early.exists()


def test_pause_resume_save_stop(queue, spec_for, sample, tmp_path, wait):
    job = queue.submit(spec_for(sample, tmp_path / "run", 100_000))
    wait(lambda: job.last_progress is not None)
    job.pause()
    wait(lambda: job.state is JobState.PAUSED)
    at = job.last_progress.step
    job.resume()
    wait(lambda: job.state is JobState.RUNNING and job.last_progress.step > at)
    job.save_now()
    wait(lambda: job.last_checkpoint is not None and job.last_checkpoint.step > at)
    job.stop()
    wait(lambda: job.state.over)
    assert job.state is JobState.STOPPED
    assert checkpoint_steps(job.run)[-1] == job.ending.step > at


def test_killed_worker_is_explained_and_resumes(queue, spec_for, sample, tmp_path, wait):
    spec = spec_for(sample, tmp_path / "run", 100_000)
    job = queue.submit(spec)
    wait(lambda: job.last_progress is not None and job.last_progress.step >= 2)
    job.save_now()
    wait(lambda: job.last_checkpoint is not None and job.last_checkpoint.step >= 2)
    saved = job.last_checkpoint.step
    os.kill(job.pid, signal.SIGKILL)
    wait(lambda: job.state.over)
    assert job.state is JobState.FAILED
    assert "signal 9" in job.ending.reason
    assert job.ending.step >= saved
    assert read_run(job.run).status == "interrupted"
    from dataclasses import replace

    again = queue.submit(replace(spec, resume=True, steps=saved + 2))
    wait(lambda: again.state.over)
    assert again.state is JobState.DONE, again.details
    assert again.ending.step == saved + 2


def test_bad_input_is_one_line(queue, spec_for, sample, tmp_path, wait):
    spec = spec_for(sample, tmp_path / "run", 2)
    spec = JobSpec("train", spec.out, models=(tmp_path / "nothing.ply",), preset="tiny")
    job = queue.submit(spec)
    wait(lambda: job.state.over)
    assert job.state is JobState.FAILED
    assert "nothing.ply" in job.ending.reason
    assert "\n" not in job.ending.reason


def test_queue_runs_one_after_another(queue, spec_for, sample, tmp_path, wait):
    first = queue.submit(spec_for(sample, tmp_path / "a", 2), "thread")
    second = queue.submit(spec_for(sample, tmp_path / "b", 1), "thread")
    third = queue.submit(spec_for(sample, tmp_path / "c", 1), "thread")
    assert [j.state for j in (second, third)] == [JobState.QUEUED] * 2
    queue.promote(third)
    assert queue.waiting == [third, second]
    queue.drop(second)
    wait(lambda: first.state.over and third.state.over)
    assert not (tmp_path / "b").exists()


def test_shell_run_is_attached_and_survives_detaching(queue, spec_for, sample, tmp_path, wait):
    spec = spec_for(sample, tmp_path / "run", 100_000)
    process = subprocess.Popen(spec.command(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait(lambda: (info := read_run(spec.out)) is not None and info.running)
        job = queue.attach(spec.out)
        assert job is not None
        assert queue.attach(spec.out) is job
        wait(lambda: job.last_progress is not None)
        job.detach()
        assert process.poll() is None
        other = JobQueue()
        again = other.attach(spec.out)
        wait(lambda: again.last_progress is not None)
        again.stop()
        wait(lambda: again.state.over)
        assert again.state is JobState.STOPPED
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_worker_has_lower_priority(queue, spec_for, sample, tmp_path, wait):
    job = queue.submit(spec_for(sample, tmp_path / "run", 100_000))
    wait(lambda: job.state is JobState.RUNNING)
    assert psutil.Process(job.pid).nice() > psutil.Process().nice()
    job.terminate()
    wait(lambda: job.state.over)
    assert job.state is JobState.STOPPED
