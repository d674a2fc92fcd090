"""The RGB refiner as a job: trained on images of stage 1, for given objects or for every one."""

from __future__ import annotations

from pathlib import Path

import torch

from self6d.arguments import checked
from self6d.engine import distributed
from self6d.errors import InputError
from self6d.events import Listener
from self6d.geometry import Camera
from self6d.jobs.kept import check_kept
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    images_seen,
    open_run,
    reopen_run,
    resolve_camera,
    resolve_device,
    telling,
)
from self6d.jobs.ranks import begin_ranks, run_ranks
from self6d.refinement.rgb.weights import load_refiner
from self6d.rng import mixed_seed
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_given_models, run_camera, run_models
from self6d.runs.provenance import Provenance, absolute
from self6d.synthesis.shapes.generated import generated_models

KIND = "refiner"


@checked
def train_refiner(
    models: Paths | None,
    out: str | Path,
    *,
    start: str | Path | None = None,
    preset: str | Path = "refiner",
    camera: Camera | str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: bool = False,
    take_lock: bool = False,
    listener: Listener | None = None,
    control: Control | None = None,
) -> RunFolder:
    """Train a network that compares an image with the rendering at a pose and moves the pose.

    Args:
        models: CAD files or a folder of them; None: generated shapes alone (`refiner.generated`),
            for a refiner that serves every object.
        out: run folder to make; with `resume`, the one to continue (made if it is not there).
        start: refiner to go on from, run folder or file, for every object; None: anew.
        camera: whose images it will see, as in `train`.

    Returns:
        the run; `run.result` holds recalls of disturbed synthetic poses before and after.

    Raises:
        Self6DError: see `run_task`; InputError for models, camera, configuration.
    """
    from self6d.stage1.refiner_task import RefinerTask

    asked = asked_for(preset, overrides, models, steps, device, minutes)
    device = resolve_device(device)
    changes = changes_of(overrides, {"train.steps": steps, "train.minutes": minutes})
    world = distributed.join(device)
    own, tell = None, telling(listener)

    def same(run: RunFolder) -> None:
        check_kept(run, {
            "preset": None if preset == "refiner" else asked["preset"],
            "models": asked["models"], "camera": absolute(camera), "from_run": absolute(start),
            "seed": seed,
        })  # fmt: skip

    if world.rank == 0:
        own = reopen_run(out, KIND, changes, asked, same) if resume else None
        if own is None:
            settings = build_config(preset, changes, stage="refiner")
            objects = [] if models is None else load_given_models(models, settings.models.unit)
            if not objects and not settings.refiner.generated:
                raise InputError(
                    "no object models", remedy="Give CAD models, or set refiner.generated."
                )
            if settings.refiner.generated and settings.refiner.per_object:
                raise InputError(
                    "generated shapes cannot have output layers of their own",
                    remedy="Set refiner.per_object=false or refiner.generated=0.",
                )
            view = resolve_camera(camera)
            seen = images_seen(settings, camera, view, objects, listener, tell)
            if start is not None:  # a mistake is told before the folder is made
                load_refiner(start)
            provenance = Provenance(**asked, **seen, from_run=absolute(start))
            begun = open_run(out, KIND, settings, provenance, seed=seed, models=objects)
            own = begun, settings
    run, config = begin_ranks(out, own, changes, world)
    if config is None:
        return run
    told = Provenance.from_dict(run.info["provenance"])
    objects = run_models(run) if told.models else []
    made = generated_models(config.refiner.generated, mixed_seed(run.seed, world.rank) % 2**31)
    weights = None
    if told.from_run is not None and run.latest_checkpoint() is None:
        weights = load_refiner(told.from_run)[0].state_dict()
    tell("building the network", 0, 1)
    task = RefinerTask(
        [*objects, *made],
        run_camera(run),
        config.refiner,
        config.synthesis,
        config.train,
        start=weights,
        seed=run.seed,
        device=world.device,
        tell=tell,
    )
    return run_ranks(task, run, config, world, listener, control, take_lock)
