"""The single-image job: what it reports, and going on where it stopped."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from block_shapes import block

from self6d.geometry import Camera, Pose
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.problem import PoseProblem
from self6d.refinement.task import ImageTask, problem_of_pose
from self6d.scene import Frame, GroundTruth

from .test_single_image import MODELS, R0, SIZE, T0, K, perturbed, scene

STEPS = 12


def task() -> ImageTask:
    objective = SelfSupervision(LossConfig(perceptual=0.0, points=128))
    rgb, depth, mask = scene()
    picture = (rgb[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    frame = Frame(picture, depth[0].numpy(), Camera(K[0].numpy(), SIZE, SIZE))
    truth = GroundTruth(1, Pose(R0[0].double().numpy(), T0[0].double().numpy()))
    config = OptimizeConfig(steps=STEPS, region=SIZE)
    target = objective.observe(rgb, depth, mask, K)
    given = perturbed(1, degrees=15.0, metres=0.02, seed=5)
    index = torch.zeros(1, dtype=torch.long)
    problem = PoseProblem(target, MODELS, index, *perturbed(1), objective, config)
    return ImageTask(problem, block(), frame, given=given, truth=truth)


def test_the_summary_begins_at_the_pose_given() -> None:
    job = task()
    for step in range(STEPS):
        job.step(step)
    result = job.result()
    assert len(result["trajectory"]["R_m2c"]) == STEPS + 1
    began, ended = result["summary"]["error/translation_mm"]
    assert began == pytest.approx(20, abs=0.1)
    assert ended < 6
    for name in ("loss/total", "loss/mask", "loss/geometry"):
        assert result["summary"][name][1] < result["summary"][name][0]


@pytest.mark.parametrize("stop", [3, 9], ids=["before the race", "after the race"])
def test_going_on_is_the_same_as_not_stopping(stop: int) -> None:
    whole = task()
    for step in range(STEPS):
        if step == stop:
            state = deepcopy(whole.state_dict())
        whole.step(step)
    assert len(whole.optimiser.rows) < whole.optimiser.R_log.shape[1]
    part = task()
    part.load_state_dict(state)
    for step in range(stop, STEPS):
        part.step(step)
    expected, found = whole.result(), part.result()
    assert torch.equal(part.optimiser.rows, whole.optimiser.rows)
    assert found["t_m2c"] == expected["t_m2c"]
    assert found["trajectory"] == expected["trajectory"]


def test_a_pose_given_in_a_far_frame_starts_from_the_same_target() -> None:
    """The file's origin lies 1.75 m off and behind the camera: what is looked at stays."""
    shift = torch.tensor([1.1, -0.9, 1.0])
    near, far = block(), block(centre=shift.numpy())
    rgb, depth, _ = scene()
    picture = (rgb[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    frame = Frame(picture, depth[0].numpy(), Camera(K[0].numpy(), SIZE, SIZE))
    config = OptimizeConfig(region=SIZE)
    t = T0 - R0 @ shift
    assert t[0, 2] < 0
    objective = SelfSupervision(LossConfig(perceptual=0.0, points=128))
    one = problem_of_pose(frame, R0, T0, near, objective, config)
    other = problem_of_pose(frame, R0, t, far, objective, config)
    torch.testing.assert_close(other.target.K, one.target.K, rtol=0, atol=0.01)
    torch.testing.assert_close(other.R, one.R, rtol=0, atol=0.01)
    torch.testing.assert_close(other.t + (other.R @ shift), one.t, rtol=0, atol=0.001)
