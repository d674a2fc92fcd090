"""What only a GPU shows of the loop: deferred scalars, skipped fused steps, real memory faults."""

from __future__ import annotations

import pytest
import torch
from toy_task import ToyTask

from self6d.engine.finite import SKIPPED, finite_step
from self6d.engine.loop import LoopConfig, run_task
from self6d.engine.reporting import DeferredScalars
from self6d.events import Note
from self6d.runs.folder import RunFolder

pytestmark = pytest.mark.gpu
LOOP = LoopConfig(checkpoint_every=10, max_skipped=5)


class GpuTask(ToyTask):
    """The toy's step on the GPU."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.net.cuda()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.02, fused=True)

    def step(self, step):
        if self.before_step is not None:
            self.before_step(self, step)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(self.batch, self.width, generator=generator).cuda()
        loss = self.scale * (self.net(x) - x.flip(1)).square().mean()
        ok = finite_step(self.optimizer, self.net.parameters(), loss, clip=1.0)
        self.steps_done.append(step)
        return {"loss/total": loss, "plain": float(step), SKIPPED: ~ok}


def test_scalars_arrive_complete_and_in_order(run_path):
    run = RunFolder.create(run_path, "toy", {})
    run_task(GpuTask(35), run, LOOP)
    curves = run.curves()
    assert curves["plain"][1].tolist() == [float(s) for s in range(35)]
    assert curves["loss/total"][1][-1] < curves["loss/total"][1][0]


def test_deferred_scalars_keep_their_values():
    value = torch.ones((), device="cuda")
    scalars = DeferredScalars(3, {"a": value, "b": 2.5, "c": value * 3})
    value.add_(10)  # the task goes on with the same tensor
    assert scalars.deferred
    assert scalars.get() == {"a": 1.0, "b": 2.5, "c": 3.0}


def test_skipped_fused_step_leaves_weights_alone(run_path):
    def spoil(task, step):
        task.scale = float("nan") if step == 4 else 1.0

    task = GpuTask(12, before_step=spoil)
    run = RunFolder.create(run_path, "toy", {})
    run_task(task, run, LOOP)
    assert torch.isfinite(task.net.weight).all()
    steps, skipped = run.curves()[SKIPPED]
    assert steps[skipped > 0].tolist() == [4]


def test_out_of_memory_is_survived(run_path):
    def hog(task, step):
        if step == 3 and task.batch > 4:
            torch.empty(1 << 50, device="cuda")

    events = []
    task = GpuTask(6, before_step=hog)
    run_task(task, RunFolder.create(run_path, "toy", {}), LOOP, events.append)
    assert task.batch == 4
    assert sum("batch is halved" in e.text for e in events if isinstance(e, Note)) == 2


def test_resumed_on_the_gpu(run_path):
    from self6d.runs.control import Control

    run = RunFolder.create(run_path, "toy", {})
    control = Control()
    task = GpuTask(20, before_step=lambda _, s: s == 7 and control.stop())
    assert run_task(task, run, LOOP, control=control)["step"] == 8
    again = GpuTask(20)
    run_task(again, run, LOOP)
    assert again.steps_done == list(range(8, 20))
    assert len(run.curves()["loss/total"][0]) == 20
