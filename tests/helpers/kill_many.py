"""Runs jobs to their ends, at once and through many SIGKILLs: kill_many.py FOLDER JOB=KILLS...

A job is a `toy` or `real`: stage 1 itself, as small as it goes. Torch is imported once; every life
of a job is a fork, so that a life costs milliseconds. Runs are FOLDER/JOB/whole and
FOLDER/JOB/killed. Prints JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from small_stage_1 import small_stage_1
from toy_task import ToyTask

from self6d.engine.loop import LoopConfig, run_task
from self6d.runs.folder import RunFolder

LOOP = LoopConfig(checkpoint_every=4, keep_last=2, preview_every=7)
WIDTH = 128


def new_task(job: str, kills: int) -> Any:
    if job == "real":
        return small_stage_1(60 if kills > 10 else 24)
    return ToyTask(1200, width=WIDTH)  # more than 50 short lives can finish


def die_at_call(name: str, count: int) -> None:
    """Make the count-th call of os.NAME the process's last, half of the time after it was done."""
    real = getattr(os, name)
    calls = 0

    def deadly(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == count and count % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        value = real(*args, **kwargs)
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(os, name, deadly)


def live(path: Path, task: Callable[[], Any], kill: int | None, rng: random.Random) -> bool:
    """One life, the kill-th to be killed or none; whether it reached the end."""
    pid = os.fork()
    if pid == 0:
        if kill is not None and kill % 2:  # in the writing of a checkpoint, an event, the state
            die_at_call(rng.choice(["replace", "fsync", "fsync", "write"]), rng.randint(1, 20))
        try:
            run_task(task(), RunFolder.open(path), LOOP)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kill is not None and not kill % 2:
        time.sleep(rng.uniform(0.2, 1.5) if "real" in path.parts else rng.uniform(0.002, 0.08))
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a life ended with {code}")
    return code == 0


def kill_many(path: Path, task: Callable[[], Any], kills: int) -> dict[str, int]:
    """Kill a run that often, then let it end; how many were killed, and how many in a write."""
    RunFolder.create(path, "toy", {})
    rng = random.Random(0)
    killed, leftovers = 0, 0
    while killed < kills and not live(path, task, killed, rng):
        killed += 1
        leftovers += bool(list(path.rglob(".*.tmp")))
    if RunFolder.open(path).status != "done" and not live(path, task, None, rng):
        raise SystemExit("a life that nobody killed did not end")
    return {"killed": killed, "killed_while_writing": leftovers}


def main() -> None:
    torch.set_num_threads(1)  # forks of a process with worker threads would hang
    ToyTask(width=WIDTH).step(0)  # the first optimiser imports half of torch: once, here
    told = {}
    for job, kills in (word.split("=") for word in sys.argv[2:]):
        folder, task = Path(sys.argv[1]) / job, partial(new_task, job, int(kills))
        told[job] = kill_many(folder / "killed", task, int(kills))
        kill_many(folder / "whole", task, 0)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
