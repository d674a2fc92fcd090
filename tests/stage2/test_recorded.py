"""Stage 2's steps as a GPU takes them: losses and gradients of each part recorded once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import stage2_scene as stage2
import torch
from replaying import replayed

from self6d.datasets.base import UnlabelledFrames
from self6d.engine.learning import Learning
from self6d.losses.objective import LossConfig
from self6d.refinement.config import OptimizeConfig
from self6d.stage2.config import AdaptConfig
from self6d.stage2.student import RecordedStudent
from self6d.stage2.task import SelfSupTask
from self6d.synthesis import SynthesisConfig

PAPER = AdaptConfig(
    steps=9, batch=4, region=64, lr=1e-4, warmup=0, max_objects=8, health_every=50, augment=0.3
)
BOTH = replace(  # all parts: L_self, selected poses, labels and synthetic images
    PAPER, pseudo=True, pseudo_steps=8, pseudo_region=64, label_weight=1.0, pseudo_weight=1.0,
    scope="all", pseudo_colour=False, synthetic=0.5, synthetic_batch=2,
)  # fmt: skip
SMALL = SynthesisConfig(background_pool=2, instances_min=1, instances_max=2, faces_max=300)


def task(adapt: AdaptConfig, recorded: bool) -> SelfSupTask:
    loss = LossConfig(perceptual=0.0, points=256)
    made = SelfSupTask(
        stage2.network(), [stage2.MODEL], UnlabelledFrames(stage2.Recording()), adapt, loss,
        OptimizeConfig(flips=False), SMALL,
    )  # fmt: skip
    record = replayed(made.parameters)
    made.recorded = RecordedStudent(made.bare, made.of_poses, made.parameters, adapt, record)
    if not recorded:
        for part in parts(made):
            part._has_room = lambda: False
    return made


def parts(made: SelfSupTask) -> list[Learning]:
    assert made.recorded is not None
    return [made.recorded._poses, *made.recorded._labelled.values()]


def assert_alike(one: dict, other: dict, *, atol: float, rtol: float) -> None:
    assert one.keys() == other.keys()
    for name in other:
        a, b = torch.as_tensor(one[name]).double(), torch.as_tensor(other[name]).double()
        torch.testing.assert_close(a, b, atol=atol, rtol=rtol, msg=name)


@pytest.mark.parametrize("adapt", [PAPER, BOTH], ids=["poses", "all parts"])
def test_what_is_recorded_learns_what_steps_without_do(adapt: AdaptConfig) -> None:
    recorded, plain = task(adapt, recorded=True), task(adapt, recorded=False)
    for step in range(5):
        one, other = recorded.step(step), plain.step(step)
        assert_alike(one, other, atol=1e-4, rtol=1e-3)
    held = [bool(part._graphs) for part in parts(recorded)]
    assert held == [True, adapt is BOTH, adapt is BOTH]
    assert not any(part._graphs for part in parts(plain))
    for a, b in zip(recorded.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    recorded.set_live({"loss.mask": 0.0})  # a number that a graph holds
    assert not any(part._graphs for part in parts(recorded))
    assert "loss/mask" not in recorded.step(5)


def test_the_poses_losses_are_those_of_a_step_that_is_not_recorded() -> None:
    recorded, plain = task(PAPER, recorded=True), task(PAPER, recorded=False)
    plain.recorded = plain.halves.thread = None
    one, other = recorded.step(0), plain.step(0)
    assert_alike(one, other, atol=1e-5, rtol=1e-4)


def test_rows_that_fill_a_graph_are_not_heard() -> None:
    one = task(BOTH, recorded=False)
    one.teacher.refresh(0)
    batch = one.of_poses.asked(one.drawn.take(0, one.batch_size))
    assert batch is not None
    assert float(batch.heard.sum()) > 0
    more = batch.filled(len(batch.R) + 3)
    terms, filled = (one.of_poses.of(x, one.bare.poses(x)) for x in (batch, more))
    for name, value in terms.items():
        torch.testing.assert_close(filled[name], value, atol=1e-6, rtol=1e-5, msg=name)
