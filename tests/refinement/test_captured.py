"""Optimisers begun anew: what the one before left in their memory must not show."""

from __future__ import annotations

from dataclasses import replace

import torch
from block_shapes import block

from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.captured import MOST_FORMS, KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.optimizer import Trajectory, optimise_poses
from self6d.refinement.problem import PoseProblem
from self6d.rendering import pack_models, render

SIDE = 48
MODELS = pack_models([block()])
OBJECTIVE = SelfSupervision(LossConfig(perceptual=0.0, points=128))
K = torch.tensor([[[170.0, 0, SIDE / 2], [0, 170.0, SIDE / 2], [0, 0, 1]]])


def problem(starts: int, seed: int, steps: int = 6) -> PoseProblem:
    generator = torch.Generator().manual_seed(seed)
    R = axis_angle_to_matrix(torch.randn(1, 3, generator=generator))
    t = torch.tensor([[0.0, 0.0, 0.6]]) + 0.01 * torch.randn(1, 3, generator=generator)
    with torch.no_grad():
        view = render(R, t, K, MODELS, (SIDE, SIDE))
    target = OBJECTIVE.observe(view.rgb, view.depth_m, view.covered.float(), K)
    index = torch.zeros(starts, dtype=torch.long)
    off = axis_angle_to_matrix(0.1 * torch.randn(starts, 3, generator=generator))
    config = OptimizeConfig(steps=steps, region=SIDE, race=1.0)
    start_t = t + 0.005 * torch.randn(starts, 3, generator=generator)
    return PoseProblem(target[index], MODELS, index, off @ R, start_t, OBJECTIVE, config)


def same(a: Trajectory, b: Trajectory) -> None:
    torch.testing.assert_close(a.R, b.R, rtol=0, atol=1e-5)
    torch.testing.assert_close(a.t, b.t, rtol=0, atol=1e-6)
    assert a.terms.keys() == b.terms.keys()
    for name, value in a.terms.items():
        torch.testing.assert_close(value, b.terms[name], rtol=1e-4, atol=1e-5)
    assert torch.equal(a.group, b.group)


def test_each_problem_ends_as_if_it_were_the_first() -> None:
    kept = KeptOptimisers(always=True)
    for starts, seed in ((3, 0), (4, 1), (3, 2)):  # one memory of four places
        asked = problem(starts, seed)
        same(kept.run(asked), optimise_poses(asked))
    assert len(kept._kept) == 1


def test_what_a_graph_is_fixed_to_gets_a_memory_of_its_own() -> None:
    kept, asked = KeptOptimisers(always=True), problem(2, 0)
    brighter = SelfSupervision(replace(OBJECTIVE.config, ab=1.0))
    for other in (asked, problem(2, 0, steps=4), replace(asked, objective=brighter)):
        same(kept.run(other), optimise_poses(other))
    assert len(kept._kept) == 3
    OBJECTIVE.set_weight("mask", 0.5)  # as a person does while a run goes on
    try:
        same(kept.run(asked), optimise_poses(asked))
    finally:
        OBJECTIVE.set_weight("mask", 1.0)
    assert len(kept._kept) == 4
    for steps in range(1, 6):
        kept.run(problem(1, 3, steps=steps))
    assert len(kept._kept) == MOST_FORMS
