"""Distances of a track without depth, less what jumps to and fro in them.

Colours tell sideways places well and distances badly, from frame to frame by chance. What of a
distance jumps to and fro at each step, and by more than the thing jumps sideways, is that chance,
and is measured; what is left is motion. Confidences stay as they are: they are of single frames.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import TrackedPose
from self6d.geometry import Pose
from self6d.scene import ObjectModel

Row = tuple[FrameKey, int, int]
FEWEST = 10  # poses in a row that say how a thing moves
GAP = 3  # times the usual step of image numbers, at which a row ends
LARGEST = 0.03  # of the distance, standard deviation: more is no noise
NORMAL = 1.4826  # standard deviations of a normal variable in its median from 0


def smoothed(
    poses: Sequence[TrackedPose],
    models: Sequence[ObjectModel],
    pieces: Sequence[Collection[FrameKey]],
    leave: Collection[Row] = (),
) -> list[TrackedPose]:
    """A track with poses moved along their rays.

    Args:
        poses: of any objects and frames, in order of time within each scene. models: of theirs.
        pieces: frames between which nothing was interrupted. leave: rows (frame, object, instance)
            that stay.
    """
    centre = {model.object_id: model.extents.mean(0).astype(float) for model in models}
    found = list(poses)
    piece = {key: n for n, keys in enumerate(pieces) for key in keys}
    rows: dict[tuple[int, int, int], list[int]] = {}
    for i, p in enumerate(poses):
        rows.setdefault((piece[p.key], p.object_id, p.instance), []).append(i)
    for own in rows.values():
        for run in _runs([(i, poses[i]) for i in own]):
            kept = [poses[i].pose for i in run]
            middle = np.array(
                [p.R_m2c @ centre[poses[i].object_id] + p.t_m2c for i, p in zip(run, kept) if p]
            )
            time = np.array([poses[i].key.image_id for i in run], float)
            sure = np.array([poses[i].confidence for i in run])
            farther = np.exp(smooth_distances(time, middle, sure))
            for i, place, factor in zip(run, middle, farther, strict=True):
                p = poses[i]
                if (p.key, p.object_id, p.instance) not in leave and p.pose is not None:
                    t = p.pose.t_m2c + (factor - 1) * place
                    found[i] = replace(p, pose=Pose(p.pose.R_m2c, t))
    return found


def smooth_distances(time: np.ndarray, middle: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """By how much log-distances of N places change, (N,); 0 where they are smooth already.

    Whittaker's smoother (1923) on second differences, with both variances measured.

    Args:
        time: (N,), increasing. middle: (N, 3), metres. sure: (N,), what each counts.
    """
    still = np.zeros(len(time))
    if len(time) < FEWEST:
        return still
    D = _bends(time)
    far = np.log(np.linalg.norm(middle, axis=1))
    ray = middle / np.linalg.norm(middle, axis=1)[:, None]
    usual = ray.mean(0) / np.linalg.norm(ray.mean(0))
    across = np.linalg.svd(usual[None])[2][1:]  # two directions sideways; shares of the distance
    moves = (NORMAL * np.median(np.abs(D @ (ray @ across.T)))) ** 2
    bends, shared = D @ far, D @ D.T
    jumps = float(np.mean(bends**2))
    # a value off by chance bends the way there, back and there again: no motion does, at each step
    by_turns = -float(np.mean(bends[1:] * bends[:-1])) / -np.diagonal(shared, 1).mean()
    share = float(np.diagonal(shared).mean())
    noise = min((jumps - moves) / share, by_turns, LARGEST**2)
    if noise <= 0:
        return still
    moves = max(moves, jumps - share * noise, 1e-10)
    weight = np.clip(sure, 0.05, 1.0)
    A = np.diag(weight / noise) + D.T @ D / moves
    change = np.linalg.solve(A, weight / noise * far) - far
    most = 2 * np.sqrt(noise)
    return np.clip(change, -most, most)


def _bends(time: np.ndarray) -> np.ndarray:
    """(N - 2, N): how far a value lies off the line through its neighbours in time."""
    D = np.zeros((len(time) - 2, len(time)))
    for k in range(len(D)):
        before, now, after = time[k : k + 3]
        share = (now - before) / (after - before)
        D[k, k : k + 3] = share - 1, 1.0, -share
    return D


def _runs(rows: Sequence[tuple[int, TrackedPose]]) -> list[list[int]]:
    """Poses that follow each other without one lost or a leap in time between."""
    times = [p.key.image_id for _, p in rows]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    runs: list[list[int]] = [[]]
    before: int | None = None
    for i, p in rows:
        if p.pose is None or (before is not None and p.key.image_id - before > GAP * step):
            runs.append([])
        if p.pose is not None:
            runs[-1].append(i)
        before = p.key.image_id
    return [run for run in runs if len(run) >= FEWEST]
