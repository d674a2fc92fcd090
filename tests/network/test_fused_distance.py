"""The distance that visible object coordinates give, and when the pose head's is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from self6d.geometry import pixel_centres, random_rotations
from self6d.network.fused_distance import fused_distance
from tests.network.conftest import box_model, cast

SIDE = 24
K = torch.tensor([[90.0, 0, 12], [0, 90.0, 12], [0, 0, 1]])


@pytest.fixture
def view() -> dict[str, Tensor]:
    """Exact coordinates of a box, seen 0.8 m away beside the optical axis."""
    model = box_model(0, (0.12, 0.09, 0.07))
    R = random_rotations(1, generator=torch.Generator().manual_seed(3))[0]
    t = torch.tensor([0.03, -0.02, 0.8])
    depth, _ = cast(model, R, t, K, (SIDE, SIDE))
    rays = torch.cat((pixel_centres(SIDE, SIDE), torch.ones(SIDE, SIDE, 1)), -1) @ K.inverse().T
    coordinates = (rays * depth[..., None] - t) @ R
    whole = (depth > 0).float()
    return {
        "t": t[None],
        "R": R[None],
        "coordinates": coordinates.permute(2, 0, 1)[None],
        "visible": whole[None],
        "whole": whole[None],
        "rays": rays[..., :2].permute(2, 0, 1)[None],
        "diameter": torch.tensor([model.diameter]),
        "symmetries": torch.eye(4)[None, None],
    }


@pytest.mark.parametrize("hidden", [0, SIDE // 2])
def test_exact_coordinates_mend_a_wrong_distance(view: dict[str, Tensor], hidden: int) -> None:
    """Even where half of the object is behind something, and the silhouette a guess."""
    truth = view["t"]
    view["visible"][:, :, :hidden] = 0
    fused = fused_distance(**(view | {"t": truth * 1.1}))
    torch.testing.assert_close(fused, truth, atol=0.01, rtol=0)


@pytest.mark.parametrize("turns", [2, 64])
def test_coordinates_of_another_symmetry_count_as_those_of_the_rotation(
    view: dict[str, Tensor], turns: int
) -> None:
    """Both are learned up to a symmetry, so a network may mean two different ones by them.

    Here about an axis beside the origin, as of an object whose box is not centred on it.
    """
    beside = torch.tensor([0.01, -0.02, 0.0])
    angle = torch.arange(turns) * (2 * torch.pi / turns)
    group = torch.eye(4).repeat(turns, 1, 1)
    group[:, 0, 0] = group[:, 1, 1] = angle.cos()
    group[:, 1, 0], group[:, 0, 1] = angle.sin(), -angle.sin()
    group[:, :3, 3] = beside - group[:, :3, :3] @ beside
    S = group[turns // 2 - 1 if turns > 2 else 1]
    x = view["coordinates"].flatten(2)
    other = (S[:3, :3].T @ (x - S[:3, 3:])).view_as(view["coordinates"])
    inputs = view | {"coordinates": other, "symmetries": group[None]}
    fused = fused_distance(**(inputs | {"t": view["t"] * 1.1}))
    torch.testing.assert_close(fused, view["t"], atol=0.01, rtol=0)
    alone = fused_distance(
        **(inputs | {"t": view["t"] * 1.1, "symmetries": torch.eye(4)[None, None]})
    )
    assert (alone - view["t"]).abs().max() > 0.03


def test_coordinates_that_fit_no_pose_are_not_believed(view: dict[str, Tensor]) -> None:
    noise = torch.randn(view["coordinates"].shape, generator=torch.Generator().manual_seed(0))
    fused = fused_distance(**(view | {"coordinates": 0.1 * noise}))
    assert abs(fused[0, 2] / 0.8 - 1) < 0.08
    few = torch.zeros_like(view["visible"])
    few[:, SIDE // 2, SIDE // 2] = 1  # a single cell has no spread, so it says nothing
    fused = fused_distance(**(view | {"visible": few, "t": view["t"] * 1.1}))
    torch.testing.assert_close(fused, view["t"] * 1.1)


def test_shares_follow_precision(view: dict[str, Tensor]) -> None:
    """Doubling the noise of the coordinates moves the result towards the head's."""
    head = view["t"] * 1.1
    noise = torch.randn(view["coordinates"].shape, generator=torch.Generator().manual_seed(0))
    z = [
        fused_distance(
            **(view | {"coordinates": view["coordinates"] + s * noise, "t": head})
        )[0, 2].item()
        for s in (0.0, 0.004, 0.008, 0.016)
    ]  # fmt: skip
    assert z == sorted(z)
    assert z[0] == pytest.approx(0.8, abs=0.004)
    assert z[-1] < head[0, 2]


def test_gradients_reach_head_and_coordinates_alone(view: dict[str, Tensor]) -> None:
    inputs = {k: v.clone().requires_grad_(k != "diameter") for k, v in view.items()}
    noisy = inputs["coordinates"] + 0.004 * torch.sin(torch.arange(3.0 * SIDE**2)).view(
        1, 3, SIDE, SIDE
    )
    fused_distance(**(inputs | {"coordinates": noisy}))[0, 2].backward()
    assert inputs["t"].grad is not None
    assert inputs["t"].grad[0, 2] > 0
    assert inputs["coordinates"].grad is not None
    assert inputs["coordinates"].grad.abs().max() > 0
    assert inputs["R"].grad is None
    assert inputs["visible"].grad is None
    assert inputs["whole"].grad is None
