"""Where an object lands that is put on a pixel: its near surface on what the sensor measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from self6d.rendering import PackedModels, render
from self6d.scene import Frame, ObjectModel
from studio.engine.types import Landed, PoseData

AROUND = (1, 4)  # pixels about the one that is pointed at: the first with a depth among them
WINDOW = 16  # half the side of the picture that finds the model's near surface, pixels
SHARE = 0.3  # of the image's shorter side that an object fills where nothing says how far it is
CLOSE_M = 1e-5
ROUNDS = 8


def land(
    frame: Frame,
    model: ObjectModel,
    packed: PackedModels,
    place: int,
    pose: PoseData,
    at: tuple[float, float],
    *,
    keep_distance: bool,
) -> Landed:
    """Move a pose, without turning it, so that the object stands on a pixel.

    Its middle comes to lie on the pixel's ray; where depth is measured about the pixel, the model's
    near surface there at that depth.

    Args:
        packed: models of which `model` is at position `place`.
        at: column and row, pixels, (0, 0) at the image's outer corner.
        keep_distance: where no depth is measured, the object stays as far away as it is; False: it
            goes where its diameter fills `SHARE` of the image.
    """
    K, middle = frame.camera.K, model.extents.mean(0)
    ray = np.linalg.inv(K) @ np.array([at[0], at[1], 1.0])
    measured = depth_about(frame.depth_m, at)
    if measured is None:
        z = float((pose.R @ middle + pose.t)[2])
        if not keep_distance:
            z = float(model.diameter * K[0, 0] / (SHARE * min(frame.camera.size)))
        return Landed(replace(pose, t=ray * z - pose.R @ middle, score=1.0), None, z)
    z = measured + model.diameter / 2
    for _ in range(ROUNDS):
        t = ray * z - pose.R @ middle
        gap = measured - _front(pose.R, t, K, packed, place, model, at)
        z += gap
        if abs(gap) < CLOSE_M:
            break
    return Landed(replace(pose, t=ray * z - pose.R @ middle, score=1.0), measured, z)


def depth_about(depth_m: np.ndarray | None, at: tuple[float, float]) -> float | None:
    """Median of the depths measured about a pixel, metres; None: there are none."""
    if depth_m is None:
        return None
    column, line = int(at[0]), int(at[1])
    for reach in AROUND:
        about = depth_m[
            max(line - reach, 0) : max(line + reach + 1, 0),
            max(column - reach, 0) : max(column + reach + 1, 0),
        ]
        known = about[about > 0]
        if len(known):
            return float(np.median(known))
    return None


def _front(
    R: np.ndarray,
    t: np.ndarray,
    K: np.ndarray,
    packed: PackedModels,
    place: int,
    model: ObjectModel,
    at: tuple[float, float],
) -> float:
    """Depth of the model's near surface at a pixel; where it has a hole there, of its box."""
    shifted = K.copy()
    shifted[0, 2] -= at[0] - WINDOW
    shifted[1, 2] -= at[1] - WINDOW
    with torch.no_grad():
        drawn = render(
            torch.tensor(R[None], dtype=torch.float32),
            torch.tensor(t[None], dtype=torch.float32),
            torch.tensor(shifted, dtype=torch.float32),
            packed,
            (2 * WINDOW, 2 * WINDOW),
            object_index=torch.tensor([place]),
            soft_mask=False,
        )
    seen = drawn.depth_m[0].numpy()[WINDOW - 1 : WINDOW + 1, WINDOW - 1 : WINDOW + 1]
    seen = seen[seen > 0]
    if len(seen):
        return float(seen.mean())
    half = (model.extents[1] - model.extents[0]) / 2
    return float((R @ model.extents.mean(0) + t)[2] - np.abs(R[2]) @ half)
