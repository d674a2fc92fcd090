"""What is captured as a CUDA graph says the same as the network itself."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tetrahedra import models

from self6d.network import Detections, NetworkConfig, PoseNetwork
from self6d.network.captured import CapturedForward, likely_detections

K = torch.tensor([[120.0, 0, 64], [0, 120.0, 48], [0, 0, 1]]).expand(2, 3, 3)


@pytest.fixture(scope="module")
def network() -> PoseNetwork:
    torch.manual_seed(0)
    small = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
        crop_size=32,
    )  # fmt: skip
    return PoseNetwork(small, models(5)).eval()


def assert_alike(found: Detections, expected: Detections) -> None:
    for field in fields(Detections):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(expected, field.name), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("most", [20, 3])
def test_detections_of_the_fixed_form_are_those_of_predict(network, most) -> None:
    images = torch.rand(2, 3, 96, 128)
    with torch.no_grad():
        outputs = network.forward_export(images, K)
    middle = float(outputs[0].median())  # drops some of each image's objects
    for threshold in (0.0, middle):
        expected = network.predict(images, K, score_threshold=threshold, max_per_image=most)
        assert 0 < len(expected) <= 2 * most
        assert_alike(likely_detections(outputs, threshold, most), expected)
    assert len(likely_detections(outputs, 1.0, most)) == 0


def test_nothing_is_captured_on_a_cpu(network) -> None:
    images, forward = torch.rand(2, 3, 96, 128), CapturedForward(network)
    found = forward.predict(images, K, score_threshold=0.0)
    assert_alike(found, network.predict(images, K, score_threshold=0.0))
    assert not found.R.requires_grad
    for part, own in zip(forward(images, K), network.forward_export(images, K), strict=True):
        torch.testing.assert_close(part, own)
