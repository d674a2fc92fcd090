"""Stage 1 as a job: a network trained on synthetic images of CAD models alone."""

from __future__ import annotations

from pathlib import Path

import torch

from self6d.datasets.registry import is_recording
from self6d.engine import distributed
from self6d.events import Listener
from self6d.geometry import Camera
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    check_recording,
    images_seen,
    open_run,
    reopen_run,
    resolve_camera,
    resolve_device,
)
from self6d.jobs.ranks import begin_ranks, run_ranks
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    Paths,
    load_given_models,
    run_camera,
    run_models,
)
from self6d.runs.provenance import Provenance


def train(
    models: Paths,
    out: str | Path,
    *,
    preset: str | Path = "standard",
    camera: Camera | str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: bool = False,
    take_lock: bool = False,
    check: bool = True,
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
        minutes: the run ends by then at the latest, its learning rate at zero; pauses do not count.
        check: stop if the doctor's fast checks find an error in the recording of `camera`.
        overrides: {"train.batch": 4} or ["train.batch=4"].

    Returns:
        the run; `run.status` is "done" or "stopped", `run.result` holds synthetic recalls.

    Raises:
        Self6DError: see `run_task`; InputError for models, camera, configuration.

    >>> run = train(recording / "models", out / "stage1", preset="tiny", steps=2, overrides=small)
    >>> run.status
    'done'
    """
    from self6d.stage1.task import SyntheticTask

    asked = asked_for(preset, overrides, models, steps, device, minutes)
    device = resolve_device(device)
    changes = changes_of(overrides, {"train.steps": steps, "train.minutes": minutes})
    world = distributed.join(device)
    own = None
    if world.rank == 0:
        own = reopen_run(out, "synthetic", changes, asked) if resume else None
        if own is None:
            settings = build_config(preset, changes, stage=1)
            view = resolve_camera(camera)
            objects = load_given_models(models, settings.models.unit)
            if check and isinstance(camera, str | Path) and is_recording(camera):
                check_recording(camera, objects, listener)
            seen = images_seen(settings, camera, view, objects, listener)
            provenance = Provenance(**asked, **seen, no_check=not check)
            begun = open_run(out, "synthetic", settings, provenance, seed=seed, models=objects)
            own = begun, settings
    run, config = begin_ranks(out, own, changes, world)
    if config is None:
        return run
    task = SyntheticTask(
        run_models(run),
        run_camera(run),
        config.network,
        config.synthesis,
        config.train,
        seed=run.seed,
        device=world.device,
    )
    return run_ranks(task, run, config, world, listener, control, take_lock)
