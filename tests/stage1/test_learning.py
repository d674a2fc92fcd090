"""Losses and gradients of a batch, recorded or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from block_shapes import block
from replaying import replayed

from self6d.engine.learning import Learning, filled_up
from self6d.engine.schedule import TrainConfig
from self6d.network import NetworkConfig
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig

IMAGES = 3


@pytest.fixture(scope="module")
def task() -> SyntheticTask:
    network = replace(
        NetworkConfig.preset("tiny"), crop_size=32, crop_backbone="resnet18-w16",
        pyramid_channels=32, head_channels=32, loss_points=64, rois_per_image=2,
    )  # fmt: skip
    synthesis = SynthesisConfig(
        height=64, instances_min=2, instances_max=4, distractors_max=1, background_pool=2
    )
    return SyntheticTask([block()], None, network, synthesis, TrainConfig(steps=4, batch=IMAGES))


def test_a_graph_learns_what_the_step_without_does(task: SyntheticTask) -> None:
    learning = Learning(task._weighted, task.parameters, task.device, replayed(task.parameters))
    plain = Learning(task._weighted, task.parameters, task.device, None)
    done: list[int] = []
    counts = set()
    for step in range(8):
        batch = task.maker.make(IMAGES, 0, step)
        rows = -(-len(batch.R) // IMAGES) * IMAGES
        expected = plain(filled_up(batch, rows), step, lambda: None)
        gradients = [p.grad.clone() for p in task.parameters]
        terms = learning(batch, step, lambda step=step: done.append(step))
        assert terms.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(terms[name], value, atol=1e-5, rtol=1e-4, msg=name)
        for parameter, gradient in zip(task.parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-3)
        counts.add(len(batch.R))
    assert done == list(range(8))
    assert learning._graphs
    assert len(counts) > len(learning._met)  # one graph for several numbers of instances
    learning.forget()
    assert not learning._graphs


def test_instances_filled_up_are_not_learned_from(task: SyntheticTask) -> None:
    batch = task.maker.make(IMAGES, 1, 0)
    network = task.network
    terms = network.losses(batch)
    more = network.losses(filled_up(batch, len(batch.R) + 5))
    for name, value in terms.items():
        torch.testing.assert_close(more[name], value, atol=1e-6, rtol=1e-5, msg=name)
