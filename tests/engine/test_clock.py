"""Schedules by time, under a clock that the tests move by hand."""

from __future__ import annotations

import pytest
from toy_task import ToyTask

from self6d.config import to_dict
from self6d.engine.clock import Clock
from self6d.engine.loop import LoopConfig, run_task
from self6d.engine.schedule import TrainConfig, learning_rate
from self6d.events import Note, Progress
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.stage2.config import AdaptConfig

LOOP = LoopConfig(checkpoint_every=10, preview_every=1000)
CONFIG = TrainConfig(steps=1000, lr=0.1, warmup=100, flat=0.5)


class Hand:
    """A clock's hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class TimedTask(ToyTask):
    """Each step takes `seconds`; its rate is a scalar."""

    def __init__(self, hand: Hand, minutes: float, seconds: float = 6.0, **settings) -> None:
        super().__init__(**settings)
        self.hand, self.seconds = hand, seconds
        self.clock = Clock(minutes, now=hand)

    def step(self, step):
        rate = learning_rate(step, CONFIG, self.clock.share)
        self.hand.seconds += self.seconds
        return super().step(step) | {"lr": rate}


@pytest.fixture
def run(run_path):
    return RunFolder.create(run_path, "toy", {}, seed=3)


def test_work_counts_and_rest_does_not():
    hand = Hand()
    clock = Clock(1.0, now=hand)
    clock.begin()
    hand.seconds += 15
    assert (clock.elapsed_s, clock.share) == (15, 0)  # it stands still within a step
    clock.end()
    assert (clock.elapsed_s, clock.share, clock.left_s) == (15, 0.25, 45)
    hand.seconds += 1e6
    assert clock.elapsed_s == 15
    assert not clock.over
    clock.elapsed_s = 60
    assert clock.over


def test_without_a_limit_it_is_never_over():
    hand = Hand()
    clock = Clock(now=hand)
    clock.begin()
    hand.seconds += 1e9
    clock.end()
    assert (clock.share, clock.over, clock.left_s) == (0, False, float("inf"))


def test_another_ranks_time_is_followed():
    clock = Clock(1.0)
    clock.follow(0.75)
    assert clock.share == 0.75


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9, 1.0])
def test_whichever_is_further_along_counts(share):
    step = round(share * CONFIG.steps)
    assert learning_rate(0, CONFIG, share) == learning_rate(step, CONFIG)
    assert learning_rate(step, CONFIG, 0.5 * share) == learning_rate(step, CONFIG)


def test_a_run_ended_by_the_clock_has_the_end_of_its_cosine(run):
    """2 of 1000 planned steps' share; the time allows 20."""
    events, task = [], TimedTask(Hand(), 2.0, total_steps=1000)
    result = run_task(task, run, LOOP, events.append)
    assert (result["reason"], result["step"]) == ("done", 20)
    assert run.status == "done"
    rates = run.curves()["lr"][1].tolist()
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(learning_rate(950, CONFIG))
    assert rates[-1] < 0.03 * max(rates)
    assert result["ended"] == "its time is up (2 minutes)"
    assert any(result["ended"] in e.text for e in events if isinstance(e, Note))
    left = [e.seconds_left for e in events if isinstance(e, Progress) and e.seconds_left]
    assert all(seconds <= 120 for seconds in left)


def test_fewer_steps_than_the_time_allows_end_the_run(run):
    result = run_task(TimedTask(Hand(), 60.0, total_steps=5), run, LOOP)
    assert (result["reason"], result["step"]) == ("done", 5)


def test_time_goes_on_after_a_resume(run):
    """However long the process was gone."""
    control, hand = Control(), Hand()
    stop = lambda _, step: step == 6 and control.stop()  # noqa: E731
    task = TimedTask(hand, 2.0, total_steps=1000, before_step=stop)
    assert run_task(task, run, LOOP, control=control)["step"] == 7
    assert run.load_checkpoint(run.latest_checkpoint()).info["elapsed_s"] == 42
    hand = Hand()
    hand.seconds = 5e6
    again = TimedTask(hand, 2.0, total_steps=1000)
    assert run_task(again, run, LOOP)["step"] == 20
    rates = run.curves()["lr"][1].tolist()
    assert rates == [learning_rate(i, CONFIG, min(6 * i / 120, 1)) for i in range(20)]


def test_more_time_takes_a_finished_run_on(run):
    run_task(TimedTask(Hand(), 1.0, total_steps=1000), run, LOOP)
    assert run_task(TimedTask(Hand(), 1.0, total_steps=1000), run, LOOP)["step"] == 10
    assert run_task(TimedTask(Hand(), 2.0, total_steps=1000), run, LOOP)["step"] == 20


def test_pauses_do_not_count(run):
    control, hand = Control(), Hand()

    def ask(_, step):
        if step == 3:
            control.pause()

    def listen(event):
        if isinstance(event, Note) and event.text == "paused":
            hand.seconds += 1e6
            control.resume()

    task = TimedTask(hand, 1.0, total_steps=1000, before_step=ask)
    assert run_task(task, run, LOOP, listen, control)["step"] == 10


@pytest.mark.parametrize(("section", "cls"), [("train", TrainConfig), ("adapt", AdaptConfig)])
def test_both_stages_can_be_told(section, cls):
    config = build_config(None, {section: {"minutes": 1.5}})
    assert to_dict(getattr(config, section))["minutes"] == 1.5
    assert cls().minutes == 0
