"""Out of the distances of a track without depth goes what jumps to and fro, and no motion."""

from __future__ import annotations

import numpy as np
from block_shapes import block

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState
from self6d.geometry import Pose
from self6d.tracking.rgb.smooth import smooth_distances, smoothed

NOISE = 0.015


def seen(true: np.ndarray, seed: int) -> np.ndarray:
    """Places with distances off by chance."""
    rng = np.random.default_rng(seed)
    return true * np.exp(NOISE * rng.normal(size=len(true)))[:, None]


def far(places: np.ndarray) -> np.ndarray:
    return np.log(np.linalg.norm(places, axis=1))


def test_what_moves_evenly_is_seen_at_even_distances():
    time = np.arange(40.0)
    true = np.column_stack(
        (0.1 * np.sin(time / 15), 0.05 * np.cos(time / 11), 0.6 + 0.1 * np.sin(time / 13))
    )
    for seed in range(4):
        places = seen(true, seed)
        change = smooth_distances(time, places, np.ones(40))
        before, after = far(places) - far(true), far(places) + change - far(true)
        assert after.std() < 0.6 * before.std()
        assert np.abs(change).max() < 2.5 * NOISE


def test_what_jumps_about_is_left_nearly_as_it_was_and_few_poses_altogether():
    time, rng = np.arange(40.0), np.random.default_rng(0)
    true = np.array([0, 0, 0.6]) + np.cumsum(0.02 * rng.normal(size=(40, 3)), 0)
    change = smooth_distances(time, true, np.ones(40))
    assert np.abs(change).max() < 0.2 * np.abs(np.diff(far(true))).max()
    # nearer and farther faster than sideways: a camera that goes up to a thing in its middle
    to_it = np.array([[0.0, 0.0, 0.6 + 0.1 * np.sin(i / 2)] for i in time])
    assert np.abs(smooth_distances(time, to_it, np.ones(40))).max() < 0.01
    assert not smooth_distances(time[:5], seen(true, 0)[:5], np.ones(5)).any()


def test_poses_move_along_their_rays_alone_and_rows_that_stand_not_at_all():
    model = block(centre=(0.01, 0.02, 0.0))
    centre = model.extents.mean(0)
    true = np.column_stack((0.003 * np.arange(40.0), np.zeros(40), np.full(40, 0.5)))
    poses = [
        TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, Pose(np.eye(3), place - centre), 0.9)
        for i, place in enumerate(seen(true, 1))
    ]
    poses[20] = TrackedPose(FrameKey(1, 20), 1, 0, TrackState.LOST, None, 0.0)
    leave = {(poses[2].key, 1, 0)}
    keys = [p.key for p in poses]
    after = smoothed(poses, [model], [keys], leave)
    assert [p.confidence for p in after] == [p.confidence for p in poses]
    assert after[20].pose is None
    assert after[2].pose is poses[2].pose
    moved = [i for i in range(40) if i not in (2, 20)]
    was = np.array([poses[i].pose.t_m2c + centre for i in moved])
    now = np.array([after[i].pose.t_m2c + centre for i in moved])
    ray = was / np.linalg.norm(was, axis=1)[:, None]
    np.testing.assert_allclose(np.cross(ray, now), 0, atol=1e-9)
    assert (far(now) - far(true[moved])).std() < 0.7 * (far(was) - far(true[moved])).std()
    assert smoothed(poses, [model], [keys[:4], keys[4:]], ())[1].pose is poses[1].pose  # a cut
