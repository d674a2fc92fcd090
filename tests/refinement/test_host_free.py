"""Optimisation steps ask nothing of the host: a CUDA graph could not hold them if they did.

The step runs on the device "meta", where tensors have shapes but no values: whatever needs a value,
or mixes in a tensor of the CPU, fails or is seen here, without a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from block_shapes import block
from host_free import OnDeviceOnly

from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.losses.perceptual import default_weights
from self6d.refinement import optimizer as single_image
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.optimizer import PoseOptimiser
from self6d.refinement.problem import PoseProblem
from self6d.rendering import pack_models
from self6d.rendering.result import Rendering

SIDE, STARTS = 64, 2
PAPER = LossConfig(perceptual=0.15 if default_weights() is not None else 0.0, points=128)
PLUS = replace(PAPER, like_with_like=True, edge_step_m=0.02, trim=0.1, noise_at_1m=0.002)


def drawn(R: torch.Tensor, t: torch.Tensor, *_: Any, **__: Any) -> Rendering:
    """Shapes and gradients of a rendering; the kernels' own launches ask nothing of the host."""
    moved = (R.sum((1, 2)) + t.sum(1))[:, None, None].expand(-1, SIDE, SIDE) * 1.0
    face = torch.zeros(STARTS, SIDE, SIDE, dtype=torch.int32, device=R.device)
    return Rendering(moved[:, None] * R.new_ones(3, 1, 1), moved, moved.sigmoid(), face)


@pytest.mark.parametrize("loss", [PAPER, PLUS], ids=["paper", "plus"])
def test_one_optimisation_step(loss: LossConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_image, "render", drawn)
    like = {"device": "meta"}
    objective = SelfSupervision(loss).to("meta")
    image, map_ = torch.empty(STARTS, 3, SIDE, SIDE, **like), (STARTS, SIDE, SIDE)
    K = torch.empty(STARTS, 3, 3, **like)
    target = objective.observe(image, torch.empty(map_, **like), torch.empty(map_, **like), K)
    index = torch.zeros(STARTS, dtype=torch.long, **like)
    optimiser = PoseOptimiser(PoseProblem(
        target, pack_models([block()], device="meta"), index, torch.empty(STARTS, 3, 3, **like),
        torch.empty(STARTS, 3, **like), objective, OptimizeConfig(steps=4, region=SIDE),
    ))  # fmt: skip
    optimiser.step()  # constants are made once, before a graph is recorded
    with OnDeviceOnly():
        optimiser.step()
    assert set(optimiser.term_log) == {k for k, v in loss.weights.items() if v > 0} | {"total"}


def test_what_would_wait_is_seen() -> None:
    x = torch.empty(3, device="meta")
    with OnDeviceOnly(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        x[x > 0].sum()
    with OnDeviceOnly(), pytest.raises((AssertionError, RuntimeError)):
        x * torch.tensor(2.0)
