"""A step is the same drawn beside the step before it or when it is due, in halves or whole."""

import threading
from dataclasses import replace

import pytest
import stage2_scene as stage2
import torch

from self6d.datasets.base import UnlabelledFrames
from self6d.engine.ahead import Ahead
from self6d.losses.objective import LossConfig
from self6d.refinement.config import OptimizeConfig
from self6d.stage2.config import AdaptConfig
from self6d.stage2.student import Drawn
from self6d.stage2.task import SelfSupTask

ADAPT = AdaptConfig(
    steps=4, batch=2, region=48, lr=2e-4, warmup=1, ema=0.9, refresh_every=2, health_every=10,
    pseudo=True, pseudo_steps=4, pseudo_region=48, pseudo_colour=False, label_weight=1.0,
    scope="all", augment=0.5, roll_deg=20, zoom=0.2, keep_iou=0.1, keep_inliers=0.0,
    keep_spread=9.0, self_weight=0.0,
)  # fmt: skip


@pytest.fixture
def two_threads():
    stage2.network()  # trained once, with the threads there are
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def task(**changes: float) -> SelfSupTask:
    return SelfSupTask(
        stage2.network(), [stage2.MODEL], UnlabelledFrames(stage2.Recording()),
        replace(ADAPT, **changes),
        LossConfig(perceptual=0.0, points=128), OptimizeConfig(flips=False), seed=3,
    )  # fmt: skip


def test_steps_are_the_same_drawn_ahead(two_threads, monkeypatch) -> None:
    made, of = {}, Drawn.of

    def noted(teacher, seed, rank, step, size, aside):
        made[step] = threading.current_thread() is threading.main_thread()
        return of(teacher, seed, rank, step, size, aside)

    ahead = task()
    with monkeypatch.context() as patched:
        patched.setattr(Drawn, "of", noted)
        values = [ahead.step(step) for step in range(ADAPT.steps)]
    # the pseudo-labels of steps 0 and 2 are new
    assert made == {0: True, 1: False, 2: True, 3: False}
    due = task()
    due.drawn = Ahead(due.draw, ADAPT.steps, due.device, beside=False)
    for step, first in enumerate(values):
        second = due.step(step)
        assert float(first["loss/labels"]) > 0
        assert {k: float(v) for k, v in first.items()} == {k: float(v) for k, v in second.items()}
    for p, q in zip(ahead.parameters, due.parameters, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("self_weight", [0.0, 1.0])
def test_halves_make_the_step_that_one_call_makes(two_threads, self_weight) -> None:
    jobs = [task(self_weight=self_weight) for _ in range(2)]
    jobs[1].halves.thread = None
    for step in range(2):
        first, second = ({k: float(v) for k, v in job.step(step).items()} for job in jobs)
        assert first == pytest.approx(second, rel=1e-4)
        assert torch.get_num_threads() == 2
    # as a whole: of one that should be zero only rounding is left, which halves do otherwise
    halves, whole = (torch.cat([p.grad.flatten() for p in job.parameters]) for job in jobs)
    assert (halves - whole).norm() < 1e-3 * whole.norm()


def test_regions_left_out_counted_for_nothing() -> None:
    job = task()
    job.step(0)
    batch, known = job.draw(1, 2).labelled
    visible = torch.tensor([0.0, *batch.visible_fraction[1:]])
    network, noise = job.network, torch.Generator()
    batch = replace(batch, visible_fraction=visible)
    found = []
    for left_out in (True, False):
        network._may_leave_out = lambda used, told=left_out: told and bool(used.any())
        found.append(network.losses(batch, noise.manual_seed(1), known))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name])
