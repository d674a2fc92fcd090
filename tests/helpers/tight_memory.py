"""Runs a toy job where memory is short: tight_memory.py RUN MEGABYTES_AN_ITEM. Prints its notes.

The limit is the system's (RLIMIT_AS), so the error is the one that torch's allocator really raises.
"""

from __future__ import annotations

import resource
import sys

import psutil
import torch
from toy_task import ToyTask

from self6d.engine.loop import LoopConfig, run_task
from self6d.errors import Self6DError
from self6d.events import Note
from self6d.runs.folder import RunFolder

ROOM_MB = 400


def main() -> int:
    torch.set_num_threads(1)
    path, item_mb = sys.argv[1], int(sys.argv[2])
    ToyTask().step(0)  # the first optimiser imports half of torch

    def allocate(task: ToyTask, step: int) -> None:
        if step >= 6:
            torch.empty(task.batch * item_mb << 18).fill_(0)  # float32: 4 bytes each

    task = ToyTask(12, before_step=allocate)
    limit = psutil.Process().memory_info().vms + (ROOM_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run = RunFolder.create(path, "toy", {})
    try:
        run_task(task, run, LoopConfig(), lambda e: isinstance(e, Note) and print(e.text))
    except Self6DError as error:
        print(error.one_line())
        return error.exit_code
    print(f"batch {task.batch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
