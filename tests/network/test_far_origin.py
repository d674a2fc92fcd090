"""Where a CAD file has its origin changes nothing but the t that is read and written."""

from __future__ import annotations

from dataclasses import asdict, replace

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


def test_networks_of_earlier_versions_keep_their_meaning(boxes) -> None:
    """They learned where the origin is: what they put out is its position, not the middle's."""
    model = boxes.model(1, (0.06, 0.1, 0.14))
    off = replace(model, vertices=model.vertices + np.array([0.05, 0.02, 0], np.float32))
    stored = asdict(replace(SMALL, views=1))
    del stored["about_centre"]
    torch.manual_seed(0)
    earlier = PoseNetwork(NetworkConfig.of_checkpoint(stored), [off])
    torch.manual_seed(0)
    today = PoseNetwork(replace(SMALL, views=1), [off])
    assert not earlier.config.about_centre
    assert today.config.about_centre
    batch = boxes.batch([off], 2)
    t = {}
    for name, network in (("earlier", earlier), ("today", today)):
        region = network._look_at(batch.box_visible, batch.image_index, batch.object_index, batch.K)
        out = network.regions(batch.images, None, region, network.objects)
        t[name] = out.t
        middle = out.position - out.t
        turned = (out.R @ network.objects.centre[batch.object_index][..., None])[..., 0]
        expected = turned if name == "today" else torch.zeros_like(turned)
        torch.testing.assert_close(middle, expected, atol=1e-5, rtol=0)
    assert (t["earlier"] - t["today"]).norm(dim=1).min() > 1e-3


def test_earlier_networks_of_symmetric_objects_keep_their_distances(boxes) -> None:
    """They learned to make up for coordinates that followed another symmetry than the rotation."""
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    model = boxes.model(1, (0.06, 0.1, 0.14), Symmetry(np.stack((np.eye(4), turn))))
    stored = asdict(SMALL)
    del stored["coordinates_follow_rotation"]
    networks = []
    for config in (NetworkConfig.of_checkpoint(stored), SMALL):
        torch.manual_seed(0)
        networks.append(PoseNetwork(config, [model]))
    batch = boxes.batch([model], 2)
    where = (batch.box_visible, batch.image_index, batch.object_index)
    earlier, today = (n.poses_for_boxes(batch.images, batch.K, *where) for n in networks)
    assert torch.equal(earlier.R, today.R)
    assert not torch.allclose(earlier.t, today.t, rtol=1e-3)
