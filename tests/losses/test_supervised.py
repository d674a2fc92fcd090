"""Stage-1 losses against cases worked out by hand, brute force and torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.geometry import random_rotations, transform
from self6d.losses import supervised
from self6d.scene import Symmetry

from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss  # isort: skip


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_focal_loss_by_hand() -> None:
    # p = 0.5 everywhere: 0.25 * 0.5^2 * ln 2 for the positive, 0.75 * 0.5^2 * ln 2 for the negative
    loss = supervised.focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(0.25 * math.log(2))


def test_focal_loss_is_torchvisions(generator: torch.Generator) -> None:
    logits = torch.randn(4, 7, generator=generator) * 3
    target = (torch.rand(4, 7, generator=generator) > 0.7).float()
    theirs = sigmoid_focal_loss(logits, target, reduction="sum")
    torch.testing.assert_close(supervised.focal_loss(logits, target), theirs)


def test_giou_loss_by_hand() -> None:
    one = torch.tensor([0.0, 0.0, 2.0, 2.0])
    assert supervised.giou_loss(one, one).item() == pytest.approx(0.0, abs=1e-6)
    # 2x2 boxes a gap of 2 apart: IoU 0, hull 6x2 = 12, union 8, so 1 - (0 - 4/12)
    apart = torch.tensor([4.0, 0.0, 6.0, 2.0])
    assert supervised.giou_loss(one, apart).item() == pytest.approx(1 + 1 / 3)


def test_giou_loss_is_torchvisions(generator: torch.Generator) -> None:
    corner, sides = torch.rand(2, 30, 2, 2, generator=generator) * 10
    a, b = torch.cat((corner, corner + sides), -1).unbind(1)
    theirs = generalized_box_iou_loss(a, b)
    torch.testing.assert_close(supervised.giou_loss(a, b), theirs, atol=1e-5, rtol=1e-5)


def test_mask_loss_by_hand() -> None:
    logits = torch.zeros(2, 1, 2, 2)
    logits[1] = 30.0
    target = torch.ones(2, 1, 2, 2)
    even = supervised.mask_bce(logits, target, torch.tensor([1.0, 1.0]))
    assert even.item() == pytest.approx(math.log(2) / 2)
    only_second = supervised.mask_bce(logits, target, torch.tensor([0.0, 1.0]))
    assert only_second.item() == pytest.approx(0.0, abs=1e-6)


def test_weighted_mean_of_nothing_is_zero() -> None:
    assert supervised.weighted_mean(torch.ones(3), torch.zeros(3)).item() == 0.0


def test_point_distance_by_hand() -> None:
    """A quarter turn about z moves (1, 0, 0) to (0, 1, 0): |-1| + |1|, and a shift adds to it."""
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    points = torch.tensor([[[1.0, 0, 0], [0, 0, 1.0]]])
    zero, shift = torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 0.5]])
    distance = supervised.point_distance(turn, shift, torch.eye(3)[None], zero, points)
    assert distance.item() == pytest.approx(((2 + 0.5) + 0.5) / 2)


def _symmetries() -> torch.Tensor:
    """A bottle (continuous, off centre) and an object without symmetry, filled up."""
    turns = Symmetry(axes=np.array([[0, 0, 1.0]]), offsets=np.array([[0.02, 0.01, 0]]))
    bottle = turns.transforms(16)
    plain = np.tile(np.eye(4), (16, 1, 1))
    return torch.tensor(np.stack((bottle, plain)), dtype=torch.float32)


def test_symmetric_pose_loss_is_brute_force(generator: torch.Generator) -> None:
    symmetries = _symmetries()
    R, R_true = random_rotations(4, generator=generator).view(2, 2, 3, 3)
    t, t_true = torch.randn(2, 2, 3, generator=generator)
    points = torch.randn(2, 40, 3, generator=generator) * 0.1
    loss = supervised.pose_loss(R, t, R_true, t_true, points, symmetries)
    for i in range(2):
        moved = points[i] @ R[i].T + t[i]
        options = []
        for S in symmetries[i]:
            turned = points[i] @ S[:3, :3].T + S[:3, 3]
            true = turned @ R_true[i].T + t_true[i]
            options.append((moved - true).abs().sum(-1).mean().item())
        assert loss[i].item() == pytest.approx(min(options), rel=1e-4)


def test_pose_loss_of_a_symmetric_view_is_zero(generator: torch.Generator) -> None:
    symmetries = _symmetries()
    R_true = random_rotations(2, generator=generator)
    t_true = torch.randn(2, 3, generator=generator)
    S = symmetries[:, 5]
    R, t = R_true @ S[:, :3, :3], (R_true @ S[:, :3, 3:])[..., 0] + t_true
    points = torch.randn(2, 40, 3, generator=generator) * 0.1
    loss = supervised.pose_loss(R, t, R_true, t_true, points, symmetries)
    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-5, rtol=0)
    plain = supervised.point_distance(R, t, R_true, t_true, points)
    assert plain[0] > 0.01


def test_pose_loss_gradient(generator: torch.Generator) -> None:
    symmetries = _symmetries().double()
    R_true = random_rotations(2, generator=generator, dtype=torch.float64)
    t_true = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    points = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    R = random_rotations(2, generator=generator, dtype=torch.float64).requires_grad_()
    t = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(R: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return supervised.pose_loss(R, t, R_true, t_true, points, symmetries)

    assert torch.autograd.gradcheck(loss, (R, t))


def test_symmetric_coordinates_are_brute_force(generator: torch.Generator) -> None:
    symmetries = _symmetries()
    true, estimate = torch.randn(2, 2, 3, 4, 5, generator=generator) * 0.1
    visible = (torch.rand(2, 4, 5, generator=generator) > 0.4).float()
    chosen = supervised.nearest_symmetric_coordinates(estimate, true, visible, symmetries)
    for i in range(2):
        options = []
        for S in torch.linalg.inv(symmetries[i]):
            moved = (true[i].flatten(1).T @ S[:3, :3].T + S[:3, 3]).T.view(3, 4, 5)
            options.append((((moved - estimate[i]).abs().sum(0) * visible[i]).sum(), moved))
        best = min(options, key=lambda option: option[0].item())[1]
        torch.testing.assert_close(chosen[i], best, atol=1e-5, rtol=1e-4)


def test_coordinates_and_pose_agree_about_a_symmetry(generator: torch.Generator) -> None:
    """The coordinates chosen for pose R* S put the same surface points before the camera."""
    symmetries = _symmetries()[:1]
    R_true, t_true = random_rotations(1, generator=generator), torch.tensor([[0.0, 0.1, 0.9]])
    S = symmetries[:, 7]
    R, t = R_true @ S[:, :3, :3], (R_true @ S[:, :3, 3:])[..., 0] + t_true
    true = torch.randn(1, 3, 4, 4, generator=generator) * 0.1
    inverse = torch.linalg.inv(S)
    estimate = inverse[:, :3, :3] @ true.flatten(2) + inverse[:, :3, 3:]
    chosen = supervised.nearest_symmetric_coordinates(
        estimate.view_as(true), true, torch.ones(1, 4, 4), symmetries
    )
    seen = transform(true.flatten(2).transpose(1, 2), R_true, t_true)
    torch.testing.assert_close(
        transform(chosen.flatten(2).transpose(1, 2), R, t), seen, atol=1e-5, rtol=1e-4
    )


def test_coordinate_loss_by_hand() -> None:
    """One of two visible pixels is off by (0.1, 0.1, 0) at a scale of 0.5: 0.2 / 0.5 / 2."""
    true = torch.zeros(2, 3, 1, 3)
    estimate = true.clone()
    estimate[0, :2, 0, 0] = 0.1
    estimate[0, :, 0, 2] = 9.0  # not visible
    estimate[1] = 9.0  # nothing of it is visible
    visible = torch.tensor([[[1.0, 1, 0]], [[0, 0, 0]]])
    loss = supervised.coordinate_loss(
        estimate, true, visible, torch.tensor([0.5, 0.5]), torch.ones(2)
    )
    assert loss.item() == pytest.approx(0.2)
