"""A long training, made quick: long_run.py RUN HOURS SPEED [real]. Prints a JSON summary.

HOURS of training at 10 steps a second, with all that such a run writes: curves of 16 terms, three
previews, checkpoints by step and by the clock, progress. The clocks of the loop run SPEED times
faster, so that as many events, previews and checkpoints are written as in the real time. With
`real`, the task is stage 1 itself (tiny), which takes the time it takes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from small_stage_1 import small_stage_1
from toy_task import ToyTask

from self6d.engine import reporting
from self6d.engine.loop import LoopConfig, run_task
from self6d.events import CheckpointSaved, Event, Preview, Progress, Scalars
from self6d.runs.folder import RunFolder

STEPS_A_SECOND = 10
MARKS = 60


class BusyTask(ToyTask):
    """The toy, with as much to tell as stage 2 has."""

    def step(self, step: int) -> dict[str, Any]:
        self.steps_done.clear()
        values = super().step(step)
        return values | {f"loss/term_{i}": values["loss/total"] * i for i in range(13)}

    def previews(self, step: int) -> list[Preview]:
        rgb = np.random.default_rng(step).integers(0, 255, (96, 128, 3), np.uint8)
        arrays = {"rgb": rgb, "rendered": rgb, "mask": rgb[..., 0]}
        return [Preview(step, f"probe/{i}", arrays) for i in range(3)]


class Watch:
    """Counts events, and measures the process at equal distances."""

    def __init__(self, run: Path, steps: int) -> None:
        self._run, self._every = run, max(steps // MARKS, 1)
        self._me = psutil.Process()
        self._next = 0
        self.counts = {"scalars": 0, "previews": 0, "checkpoints": 0, "progress": 0}
        self.marks: list[dict[str, int]] = []

    def __call__(self, event: Event) -> None:
        kinds = {Scalars: "scalars", Preview: "previews", CheckpointSaved: "checkpoints"}
        name = kinds.get(type(event))
        if name is not None:
            self.counts[name] += 1
        if isinstance(event, Progress):
            self.counts["progress"] += 1
            if event.step >= self._next:
                self._next = event.step + self._every
                self._mark(event.step)

    def _mark(self, step: int) -> None:
        files = {p: p.stat().st_size for p in self._run.rglob("*") if p.is_file()}
        sizes = {name: sum(size for p, size in files.items() if p.is_relative_to(self._run / name))
                 for name in ("checkpoints", "previews", "events.jsonl")}  # fmt: skip
        memory = self._me.memory_info().rss
        open_files, threads = self._me.num_fds(), threading.active_count()
        mark = {"step": step, "rss": memory, "fds": open_files, "threads": threads}
        self.marks.append(mark | sizes | {"files": len(files)})


def slope(marks: list[dict[str, int]], name: str) -> float:
    """Least-squares growth for each 1000 steps over the last three quarters."""
    late = marks[len(marks) // 4 :]
    steps = np.array([mark["step"] for mark in late]) / 1000
    return float(np.polyfit(steps, [mark[name] for mark in late], 1)[0])


def main() -> None:
    torch.set_num_threads(1)
    run_path, hours, speed = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    steps = round(hours * 3600 * STEPS_A_SECOND)
    for name in ("FLUSH_S", "PREVIEW_S", "LOGGED_PROGRESS_S"):
        setattr(reporting, name, getattr(reporting, name) / speed)
    loop = LoopConfig(preview_share=1.0, checkpoint_minutes=5 / speed)
    loop.curve_points = min(loop.curve_points, max(steps // 2, 1))
    os.environ.setdefault("SELF6D_STATE", tempfile.mkdtemp())
    task = small_stage_1(steps) if "real" in sys.argv else BusyTask(steps, width=128)
    run = RunFolder.create(run_path, "toy", {})
    watch = Watch(run_path, steps)
    started = time.monotonic()
    run_task(task, run, loop, watch)
    first, last = watch.marks[len(watch.marks) // 4], watch.marks[-1]
    summary = {
        "hours": hours,
        "steps": steps,
        "seconds": round(time.monotonic() - started, 1),
        "events": watch.counts,
        "lines": run.events_path.read_bytes().count(b"\n"),
        "curve_points": len(run.curves()["loss/total"][0]),
        "rss_mb": [round(mark["rss"] / 1e6, 1) for mark in (watch.marks[0], first, last)],
        "rss_kb_a_1000_steps": round(slope(watch.marks, "rss") / 1e3, 2),
        "fds": [first["fds"], last["fds"]],
        "threads": [first["threads"], last["threads"]],
        "files": [first["files"], last["files"]],
        "mb": {name: [round(mark[name] / 1e6, 3) for mark in (first, last)]
               for name in ("checkpoints", "previews", "events.jsonl")},
    }  # fmt: skip
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
