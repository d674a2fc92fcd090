"""Runs a job to its end through many SIGKILLs: kill_many.py RUN KILLS [real]. Prints JSON.

The job is a toy or, with `real`, stage 1 itself as small as it goes. Torch is imported once; every
life of the job is a fork, so that a life costs milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from small_stage_1 import small_stage_1
from toy_task import ToyTask

from self6d.engine.loop import LoopConfig, run_task
from self6d.runs.folder import RunFolder

LOOP = LoopConfig(checkpoint_every=4, keep_last=2, preview_every=7)
STEPS, WIDTH = 1200, 128  # more than 50 short lives can finish
REAL_STEPS = 60


def new_task(real: bool) -> Any:
    return small_stage_1(REAL_STEPS) if real else ToyTask(STEPS, width=WIDTH)


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


def live(path: Path, kill: int, rng: random.Random, real: bool) -> bool:
    """One life; whether it reached the end."""
    pid = os.fork()
    if pid == 0:
        if kill % 2:  # inside the writing of a checkpoint, an event or the run's state
            die_at_call(rng.choice(["replace", "fsync", "fsync", "write"]), rng.randint(1, 20))
        try:
            run_task(new_task(real), RunFolder.open(path), LOOP)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if not kill % 2:
        time.sleep(rng.uniform(0.2, 1.5) if real else rng.uniform(0.002, 0.08))
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a life ended with {code}")
    return code == 0


def main() -> None:
    torch.set_num_threads(1)  # forks of a process with worker threads would hang
    path, kills, real = Path(sys.argv[1]), int(sys.argv[2]), "real" in sys.argv
    ToyTask(width=WIDTH).step(0)  # the first optimiser imports half of torch: once, here
    RunFolder.create(path, "toy", {})
    rng = random.Random(0)
    killed, leftovers, ends = 0, 0, 0
    for number in range(10 * kills):
        if killed == kills:
            break
        if live(path, number, rng, real):
            ends += 1
            break
        killed += 1
        leftovers += bool(list(path.rglob(".*.tmp")))
    if not ends:
        run_task(new_task(real), RunFolder.open(path), LOOP)
    print(json.dumps({"killed": killed, "killed_while_writing": leftovers}))


if __name__ == "__main__":
    main()
