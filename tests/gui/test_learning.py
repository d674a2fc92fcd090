"""Learn from these poses: what `quick` does after its track, told, called off and begun."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hands import answer, click
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication
from tracked_block import pose_at

from self6d.config import merge, overrides
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.laptop.order import STAGE_1, STAGE_2
from self6d.laptop.settings import own_settings
from self6d.run_config import build_config
from self6d.runs.folder import RunFolder
from studio.tracking.panel import WAITS

pytestmark = pytest.mark.gui


def write_track(path: Path, recording: Path, shift_mm: float = 0.0) -> Path:
    """A run of `track`, as it lies on disk when it is done; poses may be far from the block."""
    run = RunFolder.create(path, "track", {}, {"data": str(recording)})
    run.update(status="done")
    rows = []
    for i in (0, 1, 2, 4, 5):
        pose = pose_at(i)
        pose = replace(pose, t_m2c=pose.t_m2c + np.array([0, 0, shift_mm / 1000]))
        rows.append(TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, pose, 0.95))
    write_pose_track(run.path / "poses.json", rows)
    return run.path


@pytest.fixture
def started(open_studio, block_recording, tmp_path, wait):
    """Opens a window with a track."""

    def start(shift_mm: float = 0.0):
        window = open_studio(block_recording)
        wait(lambda: window.project.models)
        wait(lambda: window.workspace.tracking.plan.own is not None)
        window.opener.open_run(
            write_track(tmp_path / "runs" / "block-track", block_recording, shift_mm)
        )
        window.workspace.show_track()
        wait(lambda: window.workspace.track_panel.learn.isEnabled())
        return window

    return start


def end(window, wait) -> None:
    """Stop what runs, so that nothing is trained here; what waits for it goes."""
    first, second = window.queue.jobs
    first.kill()
    wait(lambda: first.state.over and second not in window.queue.jobs)


def assert_as_quick(first, second, height: int) -> None:
    """That two jobs are set as `quick` sets its own."""
    ours = merge(overrides(own_settings(height, overrides({}))), overrides({"models.unit": "mm"}))
    one = build_config(first.preset, overrides(first.overrides), stage=1)
    assert replace(one, adapt=None) == replace(build_config(STAGE_1, ours, stage=1), adapt=None)
    two = build_config(second.preset, overrides(second.overrides), stage=2)
    assert replace(two, train=None) == replace(build_config(STAGE_2, ours, stage=2), train=None)
    assert (two.network.views, two.synthesis.views_share) == (9, 0.7)


def test_its_phases_are_told_and_its_jobs_are_those_of_quick(started, wait):
    window = started()
    panel, space = window.workspace.track_panel, window.workspace
    told = panel.learn_way.text()
    assert "1. the recording's colours" in told
    assert "2. stage 1, synthetic images: 1500 steps, about 9 min" in told
    assert "3. learning from the track: 2500 steps, about 28 min" in told
    assert "Times are of two idle CPU cores" in told  # as `STEP_S` was timed
    # the colours come first; while they are taken the start can be called off
    click(panel.learn)
    assert panel.learn.text() == WAITS
    click(panel.learn)
    wait(lambda: not space.unfinished())
    assert not window.queue.jobs
    assert not list(window.settings.runs_folder.glob("*colours*"))
    click(panel.learn)
    wait(lambda: len(window.queue.jobs) == 2)
    first, second = (job.spec for job in window.queue.jobs)
    end(window, wait)
    for spec in (first, second):
        (models,) = spec.models
        assert (models / "recolour.json").exists()
    assert second.from_run == first.out
    assert_as_quick(first, second, 120)


def test_without_colours_the_models_in_use_are_learned(started, wait):
    window = started()
    panel = window.workspace.track_panel
    click(panel.with_colours)
    assert "colours" not in panel.learn_way.text()
    click(panel.learn)
    first, second = (job.spec for job in window.queue.jobs)
    end(window, wait)
    assert list(first.models) == list(second.models) == window.project.model_paths


def test_a_button_that_goes_off_hands_its_keys_to_no_other(started):
    """Space pressed twice on `Forget key frame` unticked the box below it."""
    window = started()
    panel, project = window.workspace.track_panel, window.project
    project.edit_pose(project.poses[project.frame_index, 1], "Move object")
    panel.forget.setFocus()
    for _ in range(2):
        QTest.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_Space)
    assert not project.keys
    assert panel.with_colours.isChecked()
    assert not isinstance(QApplication.focusWidget(), QAbstractButton)


def test_where_no_colours_can_be_had_that_is_said_and_it_goes_on(started, wait):
    window = started(shift_mm=150)
    panel = window.workspace.track_panel
    click(panel.learn)
    wait(lambda: len(window.queue.jobs) == 2)
    first, _ = (job.spec for job in window.queue.jobs)
    said = window.banner.text.text()
    end(window, wait)
    assert list(first.models) == window.project.model_paths
    assert "keep their own colours" in said


def test_the_bar_says_that_colours_are_taken_and_cancels_them(started, wait, monkeypatch):
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: False)
    window = started()
    bar, colours = window.job_bar, window.workspace.track_panel.colours
    wait(lambda: bar.go.text() == "Learn from these poses")
    click(bar.go)  # the tab's own button and bar may be out of sight
    wait(lambda: bar.text.text().startswith("Taking the recording's colours"))
    assert bar.text.text().endswith("; then it is learned.")
    assert bar.go.text() == "Cancel"
    assert colours.cancel.isEnabled()
    click(bar.go)
    wait(lambda: bar.go.text() == "Learn from these poses")
    assert not window.workspace.unfinished()
    assert not window.queue.jobs  # nothing was learned, nothing was written
    assert not list(window.settings.runs_folder.glob("*colours*"))
    assert colours.picture.isHidden()


def test_a_track_that_is_being_read_is_not_offered_to_be_made(started, wait, monkeypatch):
    """After a restart "Track" was offered, and would have followed all frames again."""
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: False)
    window = started()
    tracking, bar = window.workspace.tracking, window.job_bar
    run = window.project.track.run
    window.project.track = None
    window.project.edit_pose(window.project.pose(), "Place object")  # a key frame to follow from
    tracking.load(run)
    window.workspace.next_step.refresh()
    assert bar.text.text() == "Reading the poses of block-track."
    assert not bar.go.isVisible()
    wait(lambda: window.project.track is not None)
    assert not tracking.reading
    wait(lambda: bar.go.isVisible() and "Reading" not in bar.text.text())
    (run / "poses.json").write_text("{")
    tracking.load(run)
    wait(lambda: not tracking.reading)
    assert "poses.json" in window.banner.text.text()


def test_its_poses_are_written_as_labels(started, tmp_path, wait, monkeypatch):
    """The window had no way to them: only `label` on the command line."""
    window = started()
    project, part, banner = window.project, window.workspace.track_panel.labels, window.banner
    monkeypatch.setattr("studio.shell.wiring.label_export.folder_for", lambda *_: tmp_path)
    assert part.note.text().endswith("5 poses are sure enough.")
    part.format.setCurrentIndex(part.format.findData("coco"))
    click(part.write)
    assert window.workspace.unfinished() == ["labels"]
    wait(lambda: not window.workspace.unfinished())
    out = tmp_path / "block-track-coco-01"
    assert banner.text.text().startswith(
        f"Written: {out.name}. 5 labels in 5 of 6 frames: the poses of block-track"
    )
    boxes = json.loads((out / "annotations.json").read_text())["annotations"]
    assert len(boxes) == 5
    assert (out / "report.html").is_file()

    # what was corrected since is not in the track, and would be left out unsaid
    project.select_frame(0)
    project.edit_pose(replace(project.pose(), t=project.pose().t * 1.01), "Move pose")
    assert part.note.text() == "Corrected poses are not in the track yet: track again first."
    assert not part.write.isEnabled()
    window.actions_registry["file.labels"].trigger()
    assert banner.text.text() == part.note.text()
    project.undo.undo()
    assert part.write.isEnabled()
    project.close()
    window.actions_registry["file.labels"].trigger()
    assert banner.text.text() == "Track the recording first."


def test_a_stage_1_that_was_stopped_is_gone_on_with_before_anything_is_learned(
    started, wait, monkeypatch, block_recording
):
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: False)
    window = started()
    wait(lambda: window.job_bar.go.text() == "Learn from these poses")
    models = [str(path) for path in window.project.model_paths]
    about = {"data": str(block_recording), "preset": STAGE_1, "models": models}
    run = RunFolder.create(window.settings.runs_folder / "block-train-01", "train", {}, about)
    run.update(status="stopped", step=28, total=1500)
    (run.path / "checkpoints").mkdir(exist_ok=True)
    (run.path / "checkpoints" / "step_00000028.json").write_text("{}")
    window.project.add_run(run.path)
    wait(lambda: window.job_bar.go.text() == "Resume")
    assert "stopped at step 28 of 1500; then a network" in window.job_bar.text.text()


@pytest.mark.parametrize("way", ["stop", "cancel"])
def test_what_waited_for_a_stage_1_that_does_not_come_is_named(started, wait, way):
    window = started()
    click(window.workspace.track_panel.with_colours)
    click(window.workspace.track_panel.learn)
    first, second = window.queue.jobs
    names = first.run.name, second.run.name
    if way == "cancel":
        answer("discard")
    click(getattr(window.job_bar, way))
    wait(lambda: window.queue.jobs == ([first] if way == "stop" else []))
    wait(lambda: f"{names[1]} does not start: {names[0]}" in window.banner.text.text())
    assert window.banner.isVisible()
    if way == "stop":
        again = window.runs.resume_run(first.run)
        wait(lambda: len(window.queue.jobs) == 3)  # what waited for it waits again
        (back,) = window.queue.waiting
        assert (back.spec, again.spec.resume) == (second.spec, True)
        assert f"{names[1]} waits until {names[0]} has ended" in window.banner.text.text()
        assert not window.chain._held
    else:
        assert not window.chain.waiting  # its run is gone for good
