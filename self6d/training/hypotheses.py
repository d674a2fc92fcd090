"""Several start poses for one image, and the choice among where they end, without any label."""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.losses.objective import COLOUR_TERMS
from self6d.render.models import PackedModels
from self6d.training.regions import ModelBoxes
from self6d.training.single_image import OptimizeConfig, PoseParameters


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


def score_hypotheses(
    terms: dict[str, Tensor], group: Tensor, groups: int, *, slack: float = 1.3
) -> Tensor:
    """How badly each start explains its image against the others of its group, without any label.

    Mask and chamfer reject starts that did not arrive (more than `slack` times the group's best),
    but cannot tell a front from a back; among those left the colour terms decide, each relative to
    the group's lowest. Without colour terms, the total does.

    Args:
        terms: name -> (N,) final terms, as from `Trajectory.final`.
        group: (N,) int64. groups: how many groups there are, G.
        slack: how much worse than the best a start may be and still be judged.

    Returns:
        (N,), at least 1, lower is better; over 1000 for starts that did not arrive.
    """
    total = terms["total"]

    def relative(value: Tensor, among: Tensor) -> Tensor:
        """Value over the group's lowest among some starts (all, where there are none)."""
        full = value.new_full((groups,), torch.inf)
        counted = torch.where(among, value, torch.inf)
        lowest = full.scatter_reduce(0, group, counted, "amin")
        every = full.scatter_reduce(0, group, value, "amin")
        return value / torch.where(lowest.isfinite(), lowest, every)[group].clamp_min(1e-6)

    all_starts = torch.ones_like(group, dtype=torch.bool)
    arrived = all_starts.clone()
    for name, floor in (("mask", 0.05), ("geometry", 0.001)):
        if name in terms:
            arrived &= relative(terms[name] + floor, all_starts) <= slack
    colours = [relative(terms[name], arrived) for name in COLOUR_TERMS if name in terms]
    score = torch.stack(colours).mean(0) if colours else relative(total, arrived)
    # no start may be the best in mask and in chamfer at once
    return torch.where(arrived, score, 1e3 + relative(total, all_starts))


def choose_hypotheses(
    terms: dict[str, Tensor], group: Tensor, groups: int, *, slack: float = 1.3
) -> Tensor:
    """The start of each group with the lowest `score_hypotheses`: (G,) int64, positions in N."""
    score = score_hypotheses(terms, group, groups, slack=slack)
    full = score.new_full((groups,), torch.inf)
    best = score == full.scatter_reduce(0, group, score, "amin")[group]
    order = torch.arange(len(group), device=group.device)
    order = torch.where(best, order, len(group))
    none = torch.full((groups,), len(group), device=group.device)
    return none.scatter_reduce(0, group, order, "amin")
