"""Conventions of rotations, pinned."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from self6d.geometry import (
    allocentric_to_egocentric,
    axis_angle_to_matrix,
    egocentric_to_allocentric,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rotation6d,
    quaternion_to_matrix,
    random_rotations,
    rotation6d_to_matrix,
    rotation_angle,
    transform,
)

QUARTER_Z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture
def rotations(generator) -> torch.Tensor:
    return random_rotations(200, generator=generator, dtype=torch.float64)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    half = math.sqrt(0.5)
    torch.testing.assert_close(quaternion_to_matrix(torch.tensor([half, 0, 0, half])), QUARTER_Z)
    v = torch.tensor([0, 0, math.pi / 2])
    torch.testing.assert_close(axis_angle_to_matrix(v), QUARTER_Z)
    moved = transform(torch.tensor([[1.0, 0, 0]]), QUARTER_Z[None], torch.zeros(1, 3))
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.0, 1, 0]))


def test_random_rotations_are_rotations(rotations: torch.Tensor) -> None:
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, eye)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(200, dtype=torch.float64))


def test_quaternions_round_trip_and_are_canonical(rotations: torch.Tensor) -> None:
    q = matrix_to_quaternion(rotations)
    assert (q[:, 0] >= 0).all()
    torch.testing.assert_close(q.norm(dim=-1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(quaternion_to_matrix(q), rotations)
    torch.testing.assert_close(quaternion_to_matrix(-3 * q), rotations)  # any length, any sign


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 1)])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-6, math.pi])
def test_axis_angle_round_trip(axis, angle: float) -> None:
    v = torch.tensor(axis, dtype=torch.float64)
    v = v / v.norm() * angle
    R = axis_angle_to_matrix(v)
    torch.testing.assert_close(axis_angle_to_matrix(matrix_to_axis_angle(R)), R, atol=1e-7, rtol=0)
    assert float(matrix_to_axis_angle(R).norm()) == pytest.approx(angle, abs=1e-6)


def test_exponential_map_is_differentiable_at_zero() -> None:
    for v in (torch.zeros(3), torch.full((3,), 1e-5), torch.tensor([0.3, -0.2, 0.9])):
        assert gradcheck(axis_angle_to_matrix, v.double().requires_grad_())


def test_rotation6d_round_trip(rotations: torch.Tensor) -> None:
    d6 = matrix_to_rotation6d(rotations)
    torch.testing.assert_close(rotation6d_to_matrix(d6), rotations)
    scaled = torch.cat((2 * d6[:, :3], 3 * d6[:, 3:] + 0.5 * d6[:, :3]), -1)  # Gram-Schmidt
    torch.testing.assert_close(rotation6d_to_matrix(scaled), rotations)


def test_rotation_angle(rotations: torch.Tensor) -> None:
    by = axis_angle_to_matrix(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    angle = rotation_angle(rotations, rotations @ by)
    torch.testing.assert_close(angle, torch.full((200,), 0.4, dtype=torch.float64))


def test_allocentric_equals_egocentric_on_the_axis(rotations: torch.Tensor) -> None:
    t = torch.tensor([0, 0, 0.7], dtype=torch.float64).expand(200, 3)
    torch.testing.assert_close(allocentric_to_egocentric(rotations, t), rotations)


def test_allocentric_round_trip(rotations: torch.Tensor, generator) -> None:
    t = torch.rand(200, 3, generator=generator, dtype=torch.float64) - 0.5
    t[:, 2] += 1
    ego = allocentric_to_egocentric(rotations, t)
    torch.testing.assert_close(egocentric_to_allocentric(ego, t), rotations)
    torch.testing.assert_close(ego @ ego.mT, torch.eye(3).double().expand_as(ego))


def test_allocentric_rotation_fixes_what_the_camera_sees(
    rotations: torch.Tensor, generator
) -> None:
    """The same allocentric rotation shows the same side towards the camera wherever it stands."""
    t = torch.rand(200, 3, generator=generator, dtype=torch.float64) - 0.5
    t[:, 2] += 1
    ego = allocentric_to_egocentric(rotations, t)
    ray = t / t.norm(dim=-1, keepdim=True)
    seen = (ego.mT @ ray[..., None]).squeeze(-1)  # viewing direction in the model's frame
    centred = rotations.mT[..., :, 2]
    torch.testing.assert_close(seen, centred)
