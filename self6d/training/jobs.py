"""The jobs, as Python functions: what the command line and the window both call.

Each takes a listener for events and a control for requests, writes a run folder that stands alone
(configuration, models, checkpoints, curves), and raises `self6d.errors` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.distributed as dist

from self6d.config import merge
from self6d.config import overrides as as_nested
from self6d.geometry import Camera
from self6d.run_config import RunConfig, build_config
from self6d.training import distributed
from self6d.training.control import Control
from self6d.training.events import Listener
from self6d.training.inputs import (
    Paths,
    load_given_models,
    open_run,
    reopen_run,
    resolve_camera,
    resolve_device,
    run_models,
)
from self6d.training.loop import Task, run_task
from self6d.training.run_folder import RunFolder
from self6d.training.using import Evaluation, evaluate, predict, synth_preview

__all__ = [
    "Evaluation",
    "RunConfig",
    "evaluate",
    "predict",
    "synth_preview",
    "train_synthetic",
]

Changes = dict[str, Any] | list[str] | None


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
        camera: whose images the network will see; a recording, a camera file, or None.
        steps: instead of the preset's.
        overrides: {"train.batch": 4} or ["train.batch=4"].

    Returns:
        the run; `run.status` is "done" or "stopped", `run.result` holds synthetic recalls.

    Raises:
        Self6DError: see `run_task`; InputError for models, camera, configuration.
    """
    from self6d.training.synthetic import SyntheticTask

    place = resolve_device(device)
    changes = _changes(overrides, {"train.steps": steps})
    world = distributed.join(place)
    if world.rank == 0:
        found = reopen_run(out, "synthetic", changes) if resume else None
        if found is None:
            config = build_config(preset, changes)
            view = resolve_camera(camera)
            provenance = {
                "preset": str(preset),
                "camera": _camera_source(camera),
                **_models(models),
            }
            if view is not None:
                provenance["K"] = view.K.tolist()
                provenance["image_size"] = list(view.size)
            objects = load_given_models(models)
            run = open_run(out, "synthetic", config, provenance, seed=seed, models=objects)
        else:
            run, config = found
    _barrier(world)
    if world.rank:
        run = RunFolder.open(out)
        config = build_config(None, base=run.config)
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


def _changes(given: Changes, named: dict[str, Any]) -> dict[str, Any]:
    """Overrides of both kinds as nested dicts, without those that are None."""
    own = {key: value for key, value in named.items() if value is not None}
    return merge(as_nested(given or []), as_nested(own))


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
    height, width = stored["image_size"]
    return Camera(stored["K"], width, height)
