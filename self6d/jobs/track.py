"""Tracking as a job: poses of every object in every frame, without a label."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from self6d.arguments import checked
from self6d.config import merge
from self6d.datasets import Recording, UnlabelledFrames, load_models, open_dataset
from self6d.datasets.pose_track import (
    PoseTrack,
    TrackedPose,
    TrackState,
    check_belongs,
    read_pose_track,
    write_pose_track,
)
from self6d.datasets.splits import any_depth
from self6d.engine.loop import run_task
from self6d.errors import InputError, Self6DError
from self6d.events import Listener
from self6d.geometry import Pose
from self6d.jobs.kept import check_kept, check_track, refuse
from self6d.jobs.prepare import (
    Changes,
    asked_for,
    changes_of,
    open_run,
    reopen_run,
    resolve_device,
)
from self6d.losses.objective import SelfSupervision
from self6d.packaging import load_trained
from self6d.paths import POSES, SHIPPED, track_file
from self6d.refinement.rgb.weights import holds_refiner
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_given_models, run_models
from self6d.runs.provenance import Provenance, absolute
from self6d.scene import ObjectModel
from self6d.tracking.colours.closing import close, write_poses
from self6d.tracking.config import TrackConfig
from self6d.tracking.quick.detections import NetworkDetections
from self6d.tracking.rgb.told import check_search
from self6d.tracking.starts import read_starts, refuse_unseen
from self6d.tracking.task import TrackTask
from self6d.tracking.told import Way
from self6d.tracking.work import Start

SHOWN = {"loop": {"preview_every": 1}}  # each frame as it is found
STARTS = "starts.json"  # in the run's own folder, so that it can go on without the user's files
KEPT = "kept.json"


@checked
def track(
    data: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    init: str | Path | Pose | PoseTrack | None = None,
    from_run: str | Path | None = None,
    search: bool = False,
    object_id: int | None = None,
    frame: int | None = None,
    scene: int | None = None,
    split: str | None = None,
    keep: str | Path | PoseTrack | None = None,
    cuts: Sequence[int] = (),
    preset: str | Path = "track",
    steps: int | None = None,
    still: bool = False,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    resume: bool = False,
    take_lock: bool = False,
    listener: Listener | None = None,
    control: Control | None = None,
) -> RunFolder:
    """Follow objects through a recording: a pose in every frame, or the word that it is lost.

    Args:
        data: the recording; without depth, or with `track.use_depth` off, objects are followed by
            colours alone (a note says what that loses). Its labels cannot be reached from here on.
        models: CAD files; None: the recording's own, else the run's.
        init: rough poses to start from, see `read_starts`. from_run: run, or exported package,
            whose network finds the objects instead; without depth its refiner, if it has one, moves
            their poses.
        search: look for the objects in the whole image, without any start; it takes depth.
        object_id: follow this object alone.
        frame: image number that a single start pose belongs to; None: the first. scene: its scene.
        split: named split; None: all frames.
        keep: poses of an earlier track that stand: frames in it, lost ones included, are not looked
            at again. With `init`: follow from corrected poses through the frames left out of it.
        cuts: image numbers before which the recording was interrupted and things moved: objects are
            not followed across; each piece needs start poses of its own, or they are searched for.
        steps: optimiser steps a frame instead of the configuration's.
        still: nothing but the camera moves, see `track.still`.
        resume: go on with the run in `out`.

    Returns:
        the run; its folder holds `poses.json` (see `self6d.datasets.pose_track`), and `run.result`
        how many frames are tracked, weak, lost and found again.

    Raises:
        InputError: not exactly one kind of start; a search without depth; for the models; a run
            that goes on was begun otherwise.
        Self6DError: see `run_task`.

    >>> start = Pose([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0.5])
    >>> run = track(recording, None, out / "track", init=start, object_id=1, overrides=small_track)
    >>> run.status, (run.path / "poses.json").exists()
    ('done', True)
    """
    asked = asked_for(preset, overrides, models, steps, device)
    asked |= {"data": absolute(data), "split": split}
    if still:
        asked["overrides"]["track.still"] = True  # no option of its own in a Provenance
    cuts = tuple(sorted(set(cuts)))
    changes = changes_of(overrides, {"track.steps": steps, "track.still": still or None})
    place = resolve_device(device)
    recording = whole = open_dataset(data)
    found = None
    if resume:
        start = {
            "preset": None if preset == "track" else asked["preset"],
            "models": asked["models"], "from_run": absolute(from_run), "split": split,
            "frame": frame, "scene": scene, "object_id": object_id, "cuts": cuts, "seed": seed,
        }  # fmt: skip
        found = reopen_run(
            out, "track", changes, asked,
            lambda run: check_same_track(run, recording, start, init, keep, search=search),
        )  # fmt: skip
    if found is None:
        config = build_config(preset, merge(SHOWN, changes), stage="track")
        if split is not None:
            recording = recording.split(split)
        on_depth = has_depth(recording, config.track)
        if sum((init is not None, from_run is not None, search)) != 1:
            kinds = (
                "--init FILE, --from RUN and --search" if on_depth else "--init FILE and --from RUN"
            )
            raise InputError("one start is needed", remedy=f"Give one of {kinds}.")
        given = _models(models, recording, from_run, config.models.unit)
        check_search(recording, search=search, use_depth=config.track.use_depth)
        if steps is not None and not on_depth:
            raise InputError(
                "--steps are the optimiser's, which looks at depth, and there is none",
                remedy="Leave them out, or set how often the refiner looks: --set track.looks=4.",
            )
        chosen, starts = what_to_follow(
            recording, given, init, object_id=object_id, frame=frame, scene=scene, cuts=cuts
        )
        stands = read_pose_track(keep) if isinstance(keep, str | Path) else keep
        if stands is not None:
            named = keep if isinstance(keep, str | Path) else "the poses to keep"
            check_belongs(stands, named, whole, [p.object_id for p in stands])
        provenance = Provenance(
            **asked,
            from_run=absolute(from_run),
            frame=frame,
            scene=scene,
            object_id=object_id,
            init=None if init is None else STARTS,
            keep=None if stands is None else KEPT,
            cuts=cuts,
            frames=len(recording),
        )
        run = open_run(out, "track", config, provenance, seed=seed, models=chosen)
        if init is not None:
            _keep_starts(run, starts, chosen, recording)
        if stands is not None:
            write_pose_track(run.path / KEPT, stands.poses)
    else:
        run, config = found
        told = Provenance.from_dict(run.info["provenance"])
        if run.status == "done" and not changes and (run.path / POSES).exists():
            return run
        if told.split is not None:
            recording = recording.split(told.split)
        from_run, cuts, scene = told.from_run, told.cuts, told.scene
        chosen = run_models(run)
        starts, stands = [], None
        if told.init is not None:
            starts = read_starts(run.path / told.init, recording, chosen)
        if told.keep is not None:
            stands = read_pose_track(run.path / told.keep)
    frames = UnlabelledFrames(recording)
    detect = None
    if from_run is not None:
        detect = NetworkDetections.of_trained(load_trained(from_run, place), chosen, from_run)
    task = TrackTask(
        frames,
        chosen,
        starts,
        SelfSupervision(config.loss, place),
        config.track,
        detect=detect,
        refiner=_refiner_of(from_run, on_depth=has_depth(recording, config.track)),
        kept=stands,
        cuts={recording.index(cut, scene) for cut in cuts},
        seed=run.seed,
        device=place,
    )
    control = control or Control(patient=False)
    way: Way = "from" if from_run is not None else "search" if not starts else "init"
    closing = partial(close, run, frames, task, stands, way, control)
    try:
        run_task(task, run, config.loop, listener, control, take_lock=take_lock, closing=closing)
    except BaseException:
        with suppress(Self6DError):  # the error at hand says more
            write_poses(run, task)
        raise
    if run.status != "done":
        write_poses(run, task)
    return run


def what_to_follow(
    recording: Recording,
    models: Sequence[ObjectModel],
    init: str | Path | Pose | PoseTrack | None,
    *,
    object_id: int | None,
    frame: int | None,
    scene: int | None,
    cuts: Sequence[int],
) -> tuple[list[ObjectModel], list[Start]]:
    """The models and rough poses that a new track is of, as `track` takes them.

    Args:
        recording: the frames to follow through. models: all that were given.

    Raises:
        InputError: no such object, frame or cut, a start file that is none, or start poses that
            put an object outside of its images.
    """
    chosen = [model for model in models if object_id in (None, model.object_id)]
    if not chosen:
        ids = [model.object_id for model in models]
        raise InputError(f"no CAD model of object {object_id}", remedy=f"There are {ids}.")
    starts = []
    if init is not None:
        starts = read_starts(init, recording, chosen, frame=frame, scene=scene)
        path = track_file(init) if isinstance(init, str | Path) else None
        refuse_unseen(starts, recording, chosen, path)
    for cut in cuts:
        recording.index(cut, scene)
    return chosen, starts


def check_same_track(
    run: RunFolder,
    recording: Recording,
    start: dict[str, Any],
    init: str | Path | Pose | PoseTrack | None,
    keep: str | Path | PoseTrack | None,
    *,
    search: bool,
) -> None:
    """Whether a command asks for the track that a run was begun as; what it leaves out is the same.

    Args:
        recording: all of its frames. start: as `check_kept` takes it.

    Raises:
        InputError: for another one; for a start file that is none.
    """
    check_kept(run, start)
    told = Provenance.from_dict(run.info["provenance"])
    check_track(run, "keep", keep)
    if search and (told.init or told.from_run):
        refuse(run.path, "--search", "--init" if told.init else f"--from {told.from_run}")
    if init is None:
        return
    if told.init is None:
        refuse(run.path, "--init", None)
    frames = recording if told.split is None else recording.split(told.split)
    models = run_models(run)
    given = read_starts(init, frames, models, frame=told.frame, scene=told.scene)
    own = read_starts(run.path / STARTS, frames, models)
    if [s.rounded() for s in given] != [s.rounded() for s in own]:
        refuse(run.path, "--init", "its own copy")


def has_depth(recording: Recording, config: TrackConfig) -> bool:
    """Whether objects are followed on depth; False: by colours alone."""
    return config.use_depth and any_depth(recording.frame, len(recording))


def _models(
    models: Paths | None,
    recording: Recording,
    from_run: str | Path | None,
    unit: str,
) -> list[ObjectModel]:
    if models is not None:
        return load_given_models(models, unit)
    if recording.models_path is not None:
        return load_models(recording.models_path, unit)
    if from_run is not None:
        return load_trained(from_run, torch.device("cpu")).models
    raise InputError("the recording brings no CAD models", remedy="Name them with --models.")


def _refiner_of(from_run: str | Path | None, *, on_depth: bool) -> str | Path:
    """The refiner a run or package has, which knows the camera's distances; else the shipped."""
    if from_run is None or on_depth:
        return SHIPPED
    return from_run if holds_refiner(from_run) else SHIPPED


def _keep_starts(
    run: RunFolder, starts: Sequence[Start], models: Sequence[ObjectModel], recording: Recording
) -> None:
    """As a track of nothing but the starts: `read_starts` reads it, frames and all."""
    rows = [
        TrackedPose(
            recording.keys[s.frame], models[s.target.model].object_id, s.target.instance,
            TrackState.TRACKED, Pose(s.R, s.t), 1.0,
        )
        for s in starts
    ]  # fmt: skip
    write_pose_track(run.path / STARTS, rows)
