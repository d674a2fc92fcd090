"""What the refiner learns from: its change against the one that leads to the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.geometry import egocentric_to_allocentric, project
from self6d.losses.supervised import (
    add_distance,
    nearest_symmetric_pose,
    point_distance,
    weighted_mean,
)
from self6d.network.objects import ObjectTable
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.look import Look, RefinerScene, position_of

CLOSE = 0.1  # diameters, what the confidence is about


@dataclass(frozen=True)
class Truth:
    """Of N instances.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres. mask: (N, S / 4, S / 4), share of each cell that shows the
        instance, over the region looked at. weight: (N,), 0 or 1.
    """

    R: Tensor
    t: Tensor
    mask: Tensor
    weight: Tensor


def look_losses(
    look: Look, before: Tensor, scene: RefinerScene, truth: Truth, objects: ObjectTable,
    config: RefinerConfig,
) -> dict[str, Tensor]:  # fmt: skip
    """Weighted terms of one look; rotation, shift and distance are told apart, as in DeepIM.

    Args:
        before: (N, 3), metres, where the middle of the object was taken to be.

    Returns:
        scalars "rotation", "shift", "distance" (L1, diameters), "mask", "confidence".
    """
    index = scene.object_index
    points, diameter, centre = objects.points[index], scene.diameter[index], scene.centre
    symmetries = objects.symmetries[index]
    R, t = nearest_symmetric_pose(look.R, look.t, truth.R, truth.t, points, symmetries)
    position = position_of(R, t, centre)

    about_middle, zero = points - centre[:, None], torch.zeros_like(t)
    allocentric = egocentric_to_allocentric(R, position)
    turned = point_distance(look.allocentric, zero, allocentric, zero, about_middle) / diameter

    side = look.region[:, 2] - look.region[:, 0]
    shift = project(position[:, None], scene.K)[:, 0] - project(before[:, None], scene.K)[:, 0]
    metres = position[:, 2] * side / (scene.K[:, 0, 0] * diameter)  # a crop's side, in diameters
    sideways = (look.change.shift - shift / side[:, None]).abs().sum(1) * metres

    ratio = (position[:, 2] / before[:, 2]).log()
    deeper = (look.change.distance - ratio).abs() * position[:, 2] / diameter

    seen = F.binary_cross_entropy_with_logits(look.change.mask, truth.mask, reduction="none")
    with torch.no_grad():
        close = add_distance(look.R, look.t, R, t, points) / diameter < CLOSE
    sure = F.binary_cross_entropy_with_logits(
        look.change.confidence, close.float(), reduction="none"
    )
    terms = {
        "rotation": config.rotation_weight * turned,
        "shift": config.shift_weight * sideways,
        "distance": config.distance_weight * deeper,
        "mask": config.mask_weight * seen.mean((1, 2)),
        "confidence": config.confidence_weight * sure,
    }
    return {name: weighted_mean(value, truth.weight) for name, value in terms.items()}
