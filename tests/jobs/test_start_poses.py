"""Start poses: the frame's own is taken from any file, and what no image shows is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d import cli, jobs
from self6d.datasets import FrameKey, open_dataset
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.errors import InputError
from self6d.events import Note
from self6d.files import POSE_EXAMPLE
from self6d.geometry import Pose
from self6d.jobs.optimize import read_pose
from self6d.scene.models_copy import save_models
from self6d.tracking.starts import read_starts, refuse_unseen

ROOT = Path(__file__).resolve().parents[2]
COUNT = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = write_recording(tmp_path_factory.mktemp("block"), [pose_at(i) for i in range(COUNT)])
    save_models([block()], folder / "models")
    return folder


@pytest.fixture
def earlier(tmp_path) -> Path:
    """A track's folder, as `track` leaves it; the block is lost in image 2."""
    rows = [
        TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, pose_at(i), 0.9)
        if i != 2
        else TrackedPose(FrameKey(1, i), 1, 0, TrackState.LOST, None, 0.0)
        for i in range(COUNT)
    ]
    write_pose_track(tmp_path / "poses.json", rows)
    return tmp_path


@pytest.mark.parametrize(
    "text", ["R: 1", "[]", "[3]", '"pose"', '{"R": [[1, 0, 0]], "t": [0, 0, 500]}']
)
def test_a_wrong_file_is_answered_by_one_that_works(data, tmp_path, text) -> None:
    (tmp_path / "pose.json").write_text(text)
    recording, models = open_dataset(data), [block()]
    for read in (lambda p: read_starts(p, recording, models), lambda p: read_pose(p, 1)):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "pose.json")
        example = re.search(r"Write such as ({.*})", caught.value.one_line())
        assert json.loads(example[1]) == json.loads(POSE_EXAMPLE)
    (tmp_path / "pose.json").write_text(POSE_EXAMPLE)
    (start,) = read_starts(tmp_path / "pose.json", recording, models)
    assert start.t.tolist() == [0, 0, 0.5]
    assert (start.R @ [0, 0, 1]).tolist() == [0, -1, 0]  # upright, as it says: y is down


@pytest.mark.parametrize("command", ["track", "quick", "optimize"])
def test_help_and_docs_show_a_start_pose(command, capsys) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "".join(POSE_EXAMPLE.split()) in "".join(capsys.readouterr().out.split())
    assert POSE_EXAMPLE in (ROOT / "docs" / "running.md").read_text()


def optimized(data: Path, image: int, **options):
    settings = {"loss.perceptual": 0.0}
    return jobs.optimize(data, None, image, steps=1, device="cpu", overrides=settings, **options)


def test_the_frames_own_pose_of_a_track(earlier):
    """It was said to hold no pose."""
    for file in (earlier, earlier / "poses.json"):
        np.testing.assert_allclose(read_pose(file, 1, FrameKey(1, 3)).t_m2c, pose_at(3).t_m2c)
    for key, number in ((FrameKey(1, 2), 1), (FrameKey(2, 3), 1), (FrameKey(1, 3), 5)):
        with pytest.raises(InputError, match=f"no pose of object {number} in image"):
            read_pose(earlier, number, key)


def test_the_frames_own_pose_of_labels(tmp_path, caplog):
    """Of several images' labels none was found, and one image's were taken for any other's."""
    file = tmp_path / "scene_gt.json"
    rows = {
        str(i): [
            {"obj_id": 1, "cam_R_m2c": np.eye(3).ravel().tolist(), "cam_t_m2c": [0, 0, 500 + i]}
        ]
        for i in range(COUNT)
    }
    file.write_text(json.dumps(rows))
    assert read_pose(file, 1, FrameKey(1, 3)).t_m2c[2] == pytest.approx(0.503)
    with pytest.raises(InputError, match="poses of 4 images, none of them image 9"):
        read_pose(file, 1, FrameKey(1, 9))
    assert not caplog.messages
    file.write_text(json.dumps({"2": rows["2"]}))
    assert read_pose(file, 1, FrameKey(1, 0)).t_m2c[2] == pytest.approx(0.502)
    assert "its pose is of image 2: taken as the start for image 0" in caplog.text


def test_a_start_that_the_image_does_not_show_is_refused(data, tmp_path):
    """Nothing was rendered, so every term was 0 and the job was done."""
    aside = Pose(pose_at(0).R_m2c, pose_at(0).t_m2c + np.array([2.0, 0, 0]))
    with pytest.raises(InputError, match="puts block outside of image 0"):
        optimized(data, 0, object_id=1, init=aside)
    with pytest.raises(InputError, match="puts block outside of image 0"):
        jobs.track(data, None, tmp_path / "run", init=aside, device="cpu")
    assert not (tmp_path / "run").exists()
    # one in view is enough: an object may be out of the others
    recording, model = open_dataset(data), block()
    rows = [{"obj_id": 1, "R_m2c": np.eye(3).tolist(), "t_m2c_mm": [2000, 0, 500]}]
    seen = [{**rows[0], "t_m2c_mm": [0, 0, 500]}]
    file = tmp_path / "starts.json"
    for labels, refused in (({"0": rows, "1": seen}, False), ({"0": rows, "1": rows}, True)):
        file.write_text(json.dumps(labels))
        starts = read_starts(file, recording, [model])
        assert len(starts) == 2
        if refused:
            with pytest.raises(InputError, match="outside of image 0") as told:
                refuse_unseen(starts, recording, [model], file)
            assert told.value.path == file
        else:
            refuse_unseen(starts, recording, [model], file)


def test_an_origin_behind_the_camera_is_no_object_there(data):
    """Poses of a CAD file with a far origin were refused."""
    far = np.array([0.0, 0.0, 3.0], np.float32)
    model = replace(block(), vertices=block().vertices + far)
    pose = Pose(np.eye(3), np.array([0.0, 0.0, 0.5]) - far)
    (start,) = read_starts(pose, open_dataset(data), [model])
    assert start.t[2] == pytest.approx(-2.5)
    refuse_unseen([start], open_dataset(data), [model])
    with pytest.raises(InputError, match="the middle of block at z = -500 mm"):
        read_starts(Pose(np.eye(3), [0, 0, 2.5]), open_dataset(data),
                    [replace(model, vertices=block().vertices - far)])  # fmt: skip


def test_the_only_model_is_taken_with_a_word(data):
    heard: list = []
    optimized(data, 0, object_id=7, init=pose_at(0), listener=heard.append)
    said = [e.text for e in heard if isinstance(e, Note)]
    assert "the only CAD model, block, has number 1: it is taken for object 7" in said


def test_poses_of_another_recording_are_not_dropped_in_silence(data, earlier, tmp_path, caplog):
    rows = [
        TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, pose_at(0), 0.9)
        for i in range(COUNT + 3)
    ]
    write_pose_track(earlier / "poses.json", rows)
    assert len(read_starts(earlier, open_dataset(data), [block()])) == COUNT
    assert "3 of 7 poses are of frames that are not among those followed" in caplog.text
    with pytest.raises(InputError, match="names 3 frames that the recording has not"):
        jobs.track(
            data, None, tmp_path / "run", init=pose_at(0), keep=earlier / "poses.json",
            device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_start_with_the_camera_inside_the_object_is_refused(data, tmp_path):
    """Metres named millimetres were followed: "lost", after a minute, and nothing of the unit."""
    near = Pose(pose_at(0).R_m2c, pose_at(0).t_m2c / 1000)
    for job in (
        lambda: optimized(data, 0, object_id=1, init=near),
        lambda: jobs.track(data, None, tmp_path / "run", init=near, device="cpu"),
    ):
        with pytest.raises(InputError, match=r"puts the camera inside block: .* mm large") as told:
            job()
        assert "t_m2c_mm is in millimetres" in str(told.value.remedy)
    assert not (tmp_path / "run").exists()
