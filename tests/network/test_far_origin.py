"""Where a CAD file has its origin changes nothing but the t that is read and written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from self6d.geometry import axis_angle_to_matrix
from self6d.network import NetworkConfig, PoseNetwork
from self6d.scene import Symmetry

SHIFT = np.array([1.1, -0.9, 1.0], np.float32)  # 1.75 m from the mesh, often behind the camera
SMALL = replace(
    NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
    crop_size=32, head_channels=16, regions=4, views=3,
)  # fmt: skip
FORMS = {
    "dense": SMALL,
    "equation 3": replace(SMALL, disentangled=False),
    "paper": replace(
        NetworkConfig.preset("paper"), backbone="resnet10-w8", head_channels=16, roi_size=16
    ),
}


def moved(model):
    """The same model in a frame whose origin lies `SHIFT` away, its symmetry moved along."""
    discrete = model.symmetry.discrete.copy()
    discrete[:, :3, 3] += SHIFT - discrete[:, :3, :3] @ SHIFT
    symmetry = Symmetry(discrete, model.symmetry.axes, model.symmetry.offsets + SHIFT)
    return replace(model, vertices=model.vertices + SHIFT, symmetry=symmetry)


@pytest.mark.parametrize("form", FORMS)
def test_a_far_origin_trains_and_predicts_as_a_centred_one(boxes, form) -> None:
    turn = np.diag([-1.0, -1, 1, 1])[None]
    near = [boxes.model(1, (0.06, 0.1, 0.14)), boxes.model(2, (0.1, 0.1, 0.05), Symmetry(turn))]
    far = [moved(model) for model in near]
    batch = boxes.batch(near, 4)
    there = replace(batch, t=batch.t - batch.R @ torch.from_numpy(SHIFT))
    assert (there.t[:, 2] < 0).any()

    def build(models):
        torch.manual_seed(0)
        return PoseNetwork(FORMS[form], models)

    one, other = build(near), build(far)
    expected, got = one.losses(batch), other.losses(there)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-5, msg=name)
    expected["total"].backward()
    got["total"].backward()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=2e-3, atol=2e-3 * float(a.grad.abs().max()))
    seen = one.predict(batch.images, batch.K, score_threshold=0.0)
    found = other.predict(batch.images, batch.K, score_threshold=0.0)
    torch.testing.assert_close(found.R, seen.R, rtol=0, atol=1e-4)
    back = found.t + found.R @ torch.from_numpy(SHIFT)  # each in the frame of its own file
    torch.testing.assert_close(back, seen.t, rtol=0, atol=1e-4)


def test_poses_are_averaged_about_the_centre() -> None:
    from self6d.network.views import average_poses

    generator = torch.Generator().manual_seed(0)
    centre = torch.from_numpy(SHIFT)[None]
    R = axis_angle_to_matrix(0.1 * torch.randn(1, 5, 3, generator=generator))
    position = torch.tensor([0.1, 0, 0.7]) + 0.02 * torch.randn(1, 5, 3, generator=generator)
    points = 0.05 * torch.rand(1, 20, 3, generator=generator)
    still = torch.eye(4)[None, None]
    mean, at = average_poses(R, position, points, still, torch.zeros(1, 3))
    t = position - R @ centre[0]
    mean_far, t_far = average_poses(R, t, points + centre, still, centre)
    torch.testing.assert_close(mean_far, mean)
    torch.testing.assert_close(
        t_far + (mean_far @ centre[..., None])[..., 0], at, rtol=0, atol=1e-6
    )
