"""The one training loop: events out, requests in, nothing lost.

A task knows how to do one step; the loop does everything around it, the same for stage 1, stage 2
and a single image: curves, previews, time left, pause, stop-and-save, checkpoints, resume where it
stopped, and the faults of long runs (non-finite steps, memory, disk).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil

from self6d.config_fields import Checked, Limits
from self6d.engine.faults import no_memory_left, one_line, readable
from self6d.engine.finite import SKIPPED
from self6d.engine.reporting import DeferredScalars, Reporter, TimeLeft, in_phases
from self6d.engine.task import Noted, Task
from self6d.errors import DivergenceError, Self6DError, StorageError
from self6d.events import CheckpointSaved, Finished, Listener, Note, Progress, Scalars, Told
from self6d.memory import free_memory, is_out_of_memory, keep_freed_memory
from self6d.runs.checkpoint import checkpoint_fits
from self6d.runs.control import Control, ControlFile
from self6d.runs.folder import RunFolder, versions

log = logging.getLogger("self6d")

Closing = Callable[[Told, Noted], bool]
"""Hears how far it is, and what is worth knowing; False: it was stopped on the way."""


@dataclass
class LoopConfig(Checked, section="loop"):
    """What the training loop does around a step."""

    checkpoint_every: Annotated[int, Limits(1)] = 500
    """Steps between checkpoints."""
    checkpoint_minutes: Annotated[float, Limits(0)] = 5.0
    """A checkpoint is also written after so many minutes."""
    keep_last: Annotated[int, Limits(1)] = 5
    """Checkpoints kept besides the best one."""
    preview_every: Annotated[int, Limits(1)] = 50
    """Steps between previews; they come less often where they are slow to make."""
    preview_share: Annotated[float, Limits(0.001, 1)] = 0.1
    """Largest share of the time that previews may take."""
    curve_points: Annotated[int, Limits(1)] = 50_000
    """Points recorded of each curve over the whole run; longer runs record every n-th step."""
    max_skipped: Annotated[int, Limits(1)] = 20
    """Steps in a row with a non-finite loss or gradient after which the run ends."""


def run_task(
    task: Task,
    run: RunFolder,
    loop: LoopConfig,
    listener: Listener | None = None,
    control: Control | None = None,
    *,
    take_lock: bool = False,
    closing: Closing | None = None,
) -> dict[str, Any]:
    """Run a task to its end, or until stopped, going on from the run's newest intact checkpoint.

    Args:
        listener: gets every event, in this thread; must be quick.
        control: requests from this process; those in the run's control file are obeyed as well.
        take_lock: take over a lock whose holder cannot be shown to be alive.
        closing: what is left to do once all steps are made. The run is done when it is: whatever
            ends it before, it goes on there.

    Returns:
        {"reason": "done" or "stopped", "step": steps made, **task.result()}.

    Raises:
        LockedError: another process runs it.
        CheckpointError: the run's checkpoint is not of this task.
        DivergenceError: too many skipped steps in a row, or raised by the task.
        OutOfMemoryError: not even the smallest batch fits.
        StorageError: stopped while the run folder could not be written, or not patient and it
            could not for `reporting.GIVE_UP_S`, or it never could.
        Self6DError: as the task raised it.
    """
    control = control or Control(patient=False)
    keep_freed_memory()
    lock = run.lock(force=take_lock)
    explanation = lock.acquire()
    try:
        # requests older than this process were meant for one that died
        inbox = ControlFile(run.path, since=psutil.Process().create_time() - 1.0)
        reporter = Reporter(run, listener, control, inbox, lock.beat)
        log.info(
            "run %s, %s: versions %s, configuration %s", run.path, run.kind, versions(), run.config
        )
        if explanation:
            reporter.emit(Note("warning", explanation))
        return _Runner(task, run, loop, control, reporter).run(closing)
    finally:
        lock.release()


class _Runner:
    """One call of `run_task`."""

    def __init__(
        self, task: Task, run: RunFolder, loop: LoopConfig, control: Control, reporter: Reporter
    ) -> None:
        self.task, self.run_folder, self.loop = task, run, loop
        self.control, self.reporter = control, reporter
        self.step = 0
        self.saved_step: int | None = None
        self.saved_path: Path | None = None
        self.judged_step: int | None = None
        self.saved_at = time.monotonic()
        self.skipped = self.skipped_in_a_row = 0
        self.live: dict[str, float] = {}
        self.time_left = TimeLeft()
        self.preview_not_before = 0.0
        self.previews_failed = False
        self.stride = max(-(-task.total_steps // loop.curve_points), 1)
        self.pending: DeferredScalars | None = None
        if hasattr(task, "on_preparing"):
            task.on_preparing = in_phases(reporter.preparing)
        if hasattr(task, "on_note"):
            task.on_note = lambda level, text: reporter.emit(Note(level, text, self.step))

    def run(self, closing: Closing | None = None) -> dict[str, Any]:
        try:
            self._restore()
            total = self.task.total_steps
            self.reporter.status("running", step=self.step, total=total, error=None)
            reason = self._loop()
            self._collect()
            # one stopped for good offers its best as well; one that goes on must end as if whole
            self._save(judge=True, provisional=reason == "stopped")
            self._previews(always=True)
            if reason == "done" and closing is not None and not self._close(closing):
                reason = "stopped"
            ended = self._stop_reason() if reason == "done" else None
            result = {"reason": reason, "step": self.step, **self.task.result()}
            result |= {} if ended is None else {"ended": ended}
            self.reporter.finish(Finished(self.step, reason, result), step=self.step)
            return result
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
            raise failure from error

    def _close(self, closing: Closing) -> bool:
        phases = in_phases(self.reporter.preparing)

        def tell(what: str, done: int, total: int) -> None:
            self.reporter.poll()  # it may take as long as many steps
            phases(what, done, total)

        return closing(tell, lambda level, text: self.reporter.emit(Note(level, text, self.step)))

    def _loop(self) -> str:
        if self.step == 0 and hasattr(self.task, "score"):
            self._save(judge=True)  # the start may turn out to be the best
        clock = self.task.clock
        while self.step < self.task.total_steps and not clock.over and not self._ended():
            started = time.monotonic()
            if not self._obey():
                return "stopped"
            paused = time.monotonic() - started
            clock.begin()
            self._previews_if_due()
            values = self._try_step()
            self._collect()
            self.pending = DeferredScalars(self.step, values)
            if not self.pending.deferred:
                self._collect()
            self.step += 1
            self._save_if_due()
            self.time_left.add(time.monotonic() - started - paused)
            total = self.task.total_steps
            clock.end()
            left = self.time_left.estimate(total - self.step)
            left = None if left is None else min(left, clock.left_s)
            self.reporter.progress(Progress(self.step, total, left, self.task.name))
        if (ended := self._stop_reason()) is not None:
            self.reporter.emit(Note("info", f"ended at step {self.step}: {ended}", self.step))
        return "done"

    def _stop_reason(self) -> str | None:
        """Why a run that is done made no more steps; None: it made them all."""
        reason = self._ended()
        if reason is None and self.step < self.task.total_steps and self.task.clock.over:
            return f"its time is up ({self.task.clock.limit_s / 60:g} minutes)"
        return reason

    def _ended(self) -> str | None:
        reason: str | None = getattr(self.task, "stop_reason", None)
        return reason

    def _obey(self) -> bool:
        """Follow requests; wait while paused. False: stop."""
        self.reporter.poll()
        if self.control.paused and not self.control.stopping:
            self._collect()
            self._save()
            self.reporter.emit(Note("info", "paused", self.step))
            self.reporter.emit(Progress(self.step, self.task.total_steps, None, "paused"))
            self.reporter.status("paused", step=self.step)
            while self.control.paused and not self.control.stopping:
                self._obey_now()
                self.control.wait(0.1)
                self.reporter.poll()
            if not self.control.stopping:
                self.reporter.emit(Note("info", "resumed", self.step))
                self.reporter.status("running")
        self._obey_now()
        return not self.control.stopping

    def _obey_now(self) -> None:
        live = self.control.take_live()
        if live:
            self.task.set_live(live)
            self.live.update(live)
            self._tell_live(live)
        if self.control.take_save():
            self._collect()
            self._save()

    def _tell_live(self, live: dict[str, float]) -> None:
        """Note what changed, and apart from it what can change nothing in this run."""
        deaf_to = getattr(self.task, "deaf_to", lambda name: "")
        why_not = {name: deaf_to(name) for name in live}
        told = [f"{name} = {value:g}" for name, value in live.items() if not why_not[name]]
        if told:
            self.reporter.emit(Note("info", f"live: {', '.join(told)}", self.step))
        for name, why in why_not.items():
            if why:
                text = f"{name} = {live[name]:g} has no effect: {why}"
                self.reporter.emit(Note("warning", text, self.step))

    def _try_step(self) -> dict[str, Any]:
        """One step of the task, repeated with half the batch while memory does not suffice."""
        while True:
            try:
                return self.task.step(self.step)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # outside the handler: the traceback no longer holds the tensors
            free_memory()
            if not self.task.halve_batch():
                raise no_memory_left(self.run_folder)
            text = "out of memory: the batch is halved and the step repeated"
            self.reporter.emit(Note("warning", text, self.step))

    def _collect(self) -> None:
        """Take the scalars of the step before, record them, count skipped updates."""
        if self.pending is None:
            return
        step, values, self.pending = self.pending.step, self.pending.get(), None
        total = values.get("loss/total", 0.0)
        bad = values.get(SKIPPED, 0.0) > 0 or total != total or abs(total) == float("inf")
        shown = bad and self.skipped < self.loop.curve_points
        if step % self.stride == 0 or step == self.task.total_steps - 1 or shown:
            self.reporter.emit(Scalars(step, values))
        if not bad:
            self.skipped_in_a_row = 0
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped & (self.skipped - 1) == 0:  # the 1st, 2nd, 4th, ...: a bounded log
            text = f"loss or gradient not finite: update skipped ({self.skipped} so far)"
            self.reporter.emit(Note("warning", text, step))
        if self.skipped_in_a_row >= self.loop.max_skipped:
            raise DivergenceError(
                f"loss or gradient not finite in {self.skipped_in_a_row} steps in a row",
                path=self.run_folder.path,
            )

    def _save_if_due(self) -> None:
        if self.skipped_in_a_row:
            return  # the last good checkpoint is the one before
        on_cadence = self.step % self.loop.checkpoint_every == 0
        at_end = self.step == self.task.total_steps
        if on_cadence or at_end:
            self._collect()
        minutes = (time.monotonic() - self.saved_at) / 60
        if on_cadence or at_end or minutes >= self.loop.checkpoint_minutes:
            self._save(judge=on_cadence or at_end)

    def _save(self, judge: bool = False, provisional: bool = False) -> None:
        """Write a checkpoint unless this step has one; `judge` whether it is the best so far.

        `provisional`: only until the run goes on, so that stops never change what comes out.
        """
        best = False
        if self.saved_step != self.step:
            self._write()
            best = judge and self._judge(provisional)
            self.run_folder.prune(self.loop.keep_last)
            self.reporter.emit(CheckpointSaved(self.step, str(self.saved_path), best))
        elif judge and self.judged_step != self.step:  # it was written by the clock, or on request
            self._judge(provisional)

    def _write(self) -> None:
        run, reporter = self.run_folder, self.reporter
        reporter.flush()  # curves up to here belong to it
        state = self.task.state_dict()
        elapsed = self.task.clock.elapsed_s
        about = {
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "live": self.live,
            "elapsed_s": elapsed,
        }
        self.saved_path = reporter.patiently(lambda: run.save_checkpoint(self.step, state, about))
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def _judge(self, provisional: bool) -> bool:
        """Whether the checkpoint of this step is the best so far; it is then marked so."""
        self.judged_step, path = self.step, self.saved_path
        score = self.task.score() if hasattr(self.task, "score") else None
        if score is None or path is None:
            return False
        before = self.run_folder.best_score()
        newest = getattr(self.task, "newest_is_best", False)
        if not (newest or before is None or score >= before):  # of equals the longer trained one
            return False
        best = float(score)
        self.reporter.patiently(lambda: self.run_folder.mark_best(path, best, provisional))
        return True

    def _previews_if_due(self) -> None:
        if self.step % self.loop.preview_every == 0 and time.monotonic() >= self.preview_not_before:
            self._previews()

    def _previews(self, always: bool = False) -> None:
        started = time.monotonic()
        try:
            for preview in self.task.previews(self.step):
                self.reporter.preview(preview, always)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if not self.previews_failed:
                text = "out of memory: previews are left out where they do not fit"
                self.reporter.emit(Note("warning", text, self.step))
            self.previews_failed = True
            free_memory()
        cost = time.monotonic() - started
        self.preview_not_before = time.monotonic() + cost * (1 / self.loop.preview_share - 1)

    def _restore(self) -> None:
        path = self.run_folder.latest_checkpoint()
        if path is None:
            return
        self.run_folder.settle_best()
        checkpoint = self.run_folder.load_checkpoint(path)
        with checkpoint_fits(path):
            self.task.load_state_dict(checkpoint.state())
            self.task.clock.elapsed_s = float(checkpoint.info.get("elapsed_s", 0.0))
            self.skipped = int(checkpoint.info.get("skipped", 0))
            self.skipped_in_a_row = int(checkpoint.info.get("skipped_in_a_row", 0))
            self.live = {str(k): float(v) for k, v in checkpoint.info.get("live", {}).items()}
        self.step = self.saved_step = checkpoint.step
        self.saved_path = path
        if self.live:
            self.task.set_live(self.live)
        if self.step % self.loop.checkpoint_every == 0:
            self._judge(False)  # again, and alike: the process may have died before it was marked
        self.reporter.emit(Note("info", f"going on from {path.name}", self.step))

    def _fail(self, error: BaseException) -> BaseException:
        """Leave the run in good order; the error as people should read it."""
        keeps_state = isinstance(error, Self6DError) and not isinstance(
            error, DivergenceError | StorageError
        )
        if keeps_state:
            with contextlib.suppress(StorageError, RuntimeError):  # the error at hand matters more
                self._save()
        failure = readable(error, self.run_folder)
        line = failure.one_line() if isinstance(failure, Self6DError) else one_line(failure)
        self.reporter.fail(Finished(self.step, line), step=self.step)
        return failure
