"""track, from start to poses.json: followed, lost, found again, stopped and resumed."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d.datasets import FrameKey, load_models, open_dataset, pose_track
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState, read_pose_track
from self6d.engine import reporting
from self6d.errors import InputError, OutOfMemoryError, StorageError
from self6d.events import Note, Scalars
from self6d.geometry import Pose
from self6d.jobs import track
from self6d.runs import checkpoint
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.storage import atomic_write
from self6d.tracking.colours import closing
from self6d.tracking.starts import read_starts
from self6d.tracking.task import TrackTask
from self6d.tracking.told import looked_for, not_sure
from self6d.tracking.work import Row, Start, Target, first_walks, tracked_poses

FEW = {
    "track.points": 128, "track.candidates": 200, "track.steps": 8, "track.region": 64,
    "track.views": 48, "track.keep": 2, "track.looked_at": 8, "track.hypotheses": 2,
    "loss.points": 256,
}  # fmt: skip
AWAY = (5.0, 6.0, 7.0)


def rough(pose: Pose) -> Pose:
    """Some degrees and millimetres off."""
    c, s = np.cos(0.12), np.sin(0.12)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return Pose(turn @ pose.R_m2c, pose.t_m2c + np.array([0.006, -0.004, 0.008]))


def apart(a: Pose, b: Pose) -> float:
    """Mean distance of the model's vertices, metres (ADD)."""
    points = block().vertices
    return float(np.linalg.norm(a.transform(points) - b.transform(points), axis=1).mean())


@pytest.fixture(scope="module")
def leaving(tmp_path_factory) -> Path:
    """Ten frames; the block is away in three of them."""
    poses = [pose_at(i, AWAY) for i in range(10)]
    return write_recording(tmp_path_factory.mktemp("leaving"), poses)


def test_followed_lost_and_found_again(leaving, models, tmp_path):
    start = tmp_path / "start.json"
    pose = rough(pose_at(0))
    row = {"R_m2c": pose.R_m2c.tolist(), "t_m2c_mm": (1000 * pose.t_m2c).tolist()}
    start.write_text(json.dumps(row))
    run = track(leaving, models, tmp_path / "run", init=start, overrides=FEW, device="cpu")
    assert run.status == "done"
    found = list(read_pose_track(run.path / "poses.json"))
    assert [p.key.image_id for p in found] == list(range(10))
    for p in found:
        time = p.key.image_id
        if time in AWAY:
            assert p.state is TrackState.LOST
        else:
            assert p.pose is not None
            assert apart(p.pose, pose_at(time)) < 0.05 * block().diameter
            assert p.confidence > 0.5
    assert found[8].state is TrackState.FOUND_AGAIN
    assert run.result["objects"]["1"]["lost"] == 3


def test_backward_from_the_last_frame(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(5)])
    run = track(
        data, models, tmp_path / "run", init=rough(pose_at(4)), frame=4, overrides=FEW,
        device="cpu",
    )  # fmt: skip
    for p in read_pose_track(run.path / "poses.json"):
        assert p.state is TrackState.TRACKED
        assert apart(p.pose, pose_at(p.key.image_id)) < 0.05 * block().diameter


def test_search_needs_no_start(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(2)])
    run = track(data, models, tmp_path / "run", search=True, overrides=FEW, device="cpu")
    for p in read_pose_track(run.path / "poses.json"):
        assert apart(p.pose, pose_at(p.key.image_id)) < 0.05 * block().diameter


def test_what_a_search_is_unsure_of_is_given_as_weak_and_not_followed(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(2)])
    strict = FEW | {"track.found": 1.0, "track.weak": 1.0}
    run = track(data, models, tmp_path / "run", search=True, overrides=strict, device="cpu")
    for p in read_pose_track(run.path / "poses.json"):
        assert p.state is TrackState.WEAK
        assert apart(p.pose, pose_at(p.key.image_id)) < 0.05 * block().diameter


def test_found_again_is_what_is_sure_enough_after_a_gap():
    keys, target = [FrameKey(1, i) for i in range(5)], Target(0)
    sure = {0: 0.9, 2: 0.4, 3: 0.9, 4: 0.4}
    found = {(i, target): Row(np.eye(3).ravel().tolist(), [0, 0, 1], c) for i, c in sure.items()}
    rows = tracked_poses(keys, [list(range(5))], [target], [1], found, 0.8, 0.7)
    assert [row.state.value for row in rows] == ["tracked", "lost", "weak", "found again", "weak"]


def test_a_stopped_track_keeps_its_poses_and_resumes_to_the_same_end(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(5)])
    init = rough(pose_at(2))

    def run(name, **how):
        return track(
            data, models, tmp_path / name, init=init, frame=2, overrides=FEW, device="cpu", **how
        )

    whole = run("whole")
    control = Control()

    def listener(event):
        if isinstance(event, Scalars) and event.step == 1:
            control.stop()

    stopped = run("parts", listener=listener, control=control)
    assert stopped.status == "stopped"
    states = [p.state for p in read_pose_track(stopped.path / "poses.json")]
    assert states.count(TrackState.LOST) in (2, 3)  # not looked at yet
    before = (stopped.path / "run.json").read_text(), (stopped.path / "config.toml").read_text()
    for other, option in (
        ({"init": rough(pose_at(0)), "frame": 2}, "--init"),
        ({"frame": 1}, "--frame"), ({"object_id": 2}, "--object"), ({"seed": 3}, "--seed"),
        ({"keep": PoseTrack(())}, "--keep"), ({"search": True}, "--search"),
        ({"from_run": tmp_path}, "--from"), ({"split": "adapt"}, "--split"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"begun with another {option} "):
            track(data, models, stopped.path, resume=True, device="cpu", steps=9, **other)
    assert before == ((stopped.path / "run.json").read_text(),
                      (stopped.path / "config.toml").read_text())  # fmt: skip
    resumed = run("parts", resume=True)  # the same again is no other start
    assert resumed.status == "done"
    poses = [(r.path / "poses.json").read_bytes() for r in (whole, resumed)]
    assert poses[0] == poses[1]


@pytest.mark.parametrize(
    ("named", "remedy"), [("step_00000003.safetensors", "start again"), ("poses.json", "go on")]
)
def test_a_track_on_a_full_disk_says_how_to_go_on_and_goes_on_to_the_same_end(
    named, remedy, models, tmp_path, monkeypatch
):
    """Poses that could not be written hid what had failed before, and a track without any counted
    as done.

    Args:
        named: file for which there is no room, neither for the poses.
    """
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(3)])

    def run(name, **how):
        return track(
            data, models, tmp_path / name, init=rough(pose_at(0)), overrides=FEW, device="cpu",
            **how,
        )  # fmt: skip

    def write(path, content, **how):
        if path.name in (named, "poses.json"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        atomic_write(path, content, **how)

    monkeypatch.setattr(reporting, "RETRY_S", 0.01)
    monkeypatch.setattr(reporting, "GIVE_UP_S", 0.02)
    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(pose_track, "atomic_write", write)
        patch.setattr(checkpoint, "atomic_write", write)
        with pytest.raises(StorageError, match=f"No space left.*{remedy}") as told:
            run("disk")
    assert told.value.path.name == named
    assert RunFolder.open(tmp_path / "disk").status == "failed"
    again = run("disk", resume=True)
    assert again.status == "done"
    poses = [(r.path / "poses.json").read_bytes() for r in (whole, again)]
    assert poses[0] == poses[1]


def test_what_failed_first_is_told_though_the_poses_have_no_folder_any_more(
    models, tmp_path, monkeypatch
):
    """A folder that is gone is no fault of the storage, and its message hid the one before."""
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(3)])

    def step(self, number):
        if number == 1:
            shutil.rmtree(tmp_path / "run")
            raise OutOfMemoryError("it is full")
        return of(self, number)

    of = TrackTask.step
    monkeypatch.setattr(TrackTask, "step", step)
    monkeypatch.setattr("self6d.engine.reporting.GIVE_UP_S", 0.5)
    with pytest.raises(OutOfMemoryError, match="it is full"):
        track(
            data, models, tmp_path / "run", init=rough(pose_at(0)), overrides=FEW, device="cpu",
            control=Control(patient=False),
        )  # fmt: skip


def test_a_track_that_was_not_held_against_the_colours_is_not_done(models, tmp_path, monkeypatch):
    """It counted as done, and --resume left it as it was."""
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(3)])
    seen = []

    def run(**how):
        return track(
            data, models, tmp_path / "run", init=rough(pose_at(0)), device="cpu",
            overrides=FEW | {"track.colours": True}, **how,
        )  # fmt: skip

    def fails(*args, **how):
        # what is left on disk where the process is killed here
        seen.append(RunFolder.open(tmp_path / "run").info["status"])
        raise InputError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(closing, "onto_colours", fails)
        with pytest.raises(InputError):
            run()
        assert seen == ["running"]
        assert RunFolder.open(tmp_path / "run").info["error"] == "no room"
    assert run(resume=True).status == "done"


def test_from_a_corrected_frame_to_both_sides_while_the_rest_stands(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(5)])
    away = Pose(np.eye(3), np.array([0, 0, 0.7]))
    rows = [
        TrackedPose(FrameKey(1, 0), 1, 0, TrackState.WEAK, away, 0.4),  # stands, wrong as it is
        TrackedPose(FrameKey(1, 4), 1, 0, TrackState.LOST, None, 0.0),
    ]
    start = TrackedPose(FrameKey(1, 2), 1, 0, TrackState.TRACKED, rough(pose_at(2)), 1.0)
    steps = []
    run = track(
        data, models, tmp_path / "run", init=PoseTrack((start,)), keep=PoseTrack(tuple(rows)),
        overrides={**FEW, "track.close_gaps": False}, device="cpu",
        listener=lambda e: steps.append(e.step) if isinstance(e, Scalars) else None,
    )  # fmt: skip
    assert len(set(steps)) == 3
    found = list(read_pose_track(run.path / "poses.json"))
    assert [p.state for p in found][::4] == [TrackState.WEAK, TrackState.LOST]
    np.testing.assert_allclose(found[0].pose.t_m2c, away.t_m2c)
    for p in found[1:4]:
        assert apart(p.pose, pose_at(p.key.image_id)) < 0.05 * block().diameter
    (kept,) = read_pose_track(run.path / "starts.json")  # the file that makes it again
    assert (kept.key, kept.object_id) == (start.key, 1)
    np.testing.assert_allclose(kept.pose.t_m2c, start.pose.t_m2c)


def test_nothing_is_followed_across_a_cut(models, tmp_path):
    """Elsewhere after the cut, and started there: the frame before it comes from the other side."""
    poses = [pose_at(i) for i in range(4)]
    poses[2:] = [Pose(p.R_m2c, p.t_m2c + np.array([-0.16, 0, 0.02])) for p in poses[2:]]
    data = write_recording(tmp_path / "data", poses)
    first = [TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, poses[i], 1.0) for i in (0, 2)]
    control = Control()
    how = {"init": PoseTrack(tuple(first)), "cuts": [2], "overrides": FEW, "device": "cpu"}
    run = track(
        data, models, tmp_path / "run", **how, control=control,
        listener=lambda e: control.stop() if isinstance(e, Scalars) else None,
    )  # fmt: skip
    assert run.status == "stopped"  # and goes on knowing of the cut
    run = track(data, models, tmp_path / "run", resume=True, device="cpu")
    for p in read_pose_track(run.path / "poses.json"):
        assert p.state is TrackState.TRACKED
        assert apart(p.pose, poses[p.key.image_id]) < 0.05 * block().diameter
    with pytest.raises(InputError, match=r"begun with another --cut \(2\)"):
        track(data, models, run.path, resume=True, cuts=[3], still=True, device="cpu")
    assert not RunFolder.open(run.path).config["track"]["still"]  # nothing was changed before
    with pytest.raises(InputError, match="there is no frame 9"):
        track(data, models, tmp_path / "no", **how | {"cuts": [9]})


def test_where_two_starts_do_not_meet_it_is_said(models, tmp_path):
    poses = [pose_at(i) for i in range(4)]
    poses[2:] = [Pose(p.R_m2c, p.t_m2c + np.array([-0.16, 0, 0.02])) for p in poses[2:]]
    data = write_recording(tmp_path / "data", poses)
    said = []

    def run(name: str, **how) -> list[str]:
        first = [TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, poses[i], 1) for i in (0, 3)]
        said.clear()
        how |= {"init": PoseTrack(tuple(first)), "overrides": FEW, "device": "cpu"}
        track(data, models, tmp_path / name, listener=said.append, **how)
        return [e.text for e in said if isinstance(e, Note) and e.level == "warning"]

    (text,) = run("joined")
    assert "leaps between the images 1 and 2" in text
    assert "--cut" in text
    assert run("cut", cuts=[2]) == []


def test_what_no_start_was_given_for_is_said():
    models = [block(), replace(block(), object_id=2, name="other")]
    starts = [Start(0, Target(1), np.eye(3), np.array([0, 0, 1.0]))]
    (said,) = looked_for(models, starts, {0})
    assert said.startswith("object 1 (block) has no start: it is looked for; --object 2 follows")
    assert looked_for(models, [], {0, 1}) == []


def test_what_was_not_surely_found_is_said(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i, (0, 1)) for i in range(2)])
    notes: list = []
    track(
        data, models, tmp_path / "run", search=True, overrides=FEW, device="cpu",
        listener=notes.append,
    )  # fmt: skip
    (said,) = (n.text for n in notes if isinstance(n, Note) and n.level == "warning")
    assert "--init POSE.json" in said
    poses = [TrackedPose(FrameKey(1, 0), 1, 0, TrackState.WEAK, pose_at(0), 0.6)]
    (weak,) = not_sure(poses, [block()], weak=0.8, way="search")
    assert "no pose is surer than 0.60, and 0.8 counts as sure" in weak
    (lost,) = not_sure([], [block()], weak=0.8, way="from")
    assert lost.startswith("block was found in no frame. Adapt the network")
    assert not not_sure([replace(poses[0], confidence=0.9)], [block()], weak=0.8, way="init")


def test_between_two_starts_frames_are_followed_from_the_nearer_one():
    keys = [FrameKey(1, i) for i in range(8)]
    starts = [Start(i, Target(0), np.eye(3), np.zeros(3)) for i in (6, 1)]
    walks = first_walks(keys, [list(range(8))], [Target(0)], starts, {(3, Target(0))})
    assert [walk.frames for walk in walks] == [[1, 2], [0], [6, 7], [5, 4]]


def test_starts_behind_the_camera_or_of_other_objects_are_said(leaving, models, tmp_path, caplog):
    recording, chosen = open_dataset(leaving), load_models(models, "mm")
    good = {"R_m2c": np.eye(3).tolist(), "t_m2c_mm": [0, 0, 500], "obj_id": chosen[0].object_id}
    file = tmp_path / "start.json"
    file.write_text(json.dumps([good, {**good, "obj_id": 99}]))
    assert len(read_starts(file, recording, chosen)) == 1
    assert "left out: 99" in caplog.text
    file.write_text(json.dumps({**good, "t_m2c_mm": [0, 0, -500]}))
    with pytest.raises(
        InputError, match="behind the camera: the middle of block at z = -500 mm"
    ) as told:
        read_starts(file, recording, chosen)
    assert told.value.path == file
    with pytest.raises(InputError, match="no scene 7") as told:
        read_starts(file, recording, chosen, scene=7)
    assert told.value.remedy == "There are [1]."


def test_what_is_wrong_is_said(leaving, models, tmp_path):
    with pytest.raises(InputError, match="one start is needed"):
        track(leaving, models, tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="no CAD model of object 7"):
        track(leaving, models, tmp_path / "run", search=True, object_id=7, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_frame_that_could_not_be_read_is_looked_at_once_it_can(models, tmp_path):
    data = write_recording(tmp_path / "data", [pose_at(i) for i in range(5)])
    (image,) = data.rglob("rgb/*3.png")
    whole = image.read_bytes()
    image.write_bytes(whole[:40])

    def run(**how) -> RunFolder:
        return track(
            data, models, tmp_path / "run", init=None if how else rough(pose_at(0)), object_id=1,
            overrides=FEW, device="cpu", **how,
        )  # fmt: skip

    with pytest.raises(InputError, match=image.name):
        run()
    assert RunFolder.open(tmp_path / "run").info["step"] == 3
    image.write_bytes(whole)
    poses = {p.key.image_id: p.pose for p in read_pose_track(run(resume=True).path)}
    for number in range(5):
        assert apart(poses[number], pose_at(number)) < 0.05 * block().diameter
