"""The jobs, as Python functions: what the command line and the window both call.

Each takes a listener for events and a control for requests, writes a run folder that stands alone
(configuration, models, checkpoints, curves), and raises `self6d.errors` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.distributed as dist

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.engine import distributed
from self6d.engine.loop import run_task
from self6d.engine.task import Task
from self6d.events import Listener, Note
from self6d.geometry import Camera
from self6d.jobs.config import RunConfig, build_config
from self6d.jobs.optimize import optimize
from self6d.jobs.prepare import (
    Changes,
    Paths,
    changes_of,
    default_split,
    later_config,
    load_given_models,
    load_network,
    open_run,
    reopen_run,
    resolve_camera,
    resolve_device,
    run_models,
    some_frames,
    stored_camera,
)
from self6d.jobs.slim import slim
from self6d.jobs.using import evaluate, export, predict, synth_preview
from self6d.runs.checkpoint import checkpoint_fits
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.stage1.recorded_ranges import with_recorded_ranges

__all__ = [
    "RunConfig",
    "adapt",
    "evaluate",
    "export",
    "optimize",
    "predict",
    "slim",
    "synth_preview",
    "train_synthetic",
]


def train_synthetic(
    models: Paths,
    out: str | Path,
    *,
    preset: str | Path = "standard",
    camera: Camera | str | Path | None = None,
    steps: int | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    take_lock: bool = False,
    listener: Listener | None = None,
    control: Control | None = None,
) -> RunFolder:
    """Stage 1: train a network on synthetic images of CAD models alone.

    Args:
        models: CAD files or a folder of them.
        out: run folder to make; with `resume`, the one to continue (made if it is not there).
        preset: name or .toml file.
        camera: whose images the network will see; a recording, a camera file, or None. A
            recording's depth also says how far objects are, see `with_recorded_ranges`.
        steps: instead of the preset's.
        overrides: {"train.batch": 4} or ["train.batch=4"].

    Returns:
        the run; `run.status` is "done" or "stopped", `run.result` holds synthetic recalls.

    Raises:
        Self6DError: see `run_task`; InputError for models, camera, configuration.
    """
    from self6d.stage1.task import SyntheticTask

    place = resolve_device(device)
    changes = changes_of(overrides, {"train.steps": steps})
    world = distributed.join(place)
    if world.rank == 0:
        found = reopen_run(out, "synthetic", changes) if resume else None
        if found is None:
            config = build_config(preset, changes)
            view = resolve_camera(camera)
            objects = load_given_models(models)
            config.synthesis, ranges = with_recorded_ranges(config.synthesis, camera, objects)
            if ranges and listener is not None:
                listener(Note("info", ranges))
            provenance = {
                "preset": str(preset),
                "camera": _camera_source(camera),
                "ranges": ranges or None,
                **_models(models),
            }
            if view is not None:
                provenance["K"] = view.K.tolist()
                provenance["image_size"] = list(view.size)
            run = open_run(out, "synthetic", config, provenance, seed=seed, models=objects)
        else:
            run, config = found
    _barrier(world)
    if world.rank:
        run = RunFolder.open(out)
        config = build_config(None, base=run.config)
    if run.status == "done" and not changes:
        return run
    task = SyntheticTask(
        run_models(run),
        _stored_camera(run),
        config.network,
        config.synthesis,
        config.train,
        seed=run.seed,
        device=world.device,
    )
    return _run(task, run, config, world, listener, control, take_lock)


def adapt(
    data: str | Path,
    models: Paths | None,
    from_run: str | Path,
    out: str | Path,
    *,
    preset: str | Path = "self6d",
    split: str | None = None,
    share: float = 1.0,
    steps: int | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    take_lock: bool = False,
    listener: Listener | None = None,
    control: Control | None = None,
) -> RunFolder:
    """Stage 2: adapt a network to a recording without labels.

    Args:
        data: the recording. Its labels cannot be reached from here on.
        models: CAD files; None: the earlier run's own copy.
        from_run: run to start from (its best checkpoint).
        out: run folder to make; with `resume`, the one to continue (made if it is not there).
        split: named split; None: "adapt" if the recording has it, else all frames.
        share: of those frames that are used, spread evenly.

    Returns:
        the run; `run.result` holds label-free health.

    Raises:
        Self6DError: see `run_task`; InputError for data, models, configuration.
    """
    from self6d.stage2.task import SelfSupTask

    world = distributed.join(resolve_device(device))
    changes = changes_of(overrides, {"adapt.steps": steps})
    dataset = open_dataset(data)
    chosen = default_split(dataset, split, "adapt")
    frames = UnlabelledFrames(some_frames(dataset, chosen, share))
    if world.rank == 0:
        found = reopen_run(out, "selfsup", changes) if resume else None
        if found is None:
            before = RunFolder.open(from_run)
            config = later_config(before, preset, changes)
            start = load_network(before, models=models)
            provenance = {
                "preset": str(preset),
                "data": str(Path(data).absolute()),
                "split": chosen or "all",
                "share": share,
                "frames": len(frames),
                "from_run": str(Path(from_run).absolute()),
                "from_step": start.step,
            }
            run = open_run(out, "selfsup", config, provenance, seed=seed, models=start.models)
        else:
            run, config = found
    _barrier(world)
    if world.rank:
        run = RunFolder.open(out)
        config = build_config(None, base=run.config)
    if run.status == "done" and not changes:
        return run
    began = run.latest_checkpoint() is not None
    trained = load_network(
        run if began else from_run, models=run.models_path, views=config.network.views
    )
    task = SelfSupTask(
        trained.network,
        trained.models,
        frames,
        config.adapt,
        config.loss,
        config.optimize,
        config.synthesis,
        seed=run.seed,
        device=world.device,
    )
    return _run(task, run, config, world, listener, control, take_lock)


def _run(
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
    while (step := world.heed(count)) is not None:
        task.step(step)
        count += 1
    return run


def _barrier(world: distributed.World) -> None:
    if world.size > 1:
        dist.barrier()


def _models(models: Paths) -> dict[str, Any]:
    paths = [models] if isinstance(models, str | Path) else list(models)
    return {"models": [str(Path(p).absolute()) for p in paths]}


def _camera_source(camera: Camera | str | Path | None) -> str | None:
    return None if camera is None or isinstance(camera, Camera) else str(Path(camera).absolute())


def _stored_camera(run: RunFolder) -> Camera | None:
    stored = run.info["provenance"]
    if "K" not in stored:
        return None
    with checkpoint_fits(run.path):
        return stored_camera(stored["K"], stored["image_size"])
