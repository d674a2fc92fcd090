"""Stage 2 as a job: a network adapted to a recording without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from self6d.datasets import Recording, UnlabelledFrames, open_dataset
from self6d.datasets.splits import default_split, some_frames
from self6d.engine import distributed
from self6d.events import Listener, Note
from self6d.jobs.absent import leave_out_of_preset
from self6d.jobs.check import check_recording
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    later_config,
    open_run,
    reopen_run,
    resolve_device,
)
from self6d.jobs.ranks import begin_ranks, run_ranks
from self6d.network.config import OF_PREDICTION
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    Paths,
    load_network,
)
from self6d.runs.provenance import Provenance, absolute


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
    minutes: float | None = None,
    refiner: str | Path | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: bool = False,
    take_lock: bool = False,
    check: bool = True,
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
        steps: instead of the preset's.
        minutes: the run ends by then at the latest, its learning rate at zero; pauses do not count.
        refiner: run or file of `train_refiner`, which moves pseudo-poses (`adapt.refiner`).
        check: stop if the doctor's fast checks find an error in the recording.

    Returns:
        the run; `run.result` holds label-free health.

    Raises:
        Self6DError: see `run_task`; InputError for data, models, configuration.

    >>> run = adapt(recording, None, out / "stage1", out / "adapted", steps=1, overrides=small_2)
    >>> run.status, "trust" in run.result
    ('done', True)
    """
    from self6d.stage2.task import SelfSupTask

    if refiner is not None:
        overrides = changes_of(overrides, {"adapt.refiner": absolute(refiner)})
    asked = asked_for(preset, overrides, models, steps, device, minutes)
    asked |= {"data": absolute(data), "split": split, "share": share}
    world = distributed.join(resolve_device(device))
    changes = changes_of(overrides, {"adapt.steps": steps, "adapt.minutes": minutes})
    dataset = open_dataset(data)
    own = None
    if world.rank == 0:
        own = reopen_run(out, "selfsup", changes, asked) if resume else None
        if own is None:
            before = RunFolder.open(from_run)
            settings = later_config(before, preset, changes)
            stage = settings.adapt
            remark = leave_out_of_preset(
                settings, preset, changes, listener,
                used=stage.self_weight > 0 or (stage.pseudo and stage.pseudo_colour),
            )  # fmt: skip
            start = load_network(before, models=models, unit=settings.models.unit)
            if check:
                check_recording(data, start.models, listener)
            provenance = Provenance(
                **asked,
                frames=len(_frames(dataset, split, share)),
                from_run=absolute(from_run),
                from_step=start.step,
                no_check=not check,
            )
            begun = open_run(out, "selfsup", settings, provenance, seed=seed, models=start.models)
            if remark:
                begun.update(remark=remark)
            own = begun, settings
        elif own[0].remark and listener is not None:
            listener(Note("warning", own[0].remark))
    run, config = begin_ranks(out, own, changes, world)
    if config is None:
        return run
    told = Provenance.from_dict(run.info["provenance"])  # resumed: what it began with
    frames = _frames(dataset, told.split, told.share)
    began = run.latest_checkpoint() is not None
    trained = load_network(run if began else from_run, models=run.models_path)
    asked_of = {name: getattr(config.network, name) for name in OF_PREDICTION}
    trained.network.config = replace(trained.network.config, **asked_of)
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
    return run_ranks(task, run, config, world, listener, control, take_lock)


def _frames(dataset: Recording, split: str | None, share: float) -> UnlabelledFrames:
    return UnlabelledFrames(some_frames(dataset, default_split(dataset, split, "adapt"), share))
