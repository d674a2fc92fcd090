"""The one training loop: events out, requests in, nothing lost.

A task knows how to do one step; the loop does everything around it, the same for stage 1, stage 2
and a single image: curves, previews, time left, pause, stop-and-save, checkpoints, resume where it
stopped, and the faults of long runs (non-finite steps, memory, disk).
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor

from self6d.errors import DivergenceError, OutOfMemoryError, Self6DError, StorageError
from self6d.training.control import Control, ControlFile
from self6d.training.events import CheckpointSaved, Finished, Listener, Note, Preview, Progress
from self6d.training.reporting import DeferredScalars, Reporter, TimeLeft
from self6d.training.run_folder import RunFolder

SKIPPED = "health/skipped"
"""Name of the scalar that is 1 for a step whose update was skipped; see `finite_step`."""


@dataclass
class LoopConfig:
    """What the training loop does around a step."""

    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 5.0
    """A checkpoint is also written after so many minutes."""
    keep_last: int = 5
    """Checkpoints kept besides the best one."""
    preview_every: int = 50
    """Steps between previews; they come less often where they are slow to make."""
    preview_share: float = 0.1
    """Largest share of the time that previews may take."""
    curve_points: int = 50_000
    """Points recorded of each curve over the whole run; longer runs record every n-th step."""
    max_skipped: int = 20
    """Steps in a row with a non-finite loss or gradient after which the run ends."""


class Task(Protocol):
    """What the loop runs. All randomness of a step comes from (seed, step), see `training.rng`.

    A task may also have `score() -> float | None`: higher is better, judged without labels; the
    loop asks at each checkpoint and keeps the best one.
    """

    name: str
    total_steps: int

    def step(self, step: int) -> dict[str, Any]:
        """Do one optimiser step; give its scalars.

        Values are floats or 0-dim tensors; tensors are fetched without making the device wait.
        """
        ...

    def previews(self, step: int) -> list[Preview]: ...

    def state_dict(self) -> dict[str, Any]:
        """{"tensors": {name: Tensor}, "meta": what JSON can hold}; `checkpoint.pack` helps."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def result(self) -> dict[str, Any]:
        """What the job found, as JSON can hold it."""
        ...

    def set_live(self, values: dict[str, float]) -> None:
        """Change values such as {"loss.mask": 0.0} from now on."""
        ...

    def halve_batch(self) -> bool:
        """Use half the memory; False if it cannot."""
        ...


def finite_step(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], loss: Tensor, clip: float
) -> Tensor:
    """Zero the gradients, backward, then `finite_update`; arguments and result as there."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return finite_update(optimizer, parameters, loss, clip)


def finite_update(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], loss: Tensor, clip: float
) -> Tensor:
    """Clip the gradients, and step unless the loss or a gradient is not finite.

    With a fused optimiser (`AdamW(..., fused=True)`) nothing waits for the device: the optimiser
    itself leaves weights and moments alone when told so. Others wait once.

    Args:
        parameters: those to clip.
        loss: 0-dim.
        clip: largest norm of all gradients together; 0 or below: not clipped.

    Returns:
        0-dim bool on the loss's device: whether the step was made. Give `{SKIPPED: ~ok}` among the
        step's scalars and the loop counts it.
    """
    parameters = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    ok = torch.isfinite(loss.detach()) & torch.isfinite(norm)
    if clip > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    if optimizer.defaults.get("fused"):
        optimizer.grad_scale = None  # type: ignore[attr-defined]  # torch.amp's way of asking
        optimizer.found_inf = (~ok).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif ok:
        optimizer.step()
    return ok


def run_task(
    task: Task,
    run: RunFolder,
    loop: LoopConfig,
    listener: Listener | None = None,
    control: Control | None = None,
    *,
    take_lock: bool = False,
) -> dict[str, Any]:
    """Run a task to its end, or until stopped, going on from the run's newest intact checkpoint.

    Args:
        listener: gets every event, in this thread; must be quick.
        control: requests from this process; those in the run's control file are obeyed as well.
        take_lock: take over a lock whose holder cannot be shown to be alive.

    Returns:
        {"reason": "done" or "stopped", "step": steps made, **task.result()}.

    Raises:
        LockedError: another process runs it.
        DivergenceError: too many skipped steps in a row, or raised by the task.
        OutOfMemoryError: not even the smallest batch fits.
        StorageError: stopped while the run folder could not be written.
        Self6DError: as the task raised it.
    """
    control = control or Control()
    lock = run.lock(force=take_lock)
    explanation = lock.acquire()
    try:
        # requests older than this process were meant for one that died
        inbox = ControlFile(run.path, since=psutil.Process().create_time() - 1.0)
        reporter = Reporter(run, listener, control, inbox, lock.beat)
        if explanation:
            reporter.emit(Note("warning", explanation))
        return _Runner(task, run, loop, control, reporter).run()
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
        self.saved_at = time.monotonic()
        self.skipped = self.skipped_in_a_row = 0
        self.live: dict[str, float] = {}
        self.time_left = TimeLeft()
        self.preview_not_before = 0.0
        self.stride = -(-task.total_steps // max(loop.curve_points, 1)) or 1
        self.pending: DeferredScalars | None = None

    def run(self) -> dict[str, Any]:
        try:
            self._restore()
            total = self.task.total_steps
            self.reporter.status("running", step=self.step, total=total, error=None)
            reason = self._loop()
            self._collect()
            self._save()
            self._previews(always=True)
            result = {"reason": reason, "step": self.step, **self.task.result()}
        except BaseException as error:
            failure = self._fail(error)
            if failure is error:
                raise
            raise failure from error
        end = Finished(self.step, reason, result)
        self.reporter.close(reason, end, step=self.step, result=result)
        return result

    def _loop(self) -> str:
        if self.step == 0 and hasattr(self.task, "score"):
            self._save(judge=True)  # the start may turn out to be the best
        while self.step < self.task.total_steps:  # which a task may lower to end early
            started = time.monotonic()
            if not self._obey():
                return "stopped"
            paused = time.monotonic() - started
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
            left = self.time_left.estimate(total - self.step)
            self.reporter.progress(Progress(self.step, total, left, self.task.name))
        return "done"

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
            text = ", ".join(f"{name} = {value:g}" for name, value in live.items())
            self.reporter.emit(Note("info", f"live: {text}", self.step))
        if self.control.take_save():
            self._collect()
            self._save()

    def _try_step(self) -> dict[str, Any]:
        """One step of the task, repeated with half the batch while memory does not suffice."""
        while True:
            try:
                return self.task.step(self.step)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # outside the handler: the traceback no longer holds the tensors
            _free_memory()
            if not self.task.halve_batch():
                raise OutOfMemoryError(
                    "memory does not hold even the smallest batch",
                    path=self.run_folder.path,
                    remedy="Free memory, or choose smaller images or a smaller network, "
                    "and go on with --resume.",
                )
            text = "out of memory: the batch is halved and the step repeated"
            self.reporter.emit(Note("warning", text, self.step))

    def _collect(self) -> None:
        """Take the scalars of the step before, record them, count skipped updates."""
        if self.pending is None:
            return
        step, values, self.pending = self.pending.step, self.pending.get(), None
        total = values.get("loss/total", 0.0)
        bad = values.get(SKIPPED, 0.0) > 0 or total != total or abs(total) == float("inf")
        if step % self.stride == 0 or step == self.task.total_steps - 1 or bad:
            self.reporter.scalars(step, values)
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
        if on_cadence:
            self._collect()
        minutes = (time.monotonic() - self.saved_at) / 60
        if on_cadence or minutes >= self.loop.checkpoint_minutes:
            self._save(judge=on_cadence)
        elif self.step == self.task.total_steps:
            self._collect()
            self._save(judge=True)

    def _save(self, judge: bool = False) -> None:
        """Write a checkpoint unless this step has one; `judge` whether it is the best so far."""
        if self.saved_step == self.step:
            return
        run, reporter = self.run_folder, self.reporter
        reporter.flush()  # curves up to here belong to it
        state = self.task.state_dict()
        about = {"skipped": self.skipped, "live": self.live}
        path = reporter.patiently(lambda: run.save_checkpoint(self.step, state, about))
        best = judge and self._is_best()
        if best:
            score = float(self.task.score())  # type: ignore[attr-defined]
            reporter.patiently(lambda: run.mark_best(path, score))
        run.prune(self.loop.keep_last)
        self.saved_step, self.saved_at = self.step, time.monotonic()
        reporter.emit(CheckpointSaved(self.step, str(path), best))

    def _is_best(self) -> bool:
        score = self.task.score() if hasattr(self.task, "score") else None
        if score is None:
            return False
        best = self.run_folder.best_score()
        return best is None or score >= best  # of equals the longer trained one

    def _previews_if_due(self) -> None:
        if self.step % self.loop.preview_every == 0 and time.monotonic() >= self.preview_not_before:
            self._previews()

    def _previews(self, always: bool = False) -> None:
        started = time.monotonic()
        for preview in self.task.previews(self.step):
            self.reporter.preview(preview, always)
        cost = time.monotonic() - started
        share = min(max(self.loop.preview_share, 1e-3), 1.0)
        self.preview_not_before = time.monotonic() + cost * (1 / share - 1)

    def _restore(self) -> None:
        path = self.run_folder.latest_checkpoint()
        if path is None:
            return
        checkpoint = self.run_folder.load_checkpoint(path)
        self.task.load_state_dict(checkpoint.state())
        self.step = self.saved_step = checkpoint.step
        self.skipped = int(checkpoint.info.get("skipped", 0))
        self.live = dict(checkpoint.info.get("live", {}))
        if self.live:
            self.task.set_live(self.live)
        self.reporter.emit(Note("info", f"going on from {path.name}", self.step))

    def _fail(self, error: BaseException) -> BaseException:
        """Leave the run in good order; the error as people should read it."""
        keeps_state = isinstance(error, Self6DError) and not isinstance(
            error, DivergenceError | StorageError
        )
        if keeps_state:
            with contextlib.suppress(StorageError, RuntimeError):  # the error at hand matters more
                self._save()
        failure = _readable(error, self.run_folder)
        line = failure.one_line() if isinstance(failure, Self6DError) else _one_line(failure)
        self.reporter.close("failed", Finished(self.step, line), step=self.step, error=line)
        return failure


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the device or the host, ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _readable(error: BaseException, run: RunFolder) -> BaseException:
    """Name the checkpoint to go on from where the fault may have spoilt the state in memory."""
    if isinstance(error, DivergenceError):
        what, remedy = error.what, error.remedy
    elif isinstance(error, RuntimeError) and "CUDA error" in str(error):
        what, remedy = f"the GPU reported a fault ({_one_line(error)})", None
    else:
        return error
    last = run.latest_checkpoint()
    good = f"The last good checkpoint is {last.name}." if last else "No checkpoint was written yet."
    kind = type(error) if isinstance(error, DivergenceError) else Self6DError
    return kind(what, path=run.path, remedy=f"{good} {remedy or 'Go on from it with --resume.'}")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
