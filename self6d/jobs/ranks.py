"""One run on several processes: rank 0 leads the loop, the others follow its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.distributed as dist

from self6d.engine import distributed
from self6d.engine.loop import run_task
from self6d.engine.task import Task
from self6d.errors import Self6DError
from self6d.events import Listener
from self6d.run_config import RunConfig, build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder


def run_ranks(
    task: Task,
    run: RunFolder,
    config: RunConfig,
    world: distributed.World,
    listener: Listener | None,
    control: Control | None,
    take_lock: bool,
) -> RunFolder:
    """Rank 0 runs the loop; the others follow its steps from the same checkpoint."""
    if world.rank == 0:
        try:
            run_task(task, run, config.loop, listener, control, take_lock=take_lock)
        finally:
            world.announce(None)
        return run
    checkpoint = run.latest_checkpoint()
    if checkpoint is not None:
        task.load_state_dict(run.load_checkpoint(checkpoint).state())
    count = 1
    while (told := world.wait_for_step(count)) is not None:
        step, share = told
        task.clock.follow(share)
        task.step(step)
        count += 1
    return run


def begin_ranks(
    out: str | Path,
    own: tuple[RunFolder, RunConfig] | None,
    changes: dict[str, Any],
    world: distributed.World,
) -> tuple[RunFolder, RunConfig | None]:
    """The run to go on with on every process, and its settings.

    Args:
        own: what rank 0 made or reopened in `out`; None: the others, who read it from there.
        changes: to the settings of a run that goes on.

    Returns:
        the settings are None where the run is done already and nothing changes.

    Raises:
        Self6DError: another process has ended.
    """
    wait_for_all(world)
    if own is None:
        run = RunFolder.open(out)
        config = build_config(None, base=run.config)
    else:
        run, config = own
    return run, None if run.status == "done" and not changes else config


def wait_for_all(world: distributed.World) -> None:
    """Until every process is here.

    Raises:
        Self6DError: one has ended.
    """
    if world.size == 1:
        return
    try:
        dist.barrier()
    except RuntimeError as error:
        raise Self6DError(
            "another process of this run has ended, or cannot be reached",
            remedy="Its own message says why.",
        ) from error
