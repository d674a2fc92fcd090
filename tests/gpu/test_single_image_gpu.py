"""The single-image optimiser as one CUDA graph."""

import pytest
import torch

from self6d.benchmarks.render import bumpy_sphere
from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.optimizer import optimise_poses
from self6d.refinement.problem import PoseProblem
from self6d.rendering import pack_models, render

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("mask_end", [1.0, 0.1])
def test_captured_optimisation_equals_the_eager_one(mask_end: float) -> None:
    """The mask's falling share moves on inside the graph as the step sizes do."""
    models = pack_models([bumpy_sphere(320)], "cuda")
    K = torch.tensor([[[220.0, 0, 32], [0, 220.0, 32], [0, 0, 1]]], device="cuda")
    R = axis_angle_to_matrix(torch.tensor([[0.7, -0.5, 0.3]], device="cuda"))
    t = torch.tensor([[0.0, 0.0, 0.6]], device="cuda")
    objective = SelfSupervision(LossConfig(perceptual=0.0, points=256), "cuda")
    with torch.no_grad():
        seen = render(R, t, K, models, (64, 64))
    target = objective.observe(seen.rgb, seen.depth_m, seen.covered.float(), K)
    index = torch.zeros(1, dtype=torch.long, device="cuda")
    start = t + torch.tensor([[0.004, -0.003, 0.006]], device="cuda")
    eager, captured = (
        optimise_poses(PoseProblem(
            target, models, index, R, start, objective,
            OptimizeConfig(steps=12, region=64, mask_end=mask_end, graph=graph),
        ))
        for graph in (False, True)
    )  # fmt: skip
    torch.testing.assert_close(captured.t, eager.t, rtol=0, atol=2e-4)
    torch.testing.assert_close(captured.terms["mask"], eager.terms["mask"], rtol=0.02, atol=1e-3)
