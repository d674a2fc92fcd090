"""The choice among several poses of one object on one image, without any label."""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.losses.terms import COLOUR_TERMS


def score_hypotheses(
    terms: dict[str, Tensor], group: Tensor, groups: int, *, slack: float = 2.0
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
    terms: dict[str, Tensor], group: Tensor, groups: int, *, slack: float = 2.0
) -> Tensor:
    """The start of each group with the lowest `score_hypotheses`: (G,) int64, positions in N."""
    score = score_hypotheses(terms, group, groups, slack=slack)
    full = score.new_full((groups,), torch.inf)
    best = score == full.scatter_reduce(0, group, score, "amin")[group]
    order = torch.arange(len(group), device=group.device)
    order = torch.where(best, order, len(group))
    none = torch.full((groups,), len(group), device=group.device)
    return none.scatter_reduce(0, group, order, "amin")


def may_win(
    terms: dict[str, Tensor],
    group: Tensor,
    groups: int,
    *,
    margin: float = 1.5,
    close: float = 1.15,
    slack: float = 1.1,
) -> Tensor:
    """Starts that are still in the race: (M,) int64, positions in N.

    A start from farther off may be the only right one and still fit the mask badly, but its colours
    already tell it from its half turns: so a start is out if its colours are far worse than the
    best ones', or clearly worse while its total is worse as well.

    Args:
        terms, group, groups: as for `score_hypotheses`.
        margin: how much worse than its group's best colour score a start may be.
        close: how much worse it may be with a total over `slack` times its group's lowest.
    """
    score = score_hypotheses(terms, group, groups, slack=torch.inf)

    def behind(value: Tensor, factor: float) -> Tensor:
        full = value.new_full((groups,), torch.inf)
        return value > factor * full.scatter_reduce(0, group, value, "amin")[group]

    out = behind(score, margin) | (behind(score, close) & behind(terms["total"], slack))
    return (~out).nonzero()[:, 0]
