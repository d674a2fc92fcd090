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
from self6d.network.roi import moved_boxes
from self6d.network.translation import origin_of, position_of

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
    # made on the device: a CUDA graph cannot hold a copy from the CPU
    k = torch.arange(views - 1, device=box.device, dtype=box.dtype)
    angle = (k + 0.5) * (2 * math.pi / max(views - 1, 1))
    shift = SHIFT * torch.stack((angle.cos(), angle.sin()), dim=-1)
    scale = ((k % 2 * 2 - 1) * math.log(SCALE)).exp()[:, None]
    first = box[:, None]
    return torch.cat((first, moved_boxes(first, shift, scale)), dim=1)


def average_poses(
    R: Tensor, t: Tensor, points: Tensor, symmetries: Tensor, centre: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean pose of several views of each object.

    Viewing rays are averaged arithmetically and distances geometrically; of the rotations, the
    first two columns, made orthonormal again. Poses of symmetric objects are first exchanged for
    those nearest to the first view's that look the same.

    Args:
        R: (N, V, 3, 3). t: (N, V, 3), metres.
        points: (N, P, 3), metres, and symmetries: (N, S, 4, 4), as in `nearest_symmetric_pose`.
        centre: (N, 3), metres, model frame, of the box; it lies in front of the camera.

    Returns:
        R (N, 3, 3) and t (N, 3), metres.
    """
    n, v = R.shape[:2]
    first = torch.arange(n, device=R.device).repeat_interleave(v)
    near = nearest_symmetric_pose(
        R[first, 0], t[first, 0], R.flatten(0, 1), t.flatten(0, 1),
        points[first], symmetries[first],
    )  # fmt: skip
    R, t = (part.unflatten(0, (n, v)) for part in near)
    position = position_of(R, t, centre[:, None])
    z = position[..., 2].log().mean(1).exp()
    ray = (position / position[..., 2:]).mean(1)
    mean = rotation6d_to_matrix(R[..., :2].mean(1).mT.flatten(1))
    return mean, origin_of(mean, ray * z[:, None], centre)
