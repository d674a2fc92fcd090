"""Poses through a recording: written and read back the same, wrong entries named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import (
    TrackedPose,
    TrackState,
    read_pose_track,
    write_pose_track,
)
from self6d.errors import InputError
from self6d.geometry import Pose


def _tracked(image: int, state: TrackState, confidence: float) -> TrackedPose:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose = None if state is TrackState.LOST else Pose(turn, np.array([0.01, -0.2, 0.7 + image]))
    return TrackedPose(FrameKey(3, image), 5, 0, state, pose, confidence)


def test_written_and_read_back(tmp_path):
    poses = [
        _tracked(0, TrackState.TRACKED, 0.97),
        _tracked(1, TrackState.WEAK, 0.4),
        _tracked(2, TrackState.LOST, 0.0),
        _tracked(3, TrackState.FOUND_AGAIN, 0.8),
    ]
    write_pose_track(tmp_path / "poses.json", poses)
    back = read_pose_track(tmp_path / "poses.json")
    for was, now in zip(poses, back, strict=True):
        assert (was.key, was.object_id, was.state) == (now.key, now.object_id, now.state)
        assert was.confidence == now.confidence
        if was.pose is None:
            assert now.pose is None
        else:
            np.testing.assert_allclose(now.pose.R_m2c, was.pose.R_m2c, atol=1e-12)
            np.testing.assert_allclose(now.pose.t_m2c, was.pose.t_m2c, atol=1e-12)
    assert [p.key.image_id for p in back.above(0.8)] == [0, 3]
    assert [p.state for p in back.of_frame(FrameKey(3, 2))] == [TrackState.LOST]


@pytest.mark.parametrize(
    "change",
    [{"state": "seen"}, {"R_m2c": [1, 0, 0]}, {"t_m2c_mm": None}, {"confidence": 1.4}],
)
def test_a_wrong_entry_is_named(tmp_path, change):
    path = tmp_path / "poses.json"
    write_pose_track(path, [_tracked(0, TrackState.TRACKED, 0.9)])
    table = json.loads(path.read_text())
    table["poses"][0] |= change
    path.write_text(json.dumps(table))
    with pytest.raises(InputError, match="number 0") as error:
        read_pose_track(path)
    assert error.value.path == path


def test_another_file_is_no_pose_track(tmp_path):
    (tmp_path / "poses.json").write_text("{}")
    with pytest.raises(InputError, match="no pose track"):
        read_pose_track(tmp_path / "poses.json")


def test_the_folder_of_a_run_stands_for_its_track(tmp_path):
    write_pose_track(tmp_path / "poses.json", [_tracked(0, TrackState.TRACKED, 0.9)])
    assert len(read_pose_track(tmp_path)) == len(read_pose_track(tmp_path / "poses.json")) == 1
    (tmp_path / "poses.json").unlink()
    with pytest.raises(InputError, match="is a folder"):
        read_pose_track(tmp_path)
