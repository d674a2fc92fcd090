"""Start poses around given ones, and which of them are worth optimising."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import judge_poses
from self6d.refinement.pose_parameters import PoseParameters
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import ModelBoxes
from self6d.rendering import render
from self6d.rendering.models import PackedModels


def half_turns(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """(4, 3, 3): identity and the half turns about the x, y and z axis."""
    signs = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    return torch.diag_embed(torch.tensor(signs, dtype=dtype, device=device))


def make_starts(
    R: Tensor,
    t: Tensor,
    object_index: Tensor,
    models: PackedModels,
    config: OptimizeConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Start poses around given ones: perturbed, and turned by 180 degrees about the centre.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. object_index: (N,) int64.
        generator: on the CPU, so that every device draws the same starts.

    Returns:
        R (N x S, 3, 3), t (N x S, 3), and group (N x S,) int64: which of the N each belongs to. The
        first of each group is the given pose.
    """
    boxes = ModelBoxes.of(models)
    turns = half_turns(R.dtype, R.device) if config.flips else half_turns(R.dtype, R.device)[:1]
    per_pose = len(turns) * config.starts
    group = torch.arange(len(R), device=R.device).repeat_interleave(per_pose)
    noise = torch.randn(len(R), per_pose, 6, generator=generator, dtype=torch.float64)
    noise[:, : len(turns)] = 0  # one plain start of each turn
    noise = noise.flatten(0, 1).to(R)
    scale = (config.start_shift * boxes.diameter[object_index[group]])[:, None].to(R.dtype)
    turn = turns.repeat(config.starts, 1, 1).repeat(len(R), 1, 1)
    pose = PoseParameters(R[group], t[group], boxes.centre[object_index[group]].to(R.dtype))
    pose.R = pose.R @ turn
    pose.move(torch.cat((noise[:, :3] * config.start_angle, noise[:, 3:] * scale), 1))
    return pose.R, pose.translation(pose.R, pose.position), group


def plausible_starts(problem: PoseProblem, share: float = 0.75) -> Tensor:
    """Starts worth optimising: a group's first, and those that fill its mask about as well.

    Most half turns of most objects do not.

    Args:
        problem: N starts, their groups 0, 1, 2, ... in order.
        share: of the mask IoU of the group's first start.

    Returns:
        (M,) int64, positions in N.
    """
    p, group = problem, problem.group
    rendering = render(
        p.R, p.t, p.target.K, p.models, p.size, object_index=p.object_index, soft_mask=False
    )
    iou = judge_poses(p.objective, p.target, rendering, torch.ones_like(p.t[:, 0])).mask_iou
    first = torch.ones_like(group, dtype=torch.bool)
    first[1:] = group[1:] != group[:-1]
    return (first | (iou >= share * iou[first][group])).nonzero()[:, 0]


def with_starts(problem: PoseProblem, generator: torch.Generator) -> PoseProblem:
    """Every pose of a problem from all its starts that are worth optimising.

    Args:
        problem: N poses, each its own group. generator: as `make_starts` takes it.
    """
    R, t, group = make_starts(
        problem.R, problem.t, problem.object_index, problem.models, problem.config, generator
    )
    tried = replace(problem[group], R=R, t=t)
    return tried[plausible_starts(tried)]
