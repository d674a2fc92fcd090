"""The training loop: events, requests, exact resume, non-finite steps, memory."""

from __future__ import annotations

import threading

import pytest
import torch
from same_end import assert_same_end
from toy_task import ToyTask

from self6d.engine.finite import SKIPPED
from self6d.engine.loop import LoopConfig, run_task
from self6d.engine.reporting import TimeLeft
from self6d.errors import DivergenceError, InputError, LockedError, OutOfMemoryError
from self6d.events import CheckpointSaved, Finished, Note, Preparing, Preview, Progress, Scalars
from self6d.runs.control import Control, send
from self6d.runs.folder import RunFolder

LOOP = LoopConfig(checkpoint_every=10, preview_every=10, max_skipped=5)


@pytest.fixture
def run(run_path):
    return RunFolder.create(run_path, "toy", {"loop": {"checkpoint_every": 10}}, seed=3)


def test_events_of_a_whole_run(run, no_leaks):
    events = []
    result = run_task(ToyTask(40), run, LOOP, events.append)
    assert result["reason"] == "done"
    assert result["step"] == 40
    losses = [e.values["loss/total"] for e in events if isinstance(e, Scalars)]
    assert len(losses) == 40
    assert losses[-1] < losses[0] / 2
    saved = [e.step for e in events if isinstance(e, CheckpointSaved)]
    assert saved == [10, 20, 30, 40]
    assert isinstance(events[-1], Finished)
    progress = [e for e in events if isinstance(e, Progress)]
    assert (progress[-1].step, progress[-1].total) == (40, 40)
    previews = [e for e in events if isinstance(e, Preview)]
    assert previews[0].step == 0
    assert previews[-1].step == 40


def test_run_folder_tells_the_same_story(run):
    events = []
    run_task(ToyTask(40), run, LOOP, events.append)
    again = RunFolder.open(run.path)
    assert again.status == "done"
    assert again.result["norm"] > 0
    steps, values = again.curves()["loss/total"]
    assert steps.tolist() == list(range(40))
    told = [e.values["loss/total"] for e in events if isinstance(e, Scalars)]
    assert values.tolist() == told
    assert again.previews()[0].step == 40
    assert again.previews(first=True)[0].step == 0
    kinds = [type(event) for event, _ in again.iter_events()]
    assert kinds[-1] is Finished


def test_stop_and_resume_is_bitwise_exact(run, tmp_path):
    whole = RunFolder.create(tmp_path / "whole", "toy", {})
    run_task(ToyTask(40), whole, LOOP)
    for stop_at in (7, 23):
        control = Control()
        task = ToyTask(40, before_step=lambda _, s, c=control, at=stop_at: s == at and c.stop())
        assert run_task(task, run, LOOP, control=control)["reason"] == "stopped"
        assert run.status == "stopped"
    task = ToyTask(40)
    run_task(task, run, LOOP)
    assert task.steps_done == list(range(24, 40))
    assert_same_end(run, whole)


@pytest.mark.parametrize("through", ["flags", "file"])
def test_pause_saves_and_goes_on(run, through):
    control = Control()

    def ask(request: str) -> None:
        if through == "file":
            send(run.path, request)
        else:
            getattr(control, request)()

    paused = threading.Event()

    def listen(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "paused":
            paused.set()

    def slowly(task: ToyTask, step: int) -> None:
        if step == 5:
            ask("pause")
        if step >= 5 and not paused.is_set():
            paused.wait(0.02)

    task = ToyTask(200, before_step=slowly)
    thread = threading.Thread(target=run_task, args=(task, run, LOOP, listen, control))
    thread.start()
    assert paused.wait(10)
    assert run.status == "paused"
    done = len(task.steps_done)
    assert run.latest_checkpoint().stem == f"step_{done:08d}"
    ask("resume")
    thread.join(20)
    assert task.steps_done == list(range(200))
    assert run.status == "done"


def test_save_now_and_live_values_from_another_process(run):
    def ask(task: ToyTask, step: int) -> None:
        if step == 3:
            control.save_now()
            control.set_live({"loss.scale": 0.25, "loss.none": 1.0})

    control = Control()
    events = []
    task = ToyTask(12, before_step=ask)
    task.on_preparing = None
    task.deaf_to = lambda name: "not of this task" if name == "loss.none" else ""
    run_task(task, run, LOOP, events.append, control)
    for done in (0, 1, 2, 4):
        task.on_preparing("refining poses", done, 4)
    told = [e for e in events if isinstance(e, Preparing)]
    assert [(e.what, e.done, e.total) for e in told if e.done in (0, 4)] == [
        ("refining poses", 0, 4), ("refining poses", 4, 4)]  # fmt: skip
    assert told[0].seconds_left is None
    assert told[-1].seconds_left == 0
    assert [e for e, _ in run.iter_events() if isinstance(e, Preparing)] == told
    assert 4 in [e.step for e in events if isinstance(e, CheckpointSaved)]
    notes = [(e.level, e.text) for e in events if isinstance(e, Note)]
    assert ("info", "live: loss.scale = 0.25") in notes
    assert ("warning", "loss.none = 1 has no effect: not of this task") in notes
    assert run.curves()["loss/scale"][1].tolist() == [1.0] * 4 + [0.25] * 8


def test_live_values_survive_a_resume(run):
    control = Control()
    control.set_live({"loss.scale": 0.5})
    task = ToyTask(20, before_step=lambda _, s: s == 5 and control.stop())
    run_task(task, run, LOOP, control=control)
    run_task(ToyTask(20), run, LOOP)
    assert set(run.curves()["loss/scale"][1].tolist()) == {0.5}


def test_an_old_request_does_not_stop_a_new_process(run):
    (run.path / "control.jsonl").write_text('{"command": "stop", "time": 1.0}\nnot json\n')
    assert run_task(ToyTask(12), run, LOOP)["reason"] == "done"


@pytest.mark.parametrize("fused", [True, False])
def test_non_finite_step_is_skipped_counted_and_shown(run, fused):
    def spoil(task: ToyTask, step: int) -> None:
        task.scale = float("nan") if step in (4, 5) else 1.0

    events = []
    task = ToyTask(20, fused=fused, before_step=spoil)
    run_task(task, run, LOOP, events.append)
    assert torch.isfinite(task.net.weight).all()
    skipped = run.curves()[SKIPPED]
    assert skipped[0][skipped[1] > 0].tolist() == [4, 5]
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("skipped (1 so far)" in text for text in notes)


def test_many_skipped_steps_in_a_row_end_the_run(run):
    def spoil(task: ToyTask, step: int) -> None:
        task.scale = float("nan") if step >= 14 else 1.0

    with pytest.raises(DivergenceError) as caught:
        run_task(ToyTask(40, before_step=spoil), run, LOOP)
    assert "step_00000010.safetensors" in caught.value.one_line()
    assert run.latest_checkpoint().stem == "step_00000010"
    assert RunFolder.open(run.path).status == "failed"


def test_out_of_memory_halves_the_batch_and_repeats_the_step(run):
    def exhaust(task: ToyTask, step: int) -> None:
        if step >= 6 and task.batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    events = []
    task = ToyTask(10, before_step=exhaust)
    run_task(task, run, LOOP, events.append)
    assert task.batch == 4
    assert task.steps_done == list(range(10))
    assert sum("batch is halved" in e.text for e in events if isinstance(e, Note)) == 2


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("x: can't allocate memory: y")])
def test_out_of_memory_for_good_stops_with_a_checkpoint(run, error):
    def exhaust(task: ToyTask, step: int) -> None:
        if step == 6:
            raise error

    with pytest.raises(OutOfMemoryError, match="smallest batch"):
        run_task(ToyTask(10, before_step=exhaust), run, LOOP)
    assert run.latest_checkpoint().stem == "step_00000006"
    assert RunFolder.open(run.path).status == "failed"


def test_unexpected_error_leaves_the_run_in_good_order(run):
    def fail(task: ToyTask, step: int) -> None:
        if step == 12:
            raise ZeroDivisionError("surprise")

    events = []
    with pytest.raises(ZeroDivisionError):
        run_task(ToyTask(20, before_step=fail), run, LOOP, events.append)
    assert events[-1].reason == "ZeroDivisionError: surprise"
    assert RunFolder.open(run.path).info["error"] == "ZeroDivisionError: surprise"
    run_task(ToyTask(20), run, LOOP)  # the lock is free, the checkpoint good
    assert run.status == "done"


def test_bad_data_stops_with_a_checkpoint(run):
    def fail(task: ToyTask, step: int) -> None:
        if step == 7:
            raise InputError("image is truncated", path="a.png")

    with pytest.raises(InputError):
        run_task(ToyTask(20, before_step=fail), run, LOOP)
    assert run.latest_checkpoint().stem == "step_00000007"


def test_gpu_fault_names_the_last_good_checkpoint(run):
    def fail(task: ToyTask, step: int) -> None:
        if step == 12:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(Exception, match=r"the GPU reported a fault.*step_00000010"):
        run_task(ToyTask(20, before_step=fail), run, LOOP)


def test_best_checkpoint_is_kept(run):
    class Judged(ToyTask):
        def score(self) -> float:
            return -abs(len(self.steps_done) - 20)

    loop = LoopConfig(checkpoint_every=10, keep_last=1)
    run_task(Judged(60), run, loop)
    assert run.best_checkpoint().stem == "step_00000020"
    assert run.latest_checkpoint().stem == "step_00000060"
    assert len(list(run.checkpoints_path.glob("*.safetensors"))) == 2


def test_of_candidates_the_newest_is_best_where_the_task_says_so(run):
    class Falling(ToyTask):
        newest_is_best = True

        def score(self) -> float | None:
            return None if len(self.steps_done) == 30 else -float(len(self.steps_done))

    run_task(Falling(30), run, LoopConfig(checkpoint_every=10))
    assert run.best_checkpoint().stem == "step_00000020"  # the one at 30 is no candidate


def test_a_run_that_diverged_names_its_best_checkpoint(run):
    class Fallen(ToyTask):
        def score(self) -> float:
            return -abs(len(self.steps_done) - 10)

    def spoil(task: ToyTask, step: int) -> None:
        if step == 25:
            raise DivergenceError("health fell", remedy="Lower the learning rate.")

    with pytest.raises(DivergenceError, match=r"The last good checkpoint is step_00000010"):
        run_task(Fallen(30, before_step=spoil), run, LoopConfig(checkpoint_every=10))
    assert run.latest_checkpoint().stem == "step_00000020"


def test_a_stop_never_changes_which_checkpoint_is_best(run, tmp_path):
    class Judged(ToyTask):
        def score(self) -> float:
            return -abs(len(self.steps_done) + self.before - 13)

        before = 0

    loop = LoopConfig(checkpoint_every=10, keep_last=1)
    whole = RunFolder.create(tmp_path / "whole", "toy", {})
    run_task(Judged(30), whole, loop)
    control = Control()
    first = Judged(30, before_step=lambda _, step: step == 12 and control.stop())
    run_task(first, run, loop, control=control)
    assert run.best_checkpoint().stem == "step_00000013"  # stopped for good, it offers this
    second = Judged(30)
    second.before = 13
    run_task(second, RunFolder.open(run.path), loop)
    assert RunFolder.open(run.path).best_checkpoint().stem == whole.best_checkpoint().stem


def test_the_last_step_is_a_candidate_whoever_asked_for_its_checkpoint(run):
    class Rising(ToyTask):
        def score(self) -> float:
            return len(self.steps_done)

    # the clock writes one after every step
    run_task(Rising(7), run, LoopConfig(checkpoint_every=1000, checkpoint_minutes=0))
    assert run.best_checkpoint().stem == "step_00000007"


def test_dying_before_the_best_is_marked_changes_nothing(run, monkeypatch):
    class Judged(ToyTask):
        def score(self) -> float:
            return -abs(self.at - 20)

        at = 0

        def step(self, step: int) -> dict:
            self.at = step + 1
            return super().step(step)

        def load_state_dict(self, state: dict) -> None:
            super().load_state_dict(state)
            self.at = 20

    loop = LoopConfig(checkpoint_every=10)
    mark = RunFolder.mark_best

    def die(self, checkpoint, *rest):
        if checkpoint.stem == "step_00000020":
            raise KeyboardInterrupt
        mark(self, checkpoint, *rest)

    monkeypatch.setattr(RunFolder, "mark_best", die)
    with pytest.raises(KeyboardInterrupt):
        run_task(Judged(40), run, loop)
    monkeypatch.setattr(RunFolder, "mark_best", mark)
    again = RunFolder.open(run.path)
    run_task(Judged(40), again, loop)
    assert again.best_checkpoint().stem == "step_00000020"


def test_a_run_that_was_over_makes_no_step_more(run):
    class Content(ToyTask):
        stop_reason = "good enough"

    task = Content(20)
    assert run_task(task, run, LOOP)["ended"] == "good enough"
    assert task.steps_done == []


def test_a_task_ends_its_run_with_a_reason(run):
    class Content(ToyTask):
        @property
        def stop_reason(self) -> str | None:
            return "good enough" if len(self.steps_done) == 7 else None

    events = []
    task = Content(20)
    result = run_task(task, run, LOOP, events.append)
    assert (result["reason"], result["step"], result["ended"]) == ("done", 7, "good enough")
    assert task.total_steps == 20
    assert [e.text for e in events if isinstance(e, Note)] == ["ended at step 7: good enough"]
    assert run.latest_checkpoint().stem == "step_00000007"


def test_two_at_once_is_refused(run):
    def second(task: ToyTask, step: int) -> None:
        if step == 2:
            with pytest.raises(LockedError, match=r"toy .process"):
                run_task(ToyTask(5), RunFolder.open(run.path), LOOP)

    run_task(ToyTask(5, before_step=second), run, LOOP)


def test_long_runs_record_a_bounded_number_of_points(run):
    loop = LoopConfig(checkpoint_every=1000, curve_points=25, preview_every=1000)
    run_task(ToyTask(99), run, loop)
    steps, _ = run.curves()["loss/total"]
    assert steps.tolist() == [*range(0, 99, 4), 98]


def test_previews_do_not_take_over(run):
    import time

    class Slow(ToyTask):
        def previews(self, step: int) -> list[Preview]:
            time.sleep(0.05)
            return super().previews(step)

    events = []
    loop = LoopConfig(preview_every=1, preview_share=0.1, checkpoint_every=1000)
    run_task(Slow(60), run, loop, events.append)
    assert 2 <= sum(isinstance(e, Preview) for e in events) <= 6


def test_time_left_forgives_a_stall():
    estimate = TimeLeft()
    assert estimate.estimate(10) is None
    for _ in range(50):
        estimate.add(0.1)
    estimate.add(600.0)
    assert estimate.estimate(100) == pytest.approx(10, rel=0.6)
    for _ in range(100):
        estimate.add(0.2)
    assert estimate.estimate(100) == pytest.approx(20, rel=0.1)
