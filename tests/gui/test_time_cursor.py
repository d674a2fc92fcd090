"""One cursor for picture, cloud, curves, probes and checkpoints; results of any length arrive."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hands import click, drop
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from self6d import jobs
from self6d.events import Finished
from self6d.runs.event_log import to_record
from self6d.runs.folder import RunFolder
from studio.jobs import JobState
from studio.jobs.follow import CHUNK, RunFollower
from studio.jobs.messages import Mailbox
from studio.jobs.run_info import checkpoint_steps

pytestmark = pytest.mark.gui

QUICK = {
    "adapt.detection_score": 0.0, "adapt.batch": 1, "adapt.region": 48, "loss.perceptual": 0.0,
    "adapt.refresh_every": 0, "adapt.health_frames": 2, "adapt.max_objects": 2,
    "adapt.pseudo": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def adapted(sample, trained, tmp_path_factory):
    """Three steps with a checkpoint after each; the two newest are kept."""
    out = tmp_path_factory.mktemp("runs") / "adapted"
    steps = {"loop.checkpoint_every": 1, "loop.keep_last": 2, "loop.preview_every": 1}
    jobs.adapt(sample, [sample / "models"], trained, out=out, preset="self6d-tiny", steps=3,
               overrides={**QUICK, **steps})  # fmt: skip
    return out


def test_probes_follow_the_checkpoint_that_is_chosen(opened, adapted, wait):
    drop(opened, adapted)
    space, project = opened.workspace, opened.project
    curves, stage, probes = space.curves, space.stage, space.stage.probes
    run = str(adapted)
    wait(lambda: run in curves.runs and probes.newest is not None)
    assert probes.start.preview is None  # what is out of sight is not drawn yet
    click(opened.header.buttons["selfsup"])
    click(stage.tabs.button("probes"))
    probe = project.recording.keys.index(probes.newest.frame)
    named = f"frame {probe + 1}, adapted, step"
    assert probes.start.caption == f"Start, {named} 0"
    assert probes.now.caption == f"Now, {named} 3"
    wait(lambda: "frame" in stage.cloud_view.legend.text() or not probes.newest.poses)

    project.select_frame(len(project.recording) - 1)
    place = curves.checkpoint_place(run, 2)
    QTest.mouseClick(curves.plot.viewport(), Qt.MouseButton.LeftButton, pos=place)
    wait(lambda: probes.now.preview is not None and probes.now.preview.step == 2)
    assert stage.page == "probes"
    assert project.frame_index == probe
    assert probes.now.caption == f"{named} 2"
    said = [pose["t_m2c"] for pose in probes.now.preview.poses]
    np.testing.assert_allclose(said, [p.t for p in project.frame_poses(probe)])
    assert curves.at == (run, 2)
    if probes.choice.count() > 1:  # another probe, the same checkpoint
        probes.choice.setFocus()
        QTest.keyClick(probes.choice, Qt.Key.Key_Down)
        wait(lambda: probes.now.preview is not None and probes.now.preview.step == 2)
        assert project.frame_index == stage.probe_frame() != probe
    click(curves.leave)
    assert probes.now.preview.step == 3
    assert curves.at == ("", None)
    assert not curves.leave.isVisible()


def test_marks_and_axis_are_those_of_the_run(opened, adapted, wait):
    drop(opened, adapted)
    curves, run = opened.workspace.curves, str(adapted)
    wait(lambda: run in curves.runs and curves.runs[run].checkpoints)
    assert curves.runs[run].checkpoints == checkpoint_steps(adapted) == [2, 3]
    curves.set_checkpoints(run, [2, 3, 300])
    axis = curves.plot.getPlotItem().getAxis("bottom")
    assert axis.range[1] >= 300  # the newest mark is inside, and the axis was told
    assert axis.range == pytest.approx(curves.view.viewRange()[0])


def ready_to_adapt(window, trained, wait):
    """The panel of stage 2, with a run of stage 1 to begin from."""
    drop(window, trained)
    wait(lambda: window.project.runs)
    click(window.header.buttons["selfsup"])
    panel = window.workspace.adapt_panel
    wait(lambda: panel.form.ready and panel.spec() is not None)
    return panel


def test_marks_of_a_run_at_work_are_what_is_on_disk(opened, trained, wait):
    space, panel = opened.workspace, ready_to_adapt(opened, trained, wait)
    more = {**QUICK, "loop.checkpoint_every": 1, "loop.keep_last": 2, "loop.preview_every": 1}
    quick = replace(panel.spec(), steps=4, overrides=more, preset="self6d-tiny")
    panel.runRequested.emit(quick)
    job = opened.runs.job
    name = job.run.name
    assert space.stage.probes.now.message == f"The probe frames of {name} come with its first step."
    assert space.curves.message.text() == f"The curves of {name} come with its first steps."
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, job.details
    run = str(job.run)
    wait(lambda: space.curves.runs[run].checkpoints == checkpoint_steps(job.run))
    layers = space.layering.panel
    assert layers._steps[job.run] == checkpoint_steps(job.run)


def test_of_a_job_that_failed_no_curves_are_promised(opened, trained, wait):
    space, panel = opened.workspace, ready_to_adapt(opened, trained, wait)
    panel.runRequested.emit(replace(panel.spec(), overrides={"adapt.no_such": 1}))
    job = opened.runs.job
    wait(lambda: job.state.over)
    assert job.state is JobState.FAILED
    assert space.curves.message.text() == f"{job.run.name} has no curves: it failed."
    assert space.stage.probes.now.message == f"{job.run.name} has no probe frames: it failed."


def test_of_an_old_run_that_failed_no_curves_are_promised(opened, tmp_path, wait):
    run = RunFolder.create(tmp_path / "broken", "selfsup", {})
    run.update(status="failed", error="the disk was full")
    drop(opened, run.path)
    wait(lambda: opened.workspace.curves.message.text() == "broken has no curves: it failed.")
    assert opened.workspace.curves.message.isVisible()


@pytest.mark.parametrize("size", [10, CHUNK - 1, 3 * CHUNK])
def test_a_long_result_reaches_the_window(tmp_path, qtbot, size):
    """A result with its trajectory is longer than what is read at once."""
    ending = Finished("done", 200, {"trajectory": "x" * size})
    line = json.dumps(to_record(ending))
    (tmp_path / "events.jsonl").write_text(line[: len(line) // 2])
    mailbox, got, alive, ended = Mailbox(), [], [True], []
    mailbox.other.connect(got.append)
    mailbox.open()
    follower = RunFollower(tmp_path, mailbox, lambda: alive[0], ended.append)
    follower.start()
    qtbot.wait(250)  # half a line is no line
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(line[len(line) // 2 :] + "\n")
    alive[0] = False
    qtbot.waitUntil(lambda: bool(ended), timeout=5000)
    follower.halt()
    qtbot.waitUntil(lambda: bool(got), timeout=2000)
    mailbox.close()
    assert ended == [True]
    assert got[-1].result == ending.result
