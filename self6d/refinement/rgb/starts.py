"""Wrong poses to learn from, as wrong as those of stage 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from self6d.geometry import axis_angle_to_matrix
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.look import origin_of, position_of

LEVELS = (1.0, 0.6, 0.3, 0.1)  # of the largest standard deviations; drawn for each part apart
NEAREST = 0.3  # of the true distance: no start is nearer


@torch.no_grad()
def disturbed(
    R: Tensor, t: Tensor, centre: Tensor, diameter: Tensor, config: RefinerConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Poses turned about the object's middle and moved, sideways and along the viewing ray.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. centre: (N, 3), metres, model frame. diameter: (N,),
            metres. generator: on their device.

    Returns:
        R (N, 3, 3) and t (N, 3), metres.
    """
    n, device = len(R), R.device
    draw = torch.randint(len(LEVELS), (n, 3), generator=generator, device=device)
    # made on the device: a CUDA graph cannot hold a copy from the CPU
    levels = torch.stack([torch.full((), level, device=device) for level in LEVELS])
    level = levels[draw]
    noise = torch.randn(n, 6, generator=generator, device=device)
    turn = math.radians(config.rotation_deg) * level[:, :1] * noise[:, :3]
    position = position_of(R, t, centre)
    aside = config.shift * level[:, 1:2] * diameter[:, None] * noise[:, 3:5]
    farther = (1 + config.distance * level[:, 2:] * noise[:, 5:]).clamp_min(NEAREST)
    position = (position + torch.nn.functional.pad(aside, (0, 1))) * farther
    with torch.autocast(device.type, enabled=False):
        R = axis_angle_to_matrix(turn) @ R
    return R, origin_of(R, position, centre)
