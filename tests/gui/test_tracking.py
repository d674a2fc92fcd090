"""Place, track, correct and learn in the window, where there is no GPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
from block_shapes import block
from hands import click, fill
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from tracked_block import pose_at, write_recording

from self6d.datasets.pose_track import read_pose_track
from self6d.runs.folder import RunFolder
from self6d.scene.models_copy import save_models
from studio.jobs import JobSpec, JobState
from studio.jobs.queue import JobQueue
from studio.jobs.run_info import read_run
from studio.jobs.spec import spec_from
from studio.model.track import Track
from studio.posing.nudge import to_angles
from studio.toolkit.theme import theme
from studio.views.scrubber import HEIGHT

pytestmark = pytest.mark.gui

FEW = {
    "track.points": 96, "track.candidates": 250, "track.steps": 8, "track.region": 64,
    "track.views": 48, "track.keep": 8, "track.hypotheses": 2, "track.looked_at": 8,
    "loss.points": 256,
}  # fmt: skip
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(open_studio, block_recording, settings, wait, monkeypatch):
    """The block's recording, without a GPU and without a network; jobs in a thread."""
    settings.runner = "thread"
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: False)
    window = open_studio(block_recording)
    tracking = window.workspace.tracking
    wait(lambda: window.project.models and window.director.frame is not None)
    wait(lambda: tracking.plan.own is not None)
    tracking.plan.more = {"overrides": FEW}  # quicker, and taken over from a run by Duplicate
    return window


def type_pose(window, pose) -> None:
    """A pose typed into the Pose tab, some degrees and millimetres off."""
    boxes = window.workspace.pose_panel.numbers.boxes
    for name, value in zip(boxes, (*(1000 * pose.t_m2c), *to_angles(pose.R_m2c)), strict=True):
        fill(boxes[name], f"{value + 3:.1f}")


def test_placed_once_tracked_corrected_tracked_again_and_learned(window, wait):
    project, space, bar = window.project, window.workspace, window.job_bar
    panel, scrubber = space.track_panel, space.stage.scrubber
    wait(lambda: bar.go.text() == "Place the object")
    assert "without a GPU" in bar.text.text()
    assert bar.other.text() == "Go to stage 1"
    assert not panel.go.isEnabled()
    click(bar.go)
    assert space.inspector.currentWidget() is space.pose_panel
    assert space.pose_panel.edit.isChecked()
    wait(lambda: bar.go.text() == "Search")  # placing is under way and not offered again
    canvas = space.stage.frame_view.canvas
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    wait(lambda: project.pose() is not None)
    type_pose(window, pose_at(0))
    assert set(project.keys) == {(0, 1)}

    # nothing is followed from behind the camera, and the way there is one click
    good = project.pose()
    fill(space.pose_panel.numbers.boxes["z"], "-300")
    wait(lambda: bar.go.text() == "Show it")
    assert "On frame 1 block lies behind the camera" in bar.text.text()
    assert "On frame 1 block lies behind the camera" in panel.problem.text()
    assert not panel.go.isEnabled()
    project.select_frame(2)
    click(bar.go)
    assert project.frame_index == 0
    type_pose(window, pose_at(0))
    np.testing.assert_allclose(project.pose().t, good.t, atol=1e-3)

    # one click follows it through all frames; the block is away in the fourth
    wait(lambda: bar.go.text() == "Track")
    click(bar.go)
    job = window.runs.job
    assert job.spec.kind == "track"
    strips = []
    project.trackChanged.connect(
        lambda: strips.append(len(scrubber._track)) if not job.state.over else None
    )
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, (job.ending, job.details)
    assert max(strips, default=0) >= 2  # it grew while the job ran
    wait(lambda: project.track is not None and project.track.rows)
    states = [project.track.strip(1)[i][0] for i in range(6)]
    assert states[3] == "lost"
    weak = f"{states.count('weak')} weak and " * ("weak" in states)
    said = f"Tracking is done: {job.run.name}, {weak}1 lost of 6 poses: see Track."
    assert window.banner.text.text() == said  # a tick, and no word of it
    assert window.banner.objectName() == "banner_warn"
    assert states[4] == "found again"
    for i in (0, 1, 2, 4, 5):
        assert np.linalg.norm(project.poses[i, 1].t - pose_at(i).t_m2c) < 0.005
    assert (3, 1) not in project.poses
    space.show_track()
    assert "block, by" in panel.result.text()
    assert "1 lost" in panel.result.text()
    picture = scrubber.grab().toImage()
    colour = lambda i: picture.pixelColor(round(scrubber._x_of(i)), HEIGHT - 3).name()  # noqa: E731
    assert colour(3) == theme.colour("bad").name()
    assert colour(1) == theme.colour("good").name()
    click(panel.on)
    assert project.frame_index == 3
    scrubber.setFocus()
    QTest.keyClick(scrubber, Qt.Key.Key_End)
    wait(lambda: window.director.frame.index == 5)
    wait(lambda: space.stage.frame_view.rendering("predicted") is not None)
    assert "frame 6, tracked by" in space.stage.frame_view.note
    assert bar.go.text() == "Learn from these poses"
    sure = project.track.sure(0.8)  # that the others are left out stood on the Track tab alone
    left_out = f"learns the {sure} sure poses; {6 - sure} doubtful one"
    assert left_out in bar.text.text()

    # what is corrected becomes a key frame; it is followed to both sides and the rest stands
    assert not panel.again.isEnabled()
    canvas.setFocus()
    for _ in range(3):
        QTest.keyClick(canvas, Qt.Key.Key_Right)
    assert set(project.keys) == {(0, 1), (5, 1)}
    assert panel.again.text() == "Track again from here"
    assert 5 not in scrubber._track  # it told how sure the old pose was
    wait(lambda: bar.go.text() == "Track again from here")  # before the poses are learned
    before = project.track
    click(panel.again)
    again = window.runs.job
    assert again is not job
    kept = read_pose_track(again.spec.options["keep"])
    assert [p.key.image_id for p in kept] == [0]
    wait(lambda: again.state.over)
    assert again.state is JobState.DONE, (again.ending, again.details)
    wait(lambda: project.track is not before and project.track.rows)
    assert np.linalg.norm(project.poses[5, 1].t - pose_at(5).t_m2c) < 0.005
    assert not panel.again.isEnabled()
    click(panel.forget)
    assert set(project.keys) == {(0, 1)}
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert set(project.keys) == {(0, 1), (5, 1)}

    # undone further, the pose is the first track's again: the strip does not tell the second's
    assert set(scrubber._track) == set(range(6))
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.told_by(5).startswith(f"tracked by {job.run.name}")
    assert set(scrubber._track) == set(range(5))
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    assert set(project.keys) == {(0, 1), (5, 1)}
    assert 5 not in scrubber._track  # nor where the pose is as it was typed

    # the run tells its whole command, and brings its poses back when it is shown again
    spec = spec_from(read_run(again.run))
    assert not spec.lacks()
    assert {p.key.image_id for p in read_pose_track(spec.options["init"])} == {0, 5}
    window.runs.act("open", job.run)
    wait(lambda: project.track.run == job.run)
    saved = project.to_dict()
    assert {row["frame"] for row in saved["keys"]} == {0, 5}

    panel.plan.more = {}
    window.runs.act("duplicate", job.run)
    assert panel.plan.more["overrides"] == FEW
    assert "track.views = 48" in panel.more.text()
    click(panel.drop_more)
    assert not any("track.views" in word for word in panel.plan.spec().arguments())

    # learn: without a network the smallest one comes first, and what waits goes if it does not come
    wait(lambda: bar.go.text().startswith("Track again"))  # the first track lacks the sixth frame
    window.runs.act("open", again.run)
    wait(lambda: bar.go.text() == "Learn from these poses")
    window.settings.runner = "process"
    assert "5 of 5 poses are sure enough" in panel.learn_way.text()
    click(panel.with_colours)  # without them: see test_learning
    click(bar.go)
    first, second = window.queue.jobs[-2:]
    assert (first.spec.kind, first.spec.preset) == ("train", "tiny")
    assert first.spec.overrides["synthesis.height"] == 120
    assert (second.spec.kind, second.spec.preset) == ("adapt", "laptop")
    assert second.spec.from_run == first.run
    assert second.spec.options["poses"] == again.run / "poses.json"
    assert second.state is JobState.QUEUED
    first.kill()
    wait(lambda: first.state.over)
    assert second not in window.queue.jobs
    assert f"{second.run.name} does not start" in space.log.text.toPlainText()


def test_a_track_at_work_that_is_joined_shows_what_it_found_before(
    window, block_recording, tmp_path, wait
):
    """Frames done until then stayed bare to the end."""
    project, pose, shell = window.project, pose_at(0), JobQueue()
    (tmp_path / "pose.json").write_text(
        json.dumps({"R_m2c": pose.R_m2c.tolist(), "t_m2c_m": pose.t_m2c.tolist()})
    )
    spec = JobSpec(
        "track", tmp_path / "elsewhere", data=block_recording, device="cpu",
        models=(block_recording / "models",), options={"init": tmp_path / "pose.json"},
        overrides=FEW | {"track.steps": 60},  # so long that it can be joined
    )  # fmt: skip
    begun = shell.submit(spec)
    try:
        wait(lambda: begun.step and begun.step >= 2)
        begun.pause()
        wait(lambda: begun.state is JobState.PAUSED or begun.state.over)
        assert begun.state is JobState.PAUSED, begun.details
        begun.detach()
        project.add_run(spec.out)
        window.runs.act("attach", spec.out)
        (job,) = window.queue.active
        wait(lambda: project.track is not None and len(project.track.states) >= 2, 20)
        assert project.track.run == spec.out
        assert not project.track.rows  # it is being made
        for (index, number), found in project.poses.items():
            assert np.linalg.norm(found.t - pose_at(index).t_m2c) < 0.01
            assert "tracked by elsewhere" in project.origins[index, number]
        job.stop()
        wait(lambda: job.state.over)
    finally:
        begun.kill()
        shell.close()
    wait(lambda: project.track.rows)


def test_a_track_is_paused_stopped_and_resumed(window, wait):
    project, bar = window.project, window.job_bar
    wait(lambda: bar.go.text() == "Place the object")
    click(bar.go)
    canvas = window.workspace.stage.frame_view.canvas
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    wait(lambda: project.pose() is not None)
    type_pose(window, pose_at(0))
    wait(lambda: bar.go.text() == "Track")
    click(bar.go)
    job = window.runs.job
    wait(lambda: job.last_progress is not None)
    click(bar.pause)
    wait(lambda: job.state is JobState.PAUSED)
    at = job.last_progress.step
    assert at < 6
    assert bar.pause.text() == "Resume"
    space = window.workspace
    space.bottom.setCurrentWidget(space.jobs_panel)
    click(space.jobs_panel.resume_button)  # it was grey here
    wait(lambda: job.state is JobState.RUNNING)
    assert not space.jobs_panel.resume_button.isEnabled()
    click(bar.stop)  # Stop early (keep)
    wait(lambda: job.state.over)
    assert job.state is JobState.STOPPED, (job.ending, job.details)
    done = len([p for p in read_pose_track(job.run / "poses.json") if p.pose is not None])
    assert at <= done < 6
    wait(lambda: project.track is not None and project.track.stopped)
    # frames that were not looked at are not called lost
    states = {state for state, _ in window.workspace.stage.scrubber._track.values()}
    assert "lost or not reached" in states
    assert "lost" not in states
    assert f"{6 - done} lost or not reached" in window.workspace.track_panel.result.text()
    # the rest comes first, and nothing is learned from a part of it unasked
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Resume")
    assert "stopped at step" in bar.text.text()
    click(bar.go)
    again = window.runs.job
    assert again.run == job.run
    wait(lambda: again.state.over)
    assert again.state is JobState.DONE, (again.ending, again.details)
    wait(lambda: project.track.run == job.run and not project.track.stopped and project.track.rows)
    for i in (0, 1, 2, 4, 5):
        assert np.linalg.norm(project.poses[i, 1].t - pose_at(i).t_m2c) < 0.005


def _network(project, path, kind):
    """A run with a checkpoint, known to the project."""
    network = RunFolder.create(path, kind, {})
    (network.path / "checkpoints").mkdir(exist_ok=True)
    (network.path / "checkpoints" / "step_00000001.json").write_text("{}")
    network.update(status="done")
    project.add_run(network.path)
    return network


def test_the_network_that_found_the_objects_learns_from_their_track(window, settings):
    project, plan = window.project, window.workspace.tracking.plan
    adapted = _network(project, settings.runs_folder / "adapted", "selfsup")
    trained = _network(project, settings.runs_folder / "net", "synthetic")
    assert plan.network().path == trained.path  # one not adapted yet
    track = RunFolder.create(
        settings.runs_folder / "track", "track", {}, {"from_run": str(adapted.path)}
    )
    project.track = Track(track.path)
    assert plan.network().path == adapted.path


@pytest.mark.parametrize(("gpu", "preset"), [(False, "laptop"), (True, "tracked")])
def test_with_a_network_that_one_learns(window, settings, tmp_path, monkeypatch, gpu, preset):
    monkeypatch.setattr("studio.tracking.plan.has_gpu", lambda: gpu)
    project, plan = window.project, window.workspace.tracking.plan
    network = _network(project, settings.runs_folder / "net", "synthetic")
    assert plan.stage_1() is None
    words = plan.learning(tmp_path / "track", plan.network().path, new=False).arguments()
    assert words[:2] == ["adapt", str(project.recording_path)]
    for option, value in (
        ("--from", str(network.path)), ("--poses", str(tmp_path / "track" / "poses.json")),
        ("--preset", preset),
    ):  # fmt: skip
        assert words[words.index(option) + 1] == value
    assert f"by the preset {preset}: minutes" in plan.learn_told()
    assert not any("adapt.steps" in word for word in words)
    plan.chosen = "search"
    spec = plan.spec()
    assert "--search" in spec.arguments()
    assert not spec.lacks()
    json.dumps(project.to_dict())


def test_without_depth_an_object_is_placed_and_tracked_by_colours(
    open_studio, tmp_path, settings, wait, monkeypatch
):
    data = write_recording(tmp_path / "block", [pose_at(i) for i in range(3)])
    save_models([block()], data / "models")
    for file in (data / "test" / "000001" / "depth").iterdir():
        file.unlink()
    settings.runner = "thread"
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: False)
    window = open_studio(data)
    project, panel = window.project, window.workspace.track_panel
    wait(lambda: project.models and window.director.frame is not None)
    wait(lambda: panel.problem.text().startswith("Place the object on a frame first"))
    assert "or start from a network" in panel.problem.text()
    assert "The recording has no depth" in panel.without_depth.text()
    assert "Distances are less certain" in panel.without_depth.text()
    panel._on_start("search")
    assert "searching whole images looks at depth: place the object" in panel.problem.text()
    assert not panel.go.isEnabled()
    panel._on_start("keys")
    window.workspace.show_track()
    assert panel.focal_error.value() == 2.5
    fill(panel.focal_error, "0.5")
    bar = window.job_bar
    wait(lambda: bar.go.text() == "Place the object")
    click(bar.go)
    canvas = window.workspace.stage.frame_view.canvas
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    wait(lambda: project.pose() is not None)
    pose_panel, modes = window.workspace.pose_panel, window.workspace.stage.frame_view.modes
    assert not pose_panel.search.isEnabled()
    assert "this frame has none" in pose_panel.search.toolTip()
    assert "measured depth" not in pose_panel.keys.text()
    assert pose_panel.snap.isHidden()
    assert modes.offered == ("photo", "overlay", "wipe", "flicker")
    assert not window.actions_registry.entries["view.mode.depth"].action.isEnabled()
    landed, before = [], project.pose()
    monkeypatch.setattr(window.workspace.pose_editing, "land", lambda *_: landed.append(1))
    middle = canvas.rect().center()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    for part in (10, 20):
        QTest.mouseMove(canvas, middle + QPoint(part, 0))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(20, 0))
    assert project.pose().t[0] > before.t[0]
    assert not landed  # there is no depth to land on, and nothing is said of it
    type_pose(window, pose_at(0))
    wait(lambda: bar.go.text() == "Track")
    click(bar.go)
    job = window.runs.job
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, (job.ending, job.details)
    assert RunFolder.open(job.run).config["track"]["focal_error"] == 0.005
    assert "objects are followed by colours alone" in (job.run / "events.jsonl").read_text()
    wait(lambda: project.track is not None and project.track.rows)
    for i in range(3):
        assert np.linalg.norm(project.poses[i, 1].t - pose_at(i).t_m2c) < 0.015
