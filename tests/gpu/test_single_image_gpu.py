"""The single-image optimiser as one CUDA graph, also for problem after problem."""

from dataclasses import replace

import pytest
import torch

from self6d.benchmarks.render import bumpy_sphere
from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.captured import KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.optimizer import Trajectory, optimise_poses
from self6d.refinement.problem import PoseProblem
from self6d.rendering import pack_models, render

pytestmark = pytest.mark.gpu


def problem(starts: int = 1, seed: int = 0, **settings) -> PoseProblem:
    """Starts a few millimetres off what is seen; each its own image unless given a group."""
    models = MODELS.setdefault(0, pack_models([bumpy_sphere(320)], "cuda"))
    objective = MODELS.setdefault(
        1, SelfSupervision(LossConfig(perceptual=0.0, points=256), "cuda")
    )
    K = torch.tensor([[[220.0, 0, 32], [0, 220.0, 32], [0, 0, 1]]], device="cuda")
    generator = torch.Generator().manual_seed(seed)
    R = axis_angle_to_matrix(torch.randn(1, 3, generator=generator)).cuda()
    t = torch.tensor([[0.0, 0.0, 0.6]], device="cuda")
    with torch.no_grad():
        seen = render(R, t, K, models, (64, 64))
    target = objective.observe(seen.rgb, seen.depth_m, seen.covered.float(), K)
    index = torch.zeros(starts, dtype=torch.long, device="cuda")
    start = t + 0.004 * torch.randn(starts, 3, generator=generator).cuda()
    config = OptimizeConfig(steps=12, region=64, **settings)
    return PoseProblem(
        target[index], models, index, R.expand(starts, 3, 3).contiguous(), start, objective, config
    )


MODELS: dict = {}


def alike(a: Trajectory, b: Trajectory) -> None:
    torch.testing.assert_close(a.t, b.t, rtol=0, atol=2e-4)
    torch.testing.assert_close(a.terms["mask"], b.terms["mask"], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("mask_end", [1.0, 0.1])
def test_captured_optimisation_equals_the_eager_one(mask_end: float) -> None:
    """The mask's falling share moves on inside the graph as the step sizes do."""
    eager, captured = (
        optimise_poses(problem(mask_end=mask_end, graph=graph)) for graph in (False, True)
    )
    alike(captured, eager)


def test_one_graph_serves_problem_after_problem() -> None:
    kept = KeptOptimisers()
    for starts, seed in ((3, 0), (4, 1), (3, 2), (1, 3), (1, 4)):
        asked = problem(starts, seed)
        alike(
            kept.run(asked),
            optimise_poses(replace(asked, config=replace(asked.config, graph=False))),
        )
    assert len(kept._kept) == 2


def test_starts_left_behind_stop_where_there_are_many() -> None:
    asked = problem(40, race=0.5)
    group = torch.arange(40, device="cuda") // 4
    far = torch.where(torch.arange(40, device="cuda") % 4 > 0, 0.03, 0.0)
    asked = replace(asked, group=group, t=asked.t + far[:, None])
    raced = optimise_poses(asked)
    whole = optimise_poses(replace(asked, config=replace(asked.config, race=1.0)))
    moved = (raced.t[-1] - raced.t[6]).norm(dim=1)
    assert (moved == 0).sum() >= 20
    assert (moved[::4] > 0).all()
    torch.testing.assert_close(raced.t[-1, ::4], whole.t[-1, ::4], rtol=0, atol=3e-4)
