"""Batches of fixed size: what a captured pass learns from them is what it learns from the batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tetrahedra import models as tetrahedra

from self6d.errors import InputError
from self6d.network import NetworkConfig, PoseNetwork
from self6d.synthesis import SceneMaker, SynthesisConfig, default_camera
from self6d.training.graphed import GraphedBackward, Room
from self6d.training.synthetic import SyntheticTask, TrainConfig

SYNTHESIS = SynthesisConfig(
    height=64, instances_min=2, instances_max=3, background_pool=2, camera_effects=0.0,
    apparent_min=0.5, apparent_max=0.6, resting=1.0,
)  # fmt: skip
NETWORK = replace(
    NetworkConfig.preset("tiny"), crop_size=32, rois_per_image=1, min_visible=0.01, loss_points=32
)


@pytest.fixture(scope="module")
def models():
    return tetrahedra(2)


@pytest.fixture(scope="module")
def batches(models):
    maker = SceneMaker(models, default_camera(64), SYNTHESIS)
    return [maker.make(3, 0, step) for step in range(2)]


def test_empty_places_change_no_loss(models, batches) -> None:
    """Nor do leftovers of the batch before."""
    torch.manual_seed(0)
    network = PoseNetwork(NETWORK, models)
    room = Room(batches[0], 3 * SYNTHESIS.instances_max)
    for batch in batches:
        assert room.take(batch)
        expected, found = network.losses(batch), network.losses(room.batch)
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)


def test_a_batch_that_does_not_fit_is_refused(batches) -> None:
    room = Room(batches[0], len(batches[0].image_index))
    assert room.take(batches[0])
    for name, value in vars(batches[0]).items():
        assert torch.equal(getattr(room.batch, name), value), name
    assert not Room(batches[0], 1).take(batches[0])


def test_passes_before_the_capture_are_repeatable(models, batches) -> None:
    torch.manual_seed(0)
    network = PoseNetwork(NETWORK, models)
    parameters = list(network.parameters())
    graphed = GraphedBackward(network.losses, parameters, 9, torch.device("cpu"))
    assert graphed.load(batches[0])
    first, gradient = graphed.run(5), parameters[0].grad
    assert not graphed.captured
    second = graphed.run(5)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert parameters[0].grad is not gradient
    torch.testing.assert_close(parameters[0].grad, gradient)
    assert float(graphed.run(6)["total"]) != float(first["total"])


def test_a_graph_needs_a_cuda_device(models) -> None:
    with pytest.raises(InputError, match="a CUDA device"):
        SyntheticTask(models, None, NETWORK, SYNTHESIS, TrainConfig(graph="on", batch=2))
