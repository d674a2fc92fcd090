"""Two things in one and the same place are told of."""

from dataclasses import replace

import numpy as np
from block_shapes import block

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState
from self6d.geometry import Pose
from self6d.tracking.told import in_one_place

LEFT = block()
RIGHT = replace(LEFT, object_id=2, name="right")


def row(image: int, object_id: int, x: float, confidence: float = 0.9) -> TrackedPose:
    pose = Pose(np.eye(3), np.array([x, 0.0, 0.5]))
    return TrackedPose(FrameKey(1, image), object_id, 0, TrackState.TRACKED, pose, confidence)


def test_two_models_that_took_one_thing_are_told_of():
    near, beside = 0.05 * LEFT.diameter, 0.6 * LEFT.diameter
    poses = [row(i, 1, 0.0) for i in range(4)]
    poses += [row(0, 2, near), row(1, 2, -near), row(2, 2, beside), row(3, 2, near, 0.3)]
    (text,) = in_one_place(poses, [LEFT, RIGHT], sure=0.5)
    assert "block (object 1) and right (object 2)" in text
    assert "in 2 images" in text
    assert "--object" in text


def test_things_side_by_side_are_not():
    poses = [row(0, 1, 0.0), row(0, 2, 0.5 * LEFT.diameter), row(1, 1, 0.0)]
    lost = TrackedPose(FrameKey(1, 1), 2, 0, TrackState.LOST, None, 0.0)
    assert in_one_place([*poses, lost], [LEFT, RIGHT], sure=0.5) == []
