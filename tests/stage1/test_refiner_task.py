"""Training the RGB refiner: it learns, goes on exactly, and starts from another."""

from __future__ import annotations

import pytest
import torch

from self6d.engine.schedule import TrainConfig
from self6d.refinement.rgb.config import RefinerConfig
from self6d.stage1.refiner_task import RefinerTask
from self6d.synthesis import SynthesisConfig
from self6d.synthesis.shapes.generated import generated_models

SMALL = {
    "refiner": RefinerConfig(
        backbone="resnet18-w8", size=64, head_channels=8, instances=3, train_looks=2
    ),
    "synthesis": SynthesisConfig(height=120, background_pool=4, instances_min=3, distractors_max=1),
    "train": TrainConfig(
        steps=4, batch=2, lr=2e-3, warmup=1, validate_every=0, validation_images=4, ema=0.9
    ),
}


@pytest.fixture(scope="module")
def models() -> list:
    return generated_models(2, seed=5)


def test_a_batch_is_learned(models: list) -> None:
    """Each term falls when the same images and starts are shown again and again."""
    task = RefinerTask(models, **SMALL)
    batch = task.maker.make(4, 1, 0)
    task.network.train()
    optimizer = torch.optim.Adam(task.network.parameters(), lr=3e-3)
    terms = []
    for _ in range(60):
        losses = task.losses(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        terms.append({name: float(value.detach()) for name, value in losses.items()})
    for name in ("rotation", "shift", "distance", "mask"):
        late = sum(t[name] for t in terms[-5:]) / 5
        assert late < 0.75 * terms[0][name], (name, terms[0][name], late)


def test_resuming_is_exact(models: list) -> None:
    straight = RefinerTask(models, **SMALL)
    for step in range(3):
        straight.step(step)
    first = RefinerTask(models, **SMALL)
    first.step(0)
    second = RefinerTask(models, **SMALL)
    second.load_state_dict(first.state_dict())
    for step in (1, 2):
        second.step(step)
    for (name, a), b in zip(
        straight.network.state_dict().items(), second.network.state_dict().values()
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


def test_objects_start_from_a_refiner_for_every_object(models: list) -> None:
    from dataclasses import replace

    shared = RefinerTask(models, **SMALL)
    for step in range(2):
        shared.step(step)
    own = SMALL | {"refiner": replace(SMALL["refiner"], per_object=True)}
    task = RefinerTask(models, **own, start=shared.average.network.state_dict())
    assert len(task.network.out.weight) == 2
    for row in task.network.out.weight:
        torch.testing.assert_close(row, shared.average.network.out.weight[0])
    assert task.about_network()["object_ids"] == [1, 2]
    assert shared.about_network()["object_ids"] == []


def test_health_says_recalls_before_and_after(models: list) -> None:
    task = RefinerTask(models, **SMALL)
    health = task.validate(0)
    assert set(health) == {"start_recall", "add_recall", "brier"}
    assert all(0 <= value <= 1 for value in health.values())
    assert task.score() == health["add_recall"]


def test_live_weights(models: list) -> None:
    task = RefinerTask(models, **SMALL)
    batch = task.maker.make(2, 1, 0)
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    before = task.losses(batch, draw())
    task.set_live({"refiner.shift_weight": 2.0, "network.pose_weight": 3.0})
    after = task.losses(batch, draw())
    assert after["shift"].item() == pytest.approx(2 * before["shift"].item(), rel=1e-3)
