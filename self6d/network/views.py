"""Several looks at one detection: the poses from shifted and scaled boxes, averaged.

What a network says of a region changes with where the region's cells fall on the object, distances
most. Much of that is chance, which an average removes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from self6d.geometry import rotation6d_to_matrix
from self6d.losses.supervised import nearest_symmetric_pose

SHIFT = 0.1
"""How far the other boxes' centres lie from the first's, shares of its sides."""
SCALE = 1.15
"""Every other of them is larger by this factor, the rest smaller."""


def view_boxes(box: Tensor, views: int) -> Tensor:
    """Each box itself, then `views` - 1 boxes on a ring around it.

    Args:
        box: (N, 4), x0 y0 x1 y1, pixels. views: at least 1.

    Returns:
        (N, views, 4), pixels.
    """
    moves = [(0.0, 0.0, 1.0)]
    for k in range(views - 1):
        angle = 2 * math.pi * (k + 0.5) / (views - 1)
        scale = SCALE if k % 2 else 1 / SCALE
        moves.append((SHIFT * math.cos(angle), SHIFT * math.sin(angle), scale))
    move = torch.tensor(moves, device=box.device, dtype=box.dtype)
    sides = (box[:, 2:] - box[:, :2])[:, None]
    centre = (box[:, :2] + box[:, 2:])[:, None] / 2 + move[:, :2] * sides
    half = move[:, 2:] * sides / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def average_poses(
    R: Tensor, t: Tensor, points: Tensor, symmetries: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean pose of several views of each object.

    Viewing rays are averaged arithmetically and distances geometrically; of the rotations, the
    first two columns, made orthonormal again. Poses of symmetric objects are first exchanged for
    those nearest to the first view's that look the same.

    Args:
        R: (N, V, 3, 3). t: (N, V, 3), metres, in front of the camera.
        points: (N, P, 3), metres, and symmetries: (N, S, 4, 4), as in `nearest_symmetric_pose`.

    Returns:
        R (N, 3, 3) and t (N, 3), metres.
    """
    n, v = R.shape[:2]
    if v > 1 and symmetries.shape[1] > 1:
        first = torch.arange(n, device=R.device).repeat_interleave(v)
        near = nearest_symmetric_pose(
            R[first, 0], t[first, 0], R.flatten(0, 1), t.flatten(0, 1),
            points[first], symmetries[first],
        )  # fmt: skip
        R, t = (part.unflatten(0, (n, v)) for part in near)
    z = t[..., 2].log().mean(1).exp()
    ray = (t / t[..., 2:]).mean(1)
    columns = R[..., :2].mean(1)
    return rotation6d_to_matrix(columns.mT.flatten(1)), ray * z[:, None]
