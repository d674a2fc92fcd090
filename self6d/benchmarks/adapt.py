"""How many images a second stage 2 learns from, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from self6d.benchmarks.timer import Stopwatch, Timer, device_name
from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.datasets.splits import default_split, some_frames
from self6d.engine.ahead import Ahead
from self6d.errors import InputError
from self6d.jobs.prepare import Changes, changes_of, resolve_device
from self6d.run_config import build_config
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_network
from self6d.stage2 import student as stage2_student
from self6d.stage2.pseudo_labels import worth_drawing
from self6d.stage2.task import SelfSupTask

WARM = 3  # steps before timing: libraries are loaded in them
RECORDING = 9  # more on a GPU, in which graphs are recorded


def bench_adapt(
    data: str | Path,
    from_run: str | Path,
    *,
    preset: str | Path = "self6d-paper",
    batch: int | None = None,
    steps: int = 30,
    frames: int = 64,
    models: Paths | None = None,
    overrides: Changes = None,
    device: str | torch.device = "auto",
) -> list[dict[str, Any]]:
    """Time whole steps of stage 2, with all terms of a preset; nothing is kept.

    Args:
        data: recording to adapt to. from_run: stage-1 run to start from.
        batch: frames a step, instead of the preset's. steps: how many are timed.
        frames: most frames of the recording used (the first step looks at each of them).
        models: CAD files; None: the run's own copy.
        overrides: {"adapt.scope": "all"} or ["adapt.scope=all"].

    Returns:
        rows of {"stage", "ms" (of a batch, mean), "images_per_s", "batch", "objects" (mean number
        in a step), "device"}. "frames" (drawn and fetched), "labels" (batches with labels made),
        "forward" (all that the network is asked), "compare" (rendering, L_self), "update"
        (optimiser and teacher) and "rest" (mostly backward) are timed in steps that wait for the
        device between them; "step" is the whole as training does it. "first refresh" looks at (and,
        if the preset says so, refines) all frames while libraries are loaded and kernels compiled,
        "refresh" does so again.

    Raises:
        InputError: fewer frames with a detection than a batch takes, or unusable data.
        CheckpointError: no network in the run.
    """
    device = resolve_device(device)
    before = RunFolder.open(from_run)
    selected = {k: v for k, v in before.config.items() if k in ("network", "synthesis", "train")}
    config = build_config(preset, changes_of(overrides, {"adapt.batch": batch}), base=selected)
    recording = open_dataset(data)
    chosen = some_frames(recording, default_split(recording, None, "adapt"))
    chosen = some_frames(chosen, None, min(1.0, frames / len(chosen)))
    trained = load_network(before, models=models, unit=config.models.unit)
    task = SelfSupTask(
        trained.network,
        trained.models,
        UnlabelledFrames(chosen),
        config.adapt,
        config.loss,
        config.optimize,
        config.synthesis,
        device=device,
    )
    timer, size = Timer(device), task.batch_size
    first = timer.ms(lambda: task.teacher.refresh(0))
    refresh = timer.ms(lambda: task.teacher.refresh(1))
    objects = _objects(task, recording.root)
    warm = WARM if task.recorded is None else WARM + RECORDING
    for i in range(warm):
        task.step(i)
    whole = timer.ms(lambda: [task.step(i) for i in range(warm, warm + steps)]) / steps
    stages = _stages(task, timer, warm + steps, steps)
    stages |= {"step": whole, "first refresh": first, "refresh": refresh}
    return [
        {
            "stage": stage,
            "ms": ms,
            "images_per_s": 1000 * (len(chosen) if "refresh" in stage else size) / ms,
            "batch": len(chosen) if "refresh" in stage else size,
            "objects": objects,
            "device": device_name(device),
        }
        for stage, ms in stages.items()
        if ms > 0  # a part that the preset has
    ]


def _objects(task: SelfSupTask, path: Path) -> float:
    """Mean number of objects in a step, which draws its frames among those worth learning from.

    Raises:
        InputError: they are fewer than a batch takes.
    """
    numbers, selected = task.teacher.on_host()
    frames, offered = worth_drawing(numbers, selected, task.config.selected_alone)
    if len(frames) < task.batch_size:
        raise InputError(
            f"only {len(frames)} of {len(task.store)} frames have an object to learn from, "
            f"a batch takes {task.batch_size}",
            path=path,
            remedy="Give a smaller --batch, more --frames, or a better run.",
        )
    in_a_batch = int(offered.sum()) / len(frames) * task.batch_size
    return min(in_a_batch, task.config.max_objects)


def _stages(task: SelfSupTask, timer: Timer, first: int, steps: int) -> dict[str, float]:
    """Milliseconds a step of its parts, each waited for."""
    watch = Stopwatch(timer)
    task.halves.thread = task.recorded = None  # one by one
    task.drawn = Ahead(task.draw, task.config.steps, task.device, beside=False)
    for owner, name, stage in (
        (stage2_student, "draw_frames", "frames"),
        (task.teacher, "sensor_of", "frames"),
        (stage2_student, "selected_batch", "labels"),
        (task, "_labelled", "labels"),
        (task, "student", "forward"),
        (task.of_poses, "compare", "compare"),
        (task.optimizer, "step", "update"),
        (task.teacher, "follow", "update"),
    ):
        watch.watch(owner, name, stage)
    try:
        total = timer.ms(lambda: [task.step(i) for i in range(first, first + steps)])
    finally:
        watch.release()
    parts = {stage: 1000 * seconds / steps for stage, seconds in watch.seconds.items()}
    return parts | {"rest": total / steps - sum(parts.values())}
