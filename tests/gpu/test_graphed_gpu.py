"""Stage 1's pass as a CUDA graph: the values of the eager one, no waiting, and a way back."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from tetrahedra import models, random_batch

from self6d.network import NetworkConfig, PoseNetwork
from self6d.synthesis import SynthesisConfig, default_camera
from self6d.training.finite import SKIPPED
from self6d.training.graphed import WARM, GraphedBackward
from self6d.training.synthetic import SyntheticTask, TrainConfig

pytestmark = pytest.mark.gpu
SIZE = (240, 320)
TRAIN = TrainConfig(steps=20, batch=4, validate_every=0, warmup=1, compile="off", graph="on")


def new_task(**train) -> SyntheticTask:
    return SyntheticTask(
        models(3), default_camera(240), NetworkConfig.preset("tiny"),
        SynthesisConfig(height=240, background_pool=4), replace(TRAIN, **train), device="cuda",
    )  # fmt: skip


@pytest.mark.parametrize("preset", ["tiny", "standard", "paper"])
def test_losses_and_gradients_are_those_of_the_eager_pass(preset: str) -> None:
    """Random numbers too: another seed chooses other instances and other boxes."""
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig.preset(preset), models(3)).cuda()
    parameters = list(network.parameters())
    graphed = GraphedBackward(network.losses, parameters, 12, torch.device("cuda"))
    batches = [random_batch(3, count, SIZE) for count in (3, 2, 3)]
    eager = []
    for seed in range(WARM):
        assert graphed.load(batches[seed])
        terms = graphed.run(seed)
        eager.append((terms, [p.grad.clone() for p in parameters]))
    for seed, (terms, gradients) in enumerate(eager):
        assert graphed.load(batches[seed])
        assert graphed.captured
        replayed = graphed.run(seed)
        assert list(replayed) == list(terms)
        for name in terms:
            torch.testing.assert_close(replayed[name], terms[name], rtol=1e-3, atol=1e-5)
        whole = torch.cat([g.flatten() for g in gradients])
        again = torch.cat([p.grad.flatten() for p in parameters])
        assert torch.nn.functional.cosine_similarity(whole, again, dim=0) > 0.999
    assert float(eager[0][0]["pose"]) != pytest.approx(float(eager[2][0]["pose"]), rel=1e-3)


def test_a_batch_with_too_many_instances_is_refused() -> None:
    network = PoseNetwork(NetworkConfig.preset("tiny"), models(3)).cuda()
    graphed = GraphedBackward(network.losses, list(network.parameters()), 6, torch.device("cuda"))
    assert graphed.load(random_batch(2, 3, SIZE))
    assert not graphed.load(random_batch(2, 4, SIZE))
    assert not graphed.load(random_batch(1, 3, SIZE))


def test_training_goes_on_as_a_graph() -> None:
    task = new_task()
    totals = [float(task.step(step)["loss/total"]) for step in range(20)]
    assert task.graphed is not None
    assert task.graphed.captured
    assert sum(totals[-5:]) < sum(totals[:5])


def test_a_graphed_step_never_waits_for_the_device() -> None:
    task = new_task()
    for step in range(WARM + 2):
        task.step(step)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        task.step(WARM + 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_eager_and_graphed_batches_may_alternate() -> None:
    """A batch that does not fit runs eagerly, with gradients of its own."""
    task = new_task()
    for step in range(WARM + 1):
        task.step(step)
    assert task.graphed is not None
    before = [p.grad for p in task.parameters]
    generator = torch.Generator("cuda").manual_seed(0)
    task._backward(task._losses(task.maker.make(2, 0, 0), generator))
    assert all(p.grad is not b for p, b in zip(task.parameters, before) if b is not None)
    values = task.step(WARM + 1)
    assert all(p.grad is b for p, b in zip(task.parameters, before))
    assert not bool(values[SKIPPED])


def test_a_live_weight_is_captured_anew() -> None:
    task = new_task()
    for step in range(WARM + 1):
        values = task.step(step)
    task.set_live({"network.pose_weight": 0.0})
    for step in range(WARM + 1, 2 * WARM + 3):
        values = task.step(step)
    assert task.graphed is not None
    assert task.graphed.captured
    assert float(values["loss/pose"]) == 0.0


def test_what_cannot_be_captured_trains_without(caplog) -> None:
    task = new_task(graph="auto")
    assert task.graphed is not None
    plain = task.graphed.losses

    def waits(batch, generator):
        terms = plain(batch, generator)
        terms["total"].item()
        return terms

    task.graphed.losses = waits
    with caplog.at_level(logging.WARNING, "self6d"):
        for step in range(WARM + 3):
            values = task.step(step)
    assert task.graphed is None
    assert "not captured" in caplog.text
    assert torch.isfinite(values["loss/total"])
    assert not bool(values[SKIPPED])
