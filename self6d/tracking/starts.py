"""Where tracking begins, as people write it: one pose, several, or an earlier track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from self6d.datasets import Recording
from self6d.datasets.pose_track import PoseTrack, read_pose_track
from self6d.errors import InputError
from self6d.files import WRITE_POSE, note, read_poses
from self6d.geometry import Camera, Pose
from self6d.paths import track_file
from self6d.scene import ObjectModel
from self6d.tracking.work import Start, Target

TRIED = 20  # start poses of one object that are looked at for one in view


def read_starts(
    init: str | Path | Pose | PoseTrack,
    recording: Recording,
    models: Sequence[ObjectModel],
    *,
    frame: int | None = None,
    scene: int | None = None,
) -> list[Start]:
    """Rough poses to follow from.

    Args:
        init: a pose or a JSON file: {"R_m2c", "t_m2c_mm"} or a list of such with "obj_id" (at
            `frame`, the first one where it is None), BOP's scene_gt.json {"image": [...]} (several
            images are several starts), or an earlier track, its folder or `poses.json`.
        models: those that are followed; poses of other objects are passed over.

    Raises:
        InputError: holds no pose of any of them, or names frames that are not there.
    """
    ids = [model.object_id for model in models]
    if isinstance(init, Pose):
        if len(models) != 1:
            raise InputError(
                f"one pose is given and there are {len(models)} models",
                remedy="Name the object with --object, or give a file with obj_id.",
            )
        return [_start(_index(recording, frame, scene), Target(0), init, models)]
    if isinstance(init, PoseTrack):
        return _from_track(init, recording, models, None)
    path = track_file(init)
    table = read_poses(path)
    if is_track(table):
        return _from_track(read_pose_track(path), recording, models, path)
    by_frame: list[tuple[int, list[Any]]]
    if by_image(table):
        by_frame = [
            (recording.index(int(k), scene), v if isinstance(v, list) else [v])
            for k, v in table.items()
        ]
    else:
        rows = table if isinstance(table, list) else [table]
        by_frame = [(_index(recording, frame, scene), rows)]
    found: list[Start] = []
    passed: set[Any] = set()  # objects that are not followed
    for index, rows in by_frame:
        count: dict[int, int] = {}
        for row in rows:
            if not isinstance(row, dict):
                continue
            object_id = row.get("obj_id", row.get("object_id"))
            if object_id is None and len(ids) > 1:
                raise InputError(
                    f"a pose does not say whose it is, and there are {len(ids)} models",
                    path=path,
                    remedy='Name the object with --object, or write its "obj_id".',
                )
            model = 0 if object_id is None else ids.index(object_id) if object_id in ids else None
            if model is None:
                passed.add(object_id)
                continue
            target = Target(model, count.get(model, 0))
            count[model] = target.instance + 1
            found.append(_start(index, target, pose_of_row(row, path), models, path))
    if not found:
        remedy = "Check obj_id." if passed else WRITE_POSE
        raise InputError(f"holds no pose of objects {ids}", path=path, remedy=remedy)
    if passed:
        others = ", ".join(sorted(map(str, passed)))
        note(path, f"poses of objects that are not followed are left out: {others}")
    return found


def is_track(table: object) -> bool:
    """Whether JSON is an earlier track, as `read_pose_track` reads it."""
    return isinstance(table, dict) and "version" in table and "poses" in table


def by_image(table: object) -> TypeGuard[dict[str, Any]]:
    """Whether JSON holds poses under image numbers, as BOP's scene_gt.json does."""
    return isinstance(table, dict) and bool(table) and all(str(k).isdecimal() for k in table)


def _from_track(
    track: PoseTrack, recording: Recording, models: Sequence[ObjectModel], path: Path | None
) -> list[Start]:
    place = {key: i for i, key in enumerate(recording.keys)}
    ids = [model.object_id for model in models]
    rows = [p for p in track if p.pose is not None and p.object_id in ids]
    found = [
        _start(place[p.key], Target(ids.index(p.object_id), p.instance), p.pose, models, path)
        for p in rows
        if p.key in place and p.pose is not None
    ]
    if not found:
        raise InputError(f"holds no pose of objects {ids} in frames of this recording", path=path)
    if path is not None and len(found) < len(rows):
        text = f"{len(rows) - len(found)} of {len(rows)} poses are of frames that are not"
        note(path, f"{text} among those followed, and are left out: is it of this recording?")
    return found


def _start(
    index: int,
    target: Target,
    pose: Pose,
    models: Sequence[ObjectModel],
    path: Path | None = None,
) -> Start:
    refuse_behind(pose, models[target.model], path)
    return Start(index, target, pose.R_m2c, pose.t_m2c)


def refuse_behind(pose: Pose, model: ObjectModel, path: Path | None = None) -> None:
    """InputError where an object's middle is behind the camera (its origin may well be), or the
    camera within the object's box: millimetres that were metres put it there."""
    z = float(pose.transform(model.extents.mean(0, keepdims=True))[0, 2])
    if z <= 0:
        raise InputError(
            f"a start pose lies behind the camera: the middle of {model.name} at z = "
            f"{1000 * z:.0f} mm",
            path=path,
            remedy="Give it in the camera's frame: x right, y down, z forward.",
        )
    camera = -pose.R_m2c.T @ pose.t_m2c
    low, high = model.extents
    if ((low < camera) & (camera < high)).all():
        away = 1000 * float(np.linalg.norm(pose.transform(model.extents.mean(0, keepdims=True))))
        raise InputError(
            f"a start pose puts the camera inside {model.name}: its middle is {away:.1f} mm away, "
            f"and it is {1000 * model.diameter:.0f} mm large",
            path=path,
            remedy="Look at the unit: t_m2c_mm is in millimetres, t_m2c_m in metres.",
        )


def refuse_unseen(
    starts: Sequence[Start],
    recording: Recording,
    models: Sequence[ObjectModel],
    path: Path | None = None,
) -> None:
    """InputError where no start pose of an object, of the first `TRIED`, puts it into its image."""
    of_target: dict[Target, list[Start]] = {}
    for start in starts:
        of_target.setdefault(start.target, []).append(start)
    for target, own in of_target.items():
        model = models[target.model]
        cameras = (recording.frame(s.frame, depth=False).camera for s in own[:TRIED])
        if not any(in_view(Pose(s.R, s.t), model, c) for s, c in zip(own, cameras, strict=False)):
            raise outside(model, recording.keys[own[0].frame].image_id, path)


def in_view(pose: Pose, model: ObjectModel, camera: Camera) -> bool:
    """Whether a rough pose (it may be off by a diameter) may show something of an object."""
    xyz = pose.transform(model.vertices.astype(np.float64))
    xyz = xyz[xyz[:, 2] > 0]
    if not len(xyz):
        return False
    xy = xyz @ camera.K.T
    xy = xy[:, :2] / xy[:, 2:]
    margin = model.diameter * camera.K[[0, 1], [0, 1]] / xyz[:, 2].mean()
    size = np.array([camera.width, camera.height])
    return bool((xy.max(0) > -margin).all() and (xy.min(0) < size + margin).all())


def outside(model: ObjectModel, image: int, path: Path | None) -> InputError:
    """What is said of a start pose that shows nothing."""
    return InputError(
        f"its start pose puts {model.name} outside of image {image}",
        path=path,
        remedy="Give the pose of the CAD file's own origin, with the unit in its key (t_m2c_mm, "
        "t_m2c_m), and the image that it is of.",
    )


def _index(recording: Recording, frame: int | None, scene: int | None) -> int:
    if frame is not None:
        return recording.index(frame, scene)
    own = [i for i, key in enumerate(recording.keys) if scene in (None, key.scene_id)]
    if not own:
        scenes = sorted({key.scene_id for key in recording.keys})
        raise InputError(
            f"there is no scene {scene}", path=recording.root, remedy=f"There are {scenes}."
        )
    return own[0]


def pose_of_row(table: dict[str, Any], path: Path) -> Pose:
    """One pose of a JSON file, see `jobs.optimize.read_pose`; InputError where it is none."""
    for key, scale in (("t_m2c_mm", 0.001), ("cam_t_m2c", 0.001), ("t_m2c_m", 1.0), ("t_m2c", 1.0)):
        if key in table:
            try:
                R = np.asarray(table.get("R_m2c", table.get("cam_R_m2c")), np.float64)
                return Pose(R.reshape(3, 3), np.asarray(table[key], np.float64).reshape(3) * scale)
            except (TypeError, ValueError):
                break
            except InputError as error:
                raise InputError(error.what, path=path, remedy=error.remedy) from None
    raise InputError("holds no pose", path=path, remedy=WRITE_POSE)
