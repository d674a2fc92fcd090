"""Coarse search around a rough pose: many small renderings held against sensor depth and colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.geometry import crop_intrinsics
from self6d.losses.color import rgb_to_ab
from self6d.refinement.pose_parameters import PoseParameters
from self6d.refinement.regions import ModelBoxes, RegionCrops
from self6d.rendering import render
from self6d.rendering.models import PackedModels


@dataclass
class SearchConfig:
    """How far and how densely to look around a start pose."""

    angle: float = 0.12
    """Standard deviation of the first round's turns, radians."""
    shift_m: float = 0.015
    """Standard deviation of the first round's shifts, metres."""
    candidates: int = 256
    """Poses a round."""
    parents: int = 8
    """Poses kept from round to round."""
    rounds: int = 4
    """Rounds; each looks half as far around the best poses of the one before."""
    size: int = 64
    """Side of the renderings, pixels."""
    margin_m: float = 0.008
    """Depth agrees within this, metres."""
    color_scale: float = 0.08
    """Difference of a and b (units of `color.AB_RANGE`) at which a pixel says e times less."""


def agreement(
    rgb: Tensor,
    depth_m: Tensor,
    rendered_rgb: Tensor,
    rendered_depth_m: Tensor,
    config: SearchConfig,
    use_color: bool = True,
) -> Tensor:
    """How well a rendering agrees with a sensor image, without any mask.

    Rendered pixels whose depth agrees count for the pose, weighted by how alike the colours are;
    those the sensor sees through count against it; hidden or unmeasured ones are neutral.

    Args:
        rgb: (N or 1, 3, h, w) in [0, 1]. depth_m: (N or 1, h, w), metres, 0 where unknown.
        rendered_rgb: (N, 3, h, w). rendered_depth_m: (N, h, w), 0 where uncovered.
        use_color: False for models without colour.

    Returns:
        (N,), at most 1, 0 for an object out of view.
    """
    covered = rendered_depth_m > 0
    gap = depth_m - rendered_depth_m
    known = covered & (depth_m > 0)
    agree = (known & (gap.abs() < config.margin_m)).to(rgb.dtype)
    through = (known & (gap > config.margin_m)).to(rgb.dtype)
    if use_color:
        difference = (rgb_to_ab(rgb) - rgb_to_ab(rendered_rgb)).abs().sum(1)
        agree = agree * torch.exp(-difference / config.color_scale)
    return (agree - through).sum((1, 2)) / covered.sum((1, 2)).clamp_min(1)


@torch.no_grad()
def search_around(
    region: RegionCrops,
    models: PackedModels,
    object_index: int,
    R: Tensor,
    t: Tensor,
    generator: torch.Generator,
    config: SearchConfig | None = None,
    *,
    use_color: bool = True,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, float]:
    """The pose near a rough one that agrees best with the sensor.

    Args:
        region: one region (N = 1) with depth, large enough for all candidates.
        models: packed models. object_index: position in `models`.
        R: (3, 3). t: (3,), metres. Start pose.
        generator: on the CPU.

    Returns:
        R (3, 3), t (3,), metres, and its `agreement`.
    """
    config = config or SearchConfig()
    assert region.depth_m is not None
    side = region.rgb.shape[-1]
    whole = region.K.new_tensor([[0.0, 0.0, side, side]])
    K = crop_intrinsics(region.K, whole, (config.size, config.size))
    pick = ((torch.arange(config.size, device=K.device) + 0.5) * side / config.size).long()
    rgb = region.rgb[..., pick, :][..., pick]
    depth = region.depth_m[:, pick][..., pick]
    n = config.candidates
    index = torch.full((n,), object_index, dtype=torch.long, device=R.device)
    centre = ModelBoxes.of(models).centre[index]
    score, Rs, ts = R.new_zeros(1), R[None], t[None]
    for level in range(config.rounds):
        parent = torch.arange(n, device=R.device) % len(Rs)
        pose = PoseParameters(Rs[parent], ts[parent], centre)
        noise = torch.randn(n, 6, generator=generator).to(R)
        noise[: len(Rs)] = 0
        noise[:, :3] *= config.angle / 2**level
        noise[:, 3:] *= config.shift_m / 2**level
        pose.move(noise)
        shifts = pose.translation(pose.R, pose.position)
        view = render(
            pose.R,
            shifts,
            K.expand(n, 3, 3),
            models,
            (config.size, config.size),
            object_index=index,
            soft_mask=False,
            backend=backend,
        )
        score = agreement(rgb, depth, view.rgb, view.depth_m, config, use_color)
        score, kept = score.topk(min(config.parents, n))
        Rs, ts = pose.R[kept], shifts[kept]
    return Rs[0], ts[0], float(score[0])
