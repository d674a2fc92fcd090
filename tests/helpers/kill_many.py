"""Runs a toy job to its end through many SIGKILLs: kill_many.py RUN KILLS. Prints a JSON summary.

Torch is imported once; every life of the job is a fork, so that a life costs milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from toy_task import ToyTask

from self6d.training.loop import LoopConfig, run_task
from self6d.training.run_folder import RunFolder

LOOP = LoopConfig(checkpoint_every=4, keep_last=2, preview_every=7)
STEPS, WIDTH = 1200, 128  # more than 50 short lives can finish


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


def live(path: Path, kill: int, rng: random.Random) -> bool:
    """One life; whether it reached the end."""
    pid = os.fork()
    if pid == 0:
        if kill % 2:  # inside the writing of a checkpoint, an event or the run's state
            die_at_call(rng.choice(["replace", "fsync", "fsync", "write"]), rng.randint(1, 20))
        run_task(ToyTask(STEPS, width=WIDTH), RunFolder.open(path), LOOP)
        os._exit(0)
    if not kill % 2:
        time.sleep(rng.uniform(0.002, 0.08))
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] == 0


def main() -> None:
    torch.set_num_threads(1)  # forks of a process with worker threads would hang
    path, kills = Path(sys.argv[1]), int(sys.argv[2])
    ToyTask(width=WIDTH).step(0)  # the first optimiser imports half of torch: once, here
    RunFolder.create(path, "toy", {})
    rng = random.Random(0)
    killed, leftovers, ends = 0, 0, 0
    for number in range(10 * kills):
        if killed == kills:
            break
        if live(path, number, rng):
            ends += 1
            break
        killed += 1
        leftovers += bool(list(path.rglob(".*.tmp")))
    if not ends:
        run_task(ToyTask(STEPS, width=WIDTH), RunFolder.open(path), LOOP)
    print(json.dumps({"killed": killed, "killed_while_writing": leftovers}))


if __name__ == "__main__":
    main()
