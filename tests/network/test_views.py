"""Poses averaged over several boxes of a detection."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tetrahedra import models

from self6d.errors import InputError
from self6d.geometry import axis_angle_to_matrix
from self6d.network import NetworkConfig, PoseNetwork
from self6d.network.captured import likely_detections
from self6d.network.views import average_poses, view_boxes

K = torch.tensor([[120.0, 0, 64], [0, 120.0, 48], [0, 0, 1]]).expand(2, 3, 3)
STILL = torch.eye(4)[None]


def test_boxes_lie_around_the_first() -> None:
    box = torch.tensor([[10.0, 20, 30, 60]])
    boxes = view_boxes(box, 5)[0]
    torch.testing.assert_close(boxes[0], box[0])
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    moved = (centre[1:] - centre[0]) / sides[0]
    torch.testing.assert_close(moved.norm(dim=1), torch.full((4,), 0.1))
    torch.testing.assert_close(moved.sum(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(sides[1:, 0] / 20, torch.tensor([1 / 1.15, 1.15, 1 / 1.15, 1.15]))
    assert view_boxes(box, 1).shape == (1, 1, 4)
    assert view_boxes(torch.zeros(0, 4), 9).shape == (0, 9, 4)


def test_opposite_errors_cancel() -> None:
    R = axis_angle_to_matrix(torch.tensor([[0.3, -1.2, 0.5]]))
    off = torch.tensor([[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0], [0, -0.1, 0]])
    near = R[:, None] @ axis_angle_to_matrix(off)[None]
    t = torch.tensor([0.1, -0.05, 0.8]) * torch.tensor([0.9, 1 / 0.9, 0.8, 1.25])[:, None]
    points = torch.rand(1, 20, 3)
    mean, centre = average_poses(near, t[None], points, STILL[None], torch.zeros(1, 3))
    torch.testing.assert_close(mean, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(centre, torch.tensor([[0.1, -0.05, 0.8]]))


def test_symmetric_poses_are_brought_together_first() -> None:
    turned = torch.eye(4)
    turned[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, 0, torch.pi]))
    turned[:3, 3] = torch.tensor([0.02, 0, 0])  # an axis beside the origin
    symmetries = torch.stack((torch.eye(4), turned))[None]
    R = axis_angle_to_matrix(torch.tensor([[0.3, -1.2, 0.5]]))
    t = torch.tensor([[0.1, -0.05, 0.8]])
    flipped = R @ turned[:3, :3], t + (R @ turned[:3, 3])
    views = torch.stack((R, flipped[0], flipped[0]), 1), torch.stack((t, flipped[1], flipped[1]), 1)
    mean, centre = average_poses(*views, torch.rand(1, 20, 3), symmetries, torch.zeros(1, 3))
    torch.testing.assert_close(mean, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(centre, t)


@pytest.mark.parametrize("roi_input", ["crop", "features"])
def test_a_network_averages_what_it_says_of_each_box(roi_input) -> None:
    torch.manual_seed(0)
    small = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
        crop_size=32, roi_input=roi_input,
    )  # fmt: skip
    network = PoseNetwork(small, models(3)).eval()
    images = torch.rand(2, 3, 96, 128)
    one = network.predict(images, K, score_threshold=0.0)
    network.config = replace(small, views=5)
    many = network.predict(images, K, score_threshold=0.0)
    boxes = view_boxes(one.box, 5)
    with torch.no_grad():
        parts = [
            network.poses_for_boxes(images, K, boxes[:, v], one.image_index, one.object_index)
            for v in range(5)
        ]
    index = one.object_index
    R, t = average_poses(
        torch.stack([p.R for p in parts], 1),
        torch.stack([p.t for p in parts], 1),
        network.objects.points[index],
        network.objects.symmetries[index],
        network.objects.centre[index],
    )
    assert (many.t - one.t).abs().max() > 1e-5
    torch.testing.assert_close(many.R, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(many.t, t, atol=1e-5, rtol=0)
    for name in ("box", "score", "mask_logits", "roi_box"):  # those of the first box
        torch.testing.assert_close(getattr(many, name), getattr(one, name), atol=1e-5, rtol=0)
    with torch.no_grad():
        fixed = likely_detections(network.forward_export(images, K), 0.0, 20)
    torch.testing.assert_close(fixed.R, many.R, atol=1e-5, rtol=0)
    torch.testing.assert_close(fixed.t, many.t, atol=1e-5, rtol=0)


def test_no_view_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"network\.views"):
        NetworkConfig(views=0)
