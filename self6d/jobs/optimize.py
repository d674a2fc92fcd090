"""The single-image job: one object's pose on one frame, by L_self alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.arguments import checked
from self6d.config import merge
from self6d.datasets import FrameKey, open_dataset
from self6d.datasets.pose_track import read_pose_track
from self6d.engine.loop import run_task
from self6d.errors import InputError
from self6d.events import Listener, Note
from self6d.files import WRITE_POSE, note, read_poses
from self6d.geometry import Pose
from self6d.jobs.absent import leave_out_of_preset
from self6d.jobs.prepare import Changes, asked_for, changes_of, open_run, resolve_device
from self6d.losses.objective import SelfSupervision
from self6d.paths import track_file
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.problem import PoseProblem
from self6d.refinement.refine import problem_of_detections
from self6d.refinement.task import ImageTask, problem_of_pose
from self6d.rendering import pack_models
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.load_network import Paths, load_given_models, load_network
from self6d.runs.provenance import Provenance, absolute
from self6d.scene import Frame, GroundTruth, ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.storage import atomic_write
from self6d.tracking.starts import (
    by_image,
    in_view,
    is_track,
    outside,
    pose_of_row,
    refuse_behind,
)

INIT = "init.json"  # the start pose, in the run's own folder
SHOWN = {"loop": {"preview_every": 5}}  # presets are for training, whose steps move less
LOWEST_SCORE = 0.05  # the object is known to be there


@checked
def optimize(
    data: str | Path,
    models: Paths | None,
    frame: int,
    object_id: int,
    *,
    scene: int | None = None,
    from_run: str | Path | None = None,
    init: str | Path | Pose | None = None,
    out: str | Path | None = None,
    preset: str | Path = "self6d-paper",
    steps: int | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    listener: Listener | None = None,
    control: Control | None = None,
) -> dict[str, Any]:
    """Optimise one object's pose on one image.

    Args:
        models: CAD files; None: the recording's own, else the run's.
        frame: image number. scene: scene number, where several have that image.
        object_id: whose pose.
        from_run: run whose network gives start pose and mask.
        init: start pose instead: a Pose, or a JSON file (see `read_pose`); the mask is then found
            from depth and colour.
        out: run folder to make; None: nothing is kept.

    Returns:
        "R_m2c", "t_m2c" (metres), "summary" (name -> [start, end]), "trajectory" (pose, terms and,
        where truth exists, errors before every step and at the end).

    Raises:
        InputError: neither start is given, the network does not find the object, or a start pose
            that the image does not show.

    >>> found = optimize(
    ...     recording, None, 0, 1, init=Pose(np.eye(3), [0, 0, 0.5]), steps=2, overrides=small_2
    ... )
    >>> len(found["t_m2c"]), len(found["trajectory"]["t_m2c"])  # before both steps, and at the end
    (3, 3)
    """
    if (from_run is None) == (init is None):
        raise InputError("one start is needed", remedy="Give either --from RUN or --init FILE.")
    asked = asked_for(preset, overrides, models, steps, device)
    device = resolve_device(device)
    changes = changes_of(overrides, {"optimize.steps": steps})
    config = build_config(preset, merge(SHOWN, changes), stage=2)
    remark = leave_out_of_preset(config, preset, changes, listener)
    recording = open_dataset(data)
    index = recording.index(frame, scene)
    pixels = recording.frame(index)
    if pixels.depth_m is None and config.loss.geometry > 0 and listener is not None:
        text = f"image {frame} has no depth: the geometric term is left out, and the distance "
        listener(Note("warning", f"{text}follows the object's size in the image"))
    known = [t for t in recording.truth(index) if t.object_id == object_id]
    objective = SelfSupervision(config.loss, device)
    seen = (pixels, objective, config.optimize, device)
    unit = config.models.unit
    if from_run is not None:
        model, problem = _from_network(from_run, models, unit, object_id, *seen)
        given = problem.R, problem.t
    else:
        assert init is not None
        key = recording.keys[index]
        pose = init if isinstance(init, Pose) else read_pose(init, object_id, key)
        model = _model_of(object_id, models or recording.models_path, unit, listener)
        path = None if isinstance(init, Pose) else track_file(init)
        refuse_behind(pose, model, path)
        if not in_view(pose, model, pixels.camera):
            raise outside(model, frame, path)
        problem, given = _from_pose(pose, model, seed, *seen)
    truth = _nearest(known, problem.t)
    task = ImageTask(problem, model, pixels, given=given, truth=truth, seed=seed)
    provenance = Provenance(
        **asked,
        data=absolute(data),
        from_run=absolute(from_run),
        frame=frame,
        scene=scene,
        object_id=object_id,
        init=None if init is None else INIT,
    )
    with tempfile.TemporaryDirectory() as folder:
        place_out = Path(folder) / "run" if out is None else out
        run = open_run(place_out, "single_image", config, provenance, seed=seed, models=[model])
        if remark:
            run.update(remark=remark)
        if init is not None:
            atomic_write(run.path / INIT, json.dumps(_pose_dict(pose)).encode())
        return run_task(task, run, config.loop, listener, control)


def _pose_dict(pose: Pose) -> dict[str, Any]:
    """As `read_pose` reads it."""
    return {"R_m2c": pose.R_m2c.tolist(), "t_m2c_m": pose.t_m2c.tolist()}


def read_pose(path: str | Path, object_id: int | None = None, key: FrameKey | None = None) -> Pose:
    """A pose from JSON: {"R_m2c": 3x3, "t_m2c": metres} or BOP's {"cam_R_m2c", "cam_t_m2c" (mm)}.

    "t_m2c_m" and "t_m2c_mm" name the unit. A list is searched for the object's number, a BOP
    scene_gt.json and an earlier track, its folder or `poses.json`, for that of the frame too; of a
    scene_gt.json with one image its poses are taken, and it is said if it is another.

    Raises:
        InputError: another shape, or no entry of that object and frame.
    """
    path = track_file(path)
    table = read_poses(path)
    if is_track(table):
        return _tracked_pose(path, object_id, key)
    if by_image(table):
        table = _of_image(table, path, key)
    if isinstance(table, list):
        rows = [row for row in table if isinstance(row, dict)]
        same = [r for r in rows if object_id in (None, r.get("obj_id"), r.get("object_id"))]
        if not same:
            raise InputError(f"holds no pose of object {object_id}", path=path, remedy=WRITE_POSE)
        table = same[0]
    return pose_of_row(table, path)


def _of_image(table: dict[str, Any], path: Path, key: FrameKey | None) -> Any:
    """What stands under a frame's number in a scene_gt.json."""
    numbers = {int(number): rows for number, rows in table.items()}
    if key is not None and key.image_id in numbers:
        return numbers[key.image_id]
    if len(numbers) > 1:
        asked = "" if key is None else f" {key.image_id}"
        raise InputError(
            f"holds poses of {len(numbers)} images, none of them image{asked}",
            path=path,
            remedy="Name one of its images with --frame, or give a file with one pose.",
        )
    ((number, rows),) = numbers.items()
    if key is not None:
        note(path, f"its pose is of image {number}: taken as the start for image {key.image_id}")
    return rows


def _tracked_pose(path: Path, object_id: int | None, key: FrameKey | None) -> Pose:
    found = [
        row.pose
        for row in read_pose_track(path)
        if row.pose is not None and object_id in (None, row.object_id) and key in (None, row.key)
    ]
    if not found or found[0] is None:
        image = "" if key is None else f" in image {key.image_id} of scene {key.scene_id}"
        raise InputError(
            f"holds no pose of object {object_id}{image}",
            path=path,
            remedy="Name a frame in which the track has it, or a file with its pose.",
        )
    return found[0]


def _from_network(
    from_run: str | Path,
    models: Paths | None,
    unit: str,
    object_id: int,
    frame: Frame,
    objective: SelfSupervision,
    config: OptimizeConfig,
    device: torch.device,
) -> tuple[ObjectModel, PoseProblem]:
    trained = load_network(from_run, device=device, models=models, unit=unit)
    ids = [model.object_id for model in trained.models]
    if object_id not in ids:
        raise InputError(
            f"does not know object {object_id}", path=Path(from_run), remedy=f"It knows {ids}."
        )
    position = ids.index(object_id)
    sensor = FrameBatch.of([frame], device)
    detections = trained.network.predict(sensor.images, sensor.K, score_threshold=LOWEST_SCORE)
    detections = detections[detections.object_index == position]
    if not len(detections):
        raise InputError(
            f"the network finds no object {object_id} in frame {frame.name or frame.image_id}",
            remedy="Give a start pose with --init instead.",
        )
    detections = detections[detections.score.argmax()[None]]
    packed = pack_models(trained.models, device=device)
    problem = problem_of_detections(sensor, detections, packed, objective, config)
    return trained.models[position], problem


def _model_of(
    object_id: int, models: Paths | None, unit: str, listener: Listener | None
) -> ObjectModel:
    if models is None:
        raise InputError("the recording brings no CAD models", remedy="Name them with --models.")
    given = load_given_models(models, unit)
    for model in given:
        if model.object_id == object_id:
            return model
    if len(given) > 1:
        ids = [model.object_id for model in given]
        raise InputError(f"no CAD model of object {object_id}", remedy=f"There are {ids}.")
    if listener is not None:  # one CAD file is meant, whatever its number
        text = f"the only CAD model, {given[0].name}, has number {given[0].object_id}"
        listener(Note("warning", f"{text}: it is taken for object {object_id}"))
    return given[0]


def _from_pose(
    pose: Pose,
    model: ObjectModel,
    seed: int,
    frame: Frame,
    objective: SelfSupervision,
    config: OptimizeConfig,
    device: torch.device,
) -> tuple[PoseProblem, tuple[Tensor, Tensor]]:
    R = torch.tensor(pose.R_m2c, dtype=torch.float32, device=device)[None]
    t = torch.tensor(pose.t_m2c, dtype=torch.float32, device=device)[None]
    return problem_of_pose(frame, R, t, model, objective, config, seed=seed), (R, t)


def _nearest(known: list[GroundTruth], t: Tensor) -> GroundTruth | None:
    """Of several instances the one nearest to the start."""
    at = t[0].double().cpu().numpy()
    return min(known, key=lambda k: float(np.linalg.norm(k.pose.t_m2c - at)), default=None)
