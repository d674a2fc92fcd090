"""Poses are put onto the colours alike by the GPU's renderer and the CPU's."""

import cv2
import numpy as np
import pytest
import torch
from block_shapes import block
from tracked_block import K, pose_at, write_recording

from self6d.datasets import FrameKey, UnlabelledFrames, open_dataset
from self6d.datasets.pose_track import TrackedPose, TrackState
from self6d.geometry import Pose
from self6d.tracking.colours.place import onto_colours

pytestmark = pytest.mark.gpu


def test_as_on_the_cpu(tmp_path):
    folder = write_recording(tmp_path, [pose_at(i) for i in range(5)])
    for path in (folder / "test" / "000001" / "depth").iterdir():
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.roll(depth, 5, axis=1))
    given = []
    for i in range(5):
        pose = pose_at(i)
        beside = pose.t_m2c + np.array([5 * pose.t_m2c[2] / float(K[0, 0]), 0, 0])
        given.append(
            TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, Pose(pose.R_m2c, beside), 0.99)
        )
    frames = UnlabelledFrames(open_dataset(folder))
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        cpu, gpu = (
            onto_colours(frames, given, [block()], sure=0.8, device=d) for d in ("cpu", "cuda")
        )
    finally:
        torch.set_num_threads(threads)
    assert len(cpu) == len(gpu) == 5
    for a, b in zip(cpu, gpu, strict=True):
        assert np.abs(a.pose.t_m2c - b.pose.t_m2c).max() < 3e-4
        assert np.linalg.norm(a.row.pose.t_m2c - b.pose.t_m2c) > 0.012
