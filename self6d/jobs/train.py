"""Stage 1 as a job: a network trained on synthetic images of CAD models alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from self6d.arguments import checked
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import PoseTrack, read_pose_track, write_pose_track
from self6d.datasets.registry import is_recording
from self6d.engine import distributed
from self6d.errors import InputError
from self6d.events import Listener, Note
from self6d.geometry import Camera
from self6d.jobs.kept import check_kept, check_track
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    check_recording,
    check_same_network,
    frames_to_learn,
    images_seen,
    open_run,
    reopen_run,
    resolve_camera,
    resolve_device,
    telling,
)
from self6d.jobs.ranks import begin_ranks, run_ranks
from self6d.network.config import OF_LEARNING, OF_PREDICTION
from self6d.paths import POSES
from self6d.run_config import RunConfig, build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    Paths,
    load_given_models,
    load_network,
    run_camera,
    run_models,
)
from self6d.runs.provenance import Provenance, absolute
from self6d.scene import ObjectModel, of_one_size


@checked
def train(
    models: Paths,
    out: str | Path,
    *,
    start: str | Path | None = None,
    preset: str | Path = "standard",
    camera: Camera | str | Path | None = None,
    poses: str | Path | None = None,
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
        start: run of the same objects whose network to go on from; its form stays. None: anew.
        preset: name or .toml file.
        camera: whose images the network will see; a recording, a camera file, or None. A
            recording's depth also says how far objects are, see `with_recorded_ranges`.
        poses: a track's poses.json, in the recording that `camera` names (in its split "adapt" if
            it has one): the frames that the track is sure of are learned from beside the synthetic
            images, varied as the preset laptop says, or [adapt] where overridden; as many of the
            synthetic objects are seen from near its poses (`synthesis.views_share`). The run keeps
            a copy.
        steps: instead of the preset's.
        minutes: its steps end by then at the latest, the learning rate at zero; neither pauses nor
            what is prepared before them count.
        check: stop if the doctor's fast checks find an error in the recording of `camera`.
        overrides: {"train.batch": 4} or ["train.batch=4"].

    Returns:
        the run; `run.status` is "done" or "stopped", `run.result` holds synthetic recalls.

    Raises:
        Self6DError: see `run_task`; InputError for models, camera, configuration, poses without a
            recording.

    >>> run = train(recording / "models", out / "stage1", preset="tiny", steps=2, overrides=small)
    >>> run.status
    'done'
    """
    from self6d.stage1.task import SyntheticTask
    from self6d.stage2.track_task import sure_poses
    from self6d.stage2.track_training import TrackTraining

    asked = asked_for(preset, overrides, models, steps, device, minutes)
    device = resolve_device(device)
    changes = changes_of(overrides, {"train.steps": steps, "train.minutes": minutes})
    world = distributed.join(device)
    own, tell = None, telling(listener)

    def same(run: RunFolder) -> None:
        check_kept(run, {
            "preset": None if preset == "standard" else asked["preset"],
            "models": asked["models"], "camera": absolute(camera), "from_run": absolute(start),
            "seed": seed,
        })  # fmt: skip
        check_track(run, "poses", poses)

    weights = None
    if world.rank == 0:
        own = reopen_run(out, "synthetic", changes, asked, same) if resume else None
        if own is None:
            before = None if start is None else RunFolder.open(start)
            settings = build_config(preset, _keeping_form(changes, before), stage=1)
            track = None
            if poses is not None:
                track = _track_in(camera, poses)
                varied = {"adapt": changes.get("adapt", {})}
                laptop = build_config("laptop", varied, stage=2)
                settings.adapt = laptop.adapt
                if "views_share" not in changes.get("synthesis", {}):
                    share = settings.synthesis.views_share or laptop.synthesis.views_share
                    settings.synthesis = replace(settings.synthesis, views_share=share)
            view = resolve_camera(camera)
            if before is None:
                _look_as_learned(settings, view, listener)
            tell("reading CAD models", 0, 1)
            objects = load_given_models(models, settings.models.unit)
            if before is not None:  # a mistake is told before the folder is made
                check_same_network(settings.network, before, OF_PREDICTION + OF_LEARNING)
                weights = _weights_of(before, objects)
                if listener is not None:
                    form = settings.network
                    text = f"the network stays that of {before.path.name}: {form.backbone}"
                    if form.roi_input == "crop":
                        text += f", {form.crop_backbone} on crops of {form.crop_size} pixels"
                    listener(Note("info", text))
            if check and isinstance(camera, str | Path) and is_recording(camera):
                check_recording(camera, objects, tell)
            if track is not None and isinstance(camera, str | Path):
                known = [model.object_id for model in objects]
                frames = frames_to_learn(open_dataset(camera), None)
                sure_poses(track, frames, known, settings.adapt.track_confidence)
            seen = images_seen(settings, camera, view, objects, listener, tell)
            kept = None if track is None else POSES
            provenance = Provenance(
                **asked, **seen, poses=kept, no_check=not check, from_run=absolute(start)
            )
            begun = open_run(out, "synthetic", settings, provenance, seed=seed, models=objects)
            if track is not None:
                write_pose_track(begun.path / POSES, track.poses)
            own = begun, settings
    run, config = begin_ranks(out, own, changes, world)
    if config is None:
        return run
    given = (run_models(run), run_camera(run), config.network, config.synthesis, config.train)
    told = Provenance.from_dict(run.info["provenance"])
    if weights is None and told.from_run is not None and run.latest_checkpoint() is None:
        weights = _weights_of(RunFolder.open(told.from_run), given[0])
    tell("building the network", 0, 1)
    task: SyntheticTask
    if told.poses is None or told.camera is None:
        task = SyntheticTask(*given, start=weights, seed=run.seed, device=world.device, tell=tell)
    else:
        task = TrackTraining(
            *given, frames_to_learn(open_dataset(told.camera), None),
            read_pose_track(run.path / told.poses), config.adapt,
            start=weights, seed=run.seed, device=world.device, tell=tell,
        )  # fmt: skip
        if listener is not None and world.rank == 0:
            counts = task.posed.counts()
            text = (
                f"beside synthetic images it learns from {counts['poses']} poses of a track in "
                f"{counts['frames']} frames: pseudo-poses, not ground truth; "
                f"{config.synthesis.views_share:.0%} of the synthetic objects are seen from near "
                "these (synthesis.views_share)"
            )
            listener(Note("info", text))
    return run_ranks(task, run, config, world, listener, control, take_lock)


def _look_as_learned(settings: RunConfig, view: Camera | None, listener: Listener | None) -> None:
    """Images of the camera are resampled to the height that is learned from, unless told otherwise.

    Objects in larger ones would be larger than any that the detector has seen.
    """
    rows = settings.synthesis.height
    if view is None or view.height == rows or settings.network.image_height:
        return
    settings.network = replace(settings.network, image_height=rows)
    if listener is not None:
        text = (
            f"images of the camera are {view.height} rows high and the network learns from {rows}, "
            f"to which it resamples what it looks at (network.image_height); to learn from whole "
            f"ones: --set synthesis.height={view.height}"
        )
        listener(Note("info", text))


def _keeping_form(changes: dict[str, Any], before: RunFolder | None) -> dict[str, Any]:
    """Changes of a preset that also put the network's form back to an earlier run's."""
    if before is None:
        return changes
    form = before.config.get("network", {}) | changes.get("network", {})
    return changes | {"network": form}


def _weights_of(before: RunFolder, objects: Sequence[ObjectModel]) -> dict[str, Tensor]:
    """Of a run's network.

    Raises:
        InputError: it knows other objects.
    """
    trained = load_network(before)
    known = {model.object_id: model for model in trained.models}
    if list(known) != [model.object_id for model in objects]:
        raise InputError(
            f"its network knows the objects {', '.join(map(str, known))}",
            path=before.path,
            remedy="Give these models, or train anew without --from.",
        )
    for model in objects:
        if not of_one_size(known[model.object_id], model):
            raise InputError(
                f"object {model.object_id} has another size than the one its network knows",
                path=before.path,
                remedy="Give the same CAD file in the same unit, or train anew without --from.",
            )
    return trained.network.state_dict()


def _track_in(camera: Camera | str | Path | None, poses: str | Path) -> PoseTrack:
    if not isinstance(camera, str | Path) or not is_recording(camera):
        raise InputError(
            "poses of a track are learned from with the recording they belong to",
            path=Path(poses),
            remedy="Name that recording with --camera.",
        )
    return read_pose_track(poses)
