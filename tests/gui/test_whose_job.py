"""A job belongs to what it works on: another project's panels neither steer it nor take it over."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hands import answer, click, click_line, drop, fill
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from small_runs import STAGE_2

from self6d import cli
from self6d.datasets import open_dataset
from studio.engine.types import PoseData
from studio.jobs.spec import JobSpec
from studio.views.frame import NO_FRAME, READING

pytestmark = pytest.mark.gui


@pytest.fixture
def other(sample, tmp_path) -> Path:
    """Another recording, that comes without CAD models."""
    return shutil.copytree(
        sample, tmp_path / "other", ignore=shutil.ignore_patterns("models", "models_*")
    )


@pytest.fixture
def steered(opened, trained, wait):
    """A window with a stage 2 at work whose mask weight was changed by hand."""
    window, panel = opened, opened.workspace.adapt_panel
    window.project.add_run(trained)
    click(window.header.buttons["selfsup"])
    for name, value in {"preset": "self6d-tiny", "steps": 5000}.items():
        window.project.edit_option(f"adapt:{name}", value, "Set up")
    for key, value in STAGE_2.items():
        window.project.edit_option(f"adapt:set:{key}", value, "Set up")
    wait(lambda: panel._fields_of == "self6d-tiny" and panel.run_button.isEnabled())
    click(panel.run_button)
    wait(lambda: window.runs.job.last_progress is not None)
    fill(panel.weights.boxes["mask"], "0.25")
    wait(lambda: (window.runs.job.run / "control.jsonl").exists())
    return window


def assert_copy_takes_no_folder_of(window, go, copy, wait) -> None:
    """Copy as command beside two jobs begun with `go`, which are then taken back."""
    click(go)
    click(go)  # the same again is none
    (job,) = window.queue.jobs
    window.runs.submit(replace(job.spec, seed=5))
    made = {job.run.name for job in window.queue.jobs}
    assert len(made) == 2
    click(copy)
    words = shlex.split(QApplication.clipboard().text())
    name = Path(words[words.index("--out") + 1]).name
    assert name not in made
    assert window.banner.text.text() == f"In the clipboard: the command that makes {name}."
    window.queue.drop(window.queue.waiting[0])
    answer("discard")
    click(window.job_bar.cancel)
    wait(lambda: window.runs.job is None)


def test_another_project_does_not_steer_the_job_at_work(steered, other, wait):
    window, panel, job = steered, steered.workspace.adapt_panel, steered.runs.job
    drop(window, other)
    wait(lambda: window.project.recording_path == other and window.director.frame is not None)
    assert job.state.active
    assert window.header.state("selfsup") != "busy"  # nothing is at work on this recording
    click(window.header.buttons["selfsup"])
    window.project.edit_option("adapt:preset", "self6d-tiny", "Change preset")
    wait(lambda: panel._fields_of == "self6d-tiny" and panel.weights.weight("mask") == 1)
    assert "running job" not in panel.weights_note.text()
    sent: list[tuple[str, float]] = []
    panel.liveWeight.connect(lambda term, weight: sent.append((term, weight)))
    fill(panel.weights.boxes["mask"], "0.75")
    assert panel.weights.weight("mask") == 0.75

    wait(lambda: panel.weights_note.text() == "")
    assert sent == []
    click(window.job_bar.stop)
    wait(lambda: job.state.over)
    assert sent == []


def test_a_run_of_another_recording_is_resumed_without_its_settings(
    opened, trained, sample, other, tmp_path, wait
):
    spec = JobSpec("adapt", tmp_path / "run", data=sample, from_run=trained, preset="self6d-tiny",
                   steps=1, overrides=STAGE_2)  # fmt: skip
    assert cli.run([*spec.arguments(), "--quiet"]) == 0
    drop(opened, other)
    wait(lambda: opened.project.recording_path == other)
    opened.project.add_run(spec.out)
    job = opened.runs.resume_run(spec.out)
    assert job.state.active
    panel = opened.workspace.adapt_panel
    assert panel.option("from") is None
    assert panel.option("steps") is None
    wait(lambda: job.state.over)


def test_a_copied_command_takes_no_folder_that_a_job_here_will_make(opened, trained, wait):
    window, panel = opened, opened.workspace.adapt_panel
    window.project.add_run(trained)
    click(window.header.buttons["selfsup"])
    wait(lambda: panel.run_button.isEnabled())
    assert_copy_takes_no_folder_of(window, panel.run_button, panel.copy_button, wait)


@pytest.mark.parametrize("tab", ["track_panel", "pose_panel"])
def test_nor_does_one_of_track_or_pose(opened, sample, wait, tab):
    window, panel = opened, getattr(opened.workspace, tab)
    label = open_dataset(sample).split("eval").truth(0)[0]
    pose = PoseData(label.object_id, label.pose.R_m2c, label.pose.t_m2c)
    window.project.select_object(label.object_id)
    window.project.edit_pose(pose, "Place object")
    go, copy = (
        (panel.go, panel.copy) if tab == "track_panel" else (panel.optimise, panel.copy_button)
    )
    window.workspace.inspector.setCurrentWidget(panel)
    wait(lambda: copy.isEnabled())
    assert_copy_takes_no_folder_of(window, go, copy, wait)


def test_a_stopped_job_is_not_resumed_twice_and_its_step_is_one(steered, wait):
    window, job, space = steered, steered.runs.job, steered.workspace
    panel = space.jobs_panel
    click(window.job_bar.stop)
    wait(lambda: job.state.over)
    space.bottom.setCurrentWidget(panel)
    row = panel.list.topLevelItem(0)
    assert row.text(3) == f"{job.ending.step}/5000"
    assert f"step {row.text(3)}" in window.job_bar.text.text()
    click(panel.resume_button)
    again = window.runs.job
    assert again is not job
    click_line(panel.list, 0)
    assert panel.chosen() is job
    assert not panel.resume_button.isEnabled()
    window.runs.act("resume", job.run)
    assert "already" in window.banner.text.text()
    assert len(window.queue.jobs) == 2
    again.kill()
    wait(lambda: again.state.over)
    assert panel.resume_button.isEnabled()


def test_while_the_first_frame_is_read_the_picture_says_so(open_studio, sample, other, wait):
    """It said to open a recording, and of a second one it showed the first one's frame."""
    window = open_studio()
    view = window.workspace.stage.frame_view
    assert view.canvas.message == NO_FRAME
    told = {}  # by recording, as its first frame is asked for
    window.project.frameChanged.connect(
        lambda _: told.update({window.project.recording_path: (view.frame, view.canvas.message)})
    )
    for path in (sample, other):
        drop(window, path)
        wait(lambda path=path: window.project.recording_path == path)
        wait(lambda: window.director.frame is not None)
    assert told == {None: (None, NO_FRAME), sample: (None, READING), other: (None, READING)}
    assert view.frame is window.director.frame
    window.close_project()
    assert (view.frame, view.canvas.message) == (None, NO_FRAME)


def test_what_cannot_be_undone_any_more_is_said(steered, wait):
    window, panel, job = steered, steered.workspace.adapt_panel, steered.runs.job
    click(window.job_bar.stop)
    wait(lambda: job.state.over)
    fill(panel.steps, "70")
    assert not panel.taken.isVisible()
    panel.set_live(job.spec)  # as Resume does: the job still has 5000
    assert panel.option("steps") == 5000
    assert panel.taken.isVisible()
    assert not window.project.undo.canUndo()
    panel.show_live(job.run, {"loss.mask": 0.125})  # weights that come after them
    assert panel.weights.weight("mask") == 0.125
    assert panel.taken.isVisible()
    panel.set_live(None)
    assert not panel.taken.isVisible()


def test_coming_back_the_panel_steers_the_job_with_the_weights_it_has(steered, other, sample, wait):
    window, panel, job = steered, steered.workspace.adapt_panel, steered.runs.job
    sent = (job.run / "control.jsonl").read_text()
    drop(window, other)
    wait(lambda: window.project.recording_path == other and window.director.frame is not None)
    drop(window, sample)
    wait(lambda: window.project.recording_path == sample and window.project.models)
    assert window.header.state("selfsup") == "busy"
    click(window.header.buttons["selfsup"])
    wait(lambda: panel.weights.weight("mask") == 0.25)
    wait(lambda: "running job" in panel.weights_note.text())
    assert panel.option("steps") == 5000
    assert (job.run / "control.jsonl").read_text() == sent
    for _ in range(2):  # weights of another time than the job's are not undone into it
        QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    QTest.qWait(100)
    assert panel.weights.weight("mask") == 0.25
    assert (job.run / "control.jsonl").read_text() == sent
    fill(panel.weights.boxes["ab"], "0.5")
    wait(lambda: (job.run / "control.jsonl").read_text() != sent)
    new = (job.run / "control.jsonl").read_text().removeprefix(sent)
    assert "loss.ab" in new
    assert "mask" not in new
    click(window.job_bar.stop)
    wait(lambda: job.state.over)
