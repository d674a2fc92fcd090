"""Stage 2 as a job: a network adapted to a recording without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from self6d.arguments import checked
from self6d.config import USUAL_ADAPT
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import PoseTrack, read_pose_track, write_pose_track
from self6d.engine import distributed
from self6d.engine.task import Task
from self6d.errors import InputError
from self6d.events import Listener, Note
from self6d.jobs.absent import leave_out_of_preset
from self6d.jobs.kept import check_kept, check_track
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    check_recording,
    frames_to_learn,
    later_config,
    open_run,
    reopen_run,
    resolve_device,
    telling,
)
from self6d.jobs.ranks import begin_ranks, run_ranks
from self6d.network.config import OF_PREDICTION
from self6d.paths import POSES, refiner_name
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    Paths,
    load_network,
)
from self6d.runs.provenance import Provenance, absolute

if TYPE_CHECKING:
    from self6d.stage2.track_task import TrackTask


@checked
def adapt(
    data: str | Path,
    models: Paths | None,
    from_run: str | Path,
    out: str | Path,
    *,
    preset: str | Path = USUAL_ADAPT,
    split: str | None = None,
    share: float = 1.0,
    steps: int | None = None,
    minutes: float | None = None,
    refiner: str | Path | None = None,
    still: bool = False,
    poses: str | Path | None = None,
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
        minutes: its steps end by then at the latest, the learning rate at zero; neither pauses nor
            what is prepared before them count.
        refiner: run or file of `train_refiner`, or "shipped", which moves pseudo-poses
            (`adapt.refiner`).
        still: for stretches of frames nothing but the camera moves, see `adapt.still`.
        poses: a track's poses.json: these pseudo-poses are learned from, mixed with synthetic
            images, instead of the network's own; L_self and the teacher then have no part. The run
            keeps a copy.
        check: stop if the doctor's fast checks find an error in the recording.

    Returns:
        the run; `run.result` holds label-free health, or with `poses` how many were learned from.

    Raises:
        Self6DError: see `run_task`; InputError for data, models, configuration.

    >>> run = adapt(recording, None, out / "stage1", out / "adapted", steps=1, overrides=small_2)
    >>> run.status, "trust" in run.result
    ('done', True)
    """
    from self6d.stage2.task import SelfSupTask
    from self6d.stage2.track_task import TrackTask, sure_poses

    if refiner is not None:
        overrides = changes_of(overrides, {"adapt.refiner": refiner_name(refiner)})
    if still and poses is not None:
        raise InputError(
            "--still solves the network's own pseudo-poses, and with --poses there are none",
            remedy="Leave one of them out; `track --still` does it for a track.",
        )
    if still:
        overrides = changes_of(overrides, {"adapt.still": True})
    asked = asked_for(preset, overrides, models, steps, device, minutes)
    asked |= {"data": absolute(data), "split": split, "share": share}
    world = distributed.join(resolve_device(device))
    if poses is not None:
        _one_process(world)
    track = None if poses is None else read_pose_track(poses)
    changes = changes_of(overrides, {"adapt.steps": steps, "adapt.minutes": minutes})
    dataset = open_dataset(data)
    own, tell = None, telling(listener)

    def same(run: RunFolder) -> None:
        """What a run that goes on was begun with; frames and steps may be others from here on."""
        check_kept(run, {
            "preset": None if preset == USUAL_ADAPT else asked["preset"],
            "models": asked["models"], "from_run": absolute(from_run), "seed": seed,
        })  # fmt: skip
        check_track(run, "poses", track)

    if world.rank == 0:
        own = reopen_run(out, "selfsup", changes, asked, same) if resume else None
        if own is None:
            before = RunFolder.open(from_run)
            settings = later_config(before, preset, changes)
            if not settings.adapt.image_height:  # learn from images as large as it looks at
                rows = settings.network.image_height
                settings.adapt = replace(settings.adapt, image_height=rows)
            stage = settings.adapt
            remark = leave_out_of_preset(
                settings, preset, changes, listener,
                used=track is None
                and (stage.self_weight > 0 or (stage.pseudo and stage.pseudo_colour)),
            )  # fmt: skip
            tell("loading the network", 0, 1)
            start = load_network(before, models=models, unit=settings.models.unit)
            if check:
                check_recording(data, start.models, tell)
            seen = frames_to_learn(dataset, split, share)
            if track is not None:  # a mistake is told before the folder is made
                known = [model.object_id for model in start.models]
                sure_poses(track, seen, known, settings.adapt.track_confidence)
            provenance = Provenance(
                **asked,
                frames=len(seen),
                from_run=absolute(from_run),
                from_step=start.step,
                no_check=not check,
                poses=None if track is None else POSES,
            )
            begun = open_run(out, "selfsup", settings, provenance, seed=seed, models=start.models)
            if track is not None:
                write_pose_track(begun.path / POSES, track.poses)
            if remark:
                begun.update(remark=remark)
            own = begun, settings
        elif own[0].remark and listener is not None:
            listener(Note("warning", own[0].remark))
    run, config = begin_ranks(out, own, changes, world)
    if config is None:
        return run
    told = Provenance.from_dict(run.info["provenance"])  # resumed: what it began with
    frames = frames_to_learn(dataset, told.split, told.share)
    tell("loading the network", 0, 1)
    began = run.latest_checkpoint() is not None
    trained = load_network(run if began else from_run, models=run.models_path)
    asked_of = {name: getattr(config.network, name) for name in OF_PREDICTION}
    trained.network.config = replace(trained.network.config, **asked_of)
    task: Task
    if told.poses is not None:
        _one_process(world)
        learned = read_pose_track(run.path / told.poses)
        task = TrackTask(
            trained.network, trained.models, frames, learned, config.adapt, config.synthesis,
            seed=run.seed, device=world.device, tell=tell,
        )  # fmt: skip
        _say_source(task, learned, listener)
    else:
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
            tell=tell,
        )
    return run_ranks(task, run, config, world, listener, control, take_lock)


def _one_process(world: distributed.World) -> None:
    if world.size > 1:
        raise InputError("a track is learned from on one GPU", remedy="Leave out --gpus.")


def _say_source(task: TrackTask, track: PoseTrack, listener: Listener | None) -> None:
    if listener is None:
        return
    found, config = task.posed.counts(), task.config
    listener(
        Note(
            "info",
            f"learning from {found['poses']} of a track's {len(track)} poses, in "
            f"{found['frames']} frames: pseudo-poses, not ground truth; L_self and the teacher of "
            "the preset have no part",
        )
    )
    if config.synthetic == 0:
        listener(
            Note(
                "warning",
                "no synthetic images are mixed in (adapt.synthetic is 0): the network learns "
                "little of poses that the track does not show",
            )
        )
