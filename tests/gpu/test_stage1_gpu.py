"""Stage 1's step on a GPU, recorded as a graph, against the same without."""

from __future__ import annotations

import pytest
import torch
from block_shapes import block

from self6d.engine.learning import Learning, filled_up
from self6d.engine.schedule import TrainConfig
from self6d.network import NetworkConfig
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig

pytestmark = pytest.mark.gpu
IMAGES = 4


def make_task() -> SyntheticTask:
    synthesis = SynthesisConfig(
        height=128, instances_min=2, instances_max=3, distractors_max=1, background_pool=2
    )
    train = TrainConfig(steps=40, batch=IMAGES, lr=1e-3, warmup=1, validate_every=0)
    network = NetworkConfig.preset("tiny")
    return SyntheticTask([block()], None, network, synthesis, train, device="cuda")


def test_a_graph_learns_what_the_step_without_does() -> None:
    task = make_task()
    task.config.amp = "off"
    plain = Learning(task._weighted, task.parameters, task.device, None)
    learning = Learning(task._weighted, task.parameters, task.device)
    for step in range(8):
        batch = task.maker.make(IMAGES, 0, step)
        rows = -(-len(batch.R) // IMAGES) * IMAGES
        expected = plain(filled_up(batch, rows), step, lambda: None)
        gradients = [p.grad.clone() for p in task.parameters]
        terms = learning(batch, step, lambda: None)
        for name, value in expected.items():
            torch.testing.assert_close(terms[name], value, atol=1e-3, rtol=1e-2, msg=name)
        norm = torch.nn.utils.get_total_norm(gradients)
        off = torch.nn.utils.get_total_norm(
            [p.grad - g for p, g in zip(task.parameters, gradients, strict=True)]
        )
        assert off < 0.02 * norm
    assert learning._graphs


def test_recorded_training_goes_on_learning() -> None:
    task = make_task()
    losses = [task.step(step)["loss/total"] for step in range(40)]
    assert task._learning._graphs
    first, last = torch.stack(losses[:8]).mean(), torch.stack(losses[-8:]).mean()
    assert last < 0.9 * first  # 0.85 with or without a graph
    # not `p.clone()`, which would hold the parameters' nodes of a stream that is not recorded
    weights = {name: p.detach().clone() for name, p in task.network.named_parameters()}
    task.set_live({"network.pose_weight": 0.0})
    assert not task._learning._graphs
    assert task.halve_batch()
    values = [task.step(step) for step in range(3)]
    assert all(v["loss/total"].isfinite() and float(v["loss/pose"]) == 0.0 for v in values)
    assert any((p != weights[name]).any() for name, p in task.network.named_parameters())
