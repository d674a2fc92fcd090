"""Poses through a recording, as `track` writes and `label`, `train` and `adapt --poses` read them.

The file is JSON, one row an object and frame:

    {"version": 1, "poses": [{"scene": 1, "image": 0, "object": 5, "instance": 0,
                              "state": "tracked", "confidence": 0.97,
                              "R_m2c": [9 numbers, by rows], "t_m2c_mm": [x, y, z]}]}

A lost object has neither pose nor confidence; what a stopped run did not reach counts as lost.
Poses are those of the CAD file's own frame.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets.base import Dataset, FrameKey
from self6d.errors import InputError, from_os_error
from self6d.files import read_json
from self6d.geometry import Pose
from self6d.paths import track_file
from self6d.storage import atomic_write

VERSION = 1


class TrackState(enum.StrEnum):
    """What the tracker says of one object in one frame."""

    TRACKED = "tracked"
    WEAK = "weak"  # a pose, but little of the image supports it
    LOST = "lost"  # no pose
    FOUND_AGAIN = "found again"  # the first sure enough after a lost one


@dataclass(frozen=True)
class TrackedPose:
    """One object in one frame.

    Attributes:
        key: the frame.
        object_id: the object's number.
        instance: counts objects of the same number within a frame, from 0.
        state: what the tracker says of it.
        pose: model to camera, metres, in the CAD file's own frame; None where it is lost.
        confidence: estimated probability in [0, 1] that the pose is within a tenth of the diameter
            (ADD(-S)); 0 where it is lost.
    """

    key: FrameKey
    object_id: int
    instance: int
    state: TrackState
    pose: Pose | None
    confidence: float

    def __post_init__(self) -> None:
        if (self.pose is None) != (self.state is TrackState.LOST):
            raise InputError("a tracked object has a pose exactly where it is not lost")
        if not 0 <= self.confidence <= 1:
            raise InputError(f"confidence is a probability, not {self.confidence}")


@dataclass(frozen=True)
class PoseTrack:
    """All objects of all frames, in the order of the file.

    Attributes:
        path: the file they were read from, for those who have to name it.
    """

    poses: tuple[TrackedPose, ...]
    path: Path | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.poses)

    def __iter__(self) -> Iterator[TrackedPose]:
        return iter(self.poses)

    def of_frame(self, key: FrameKey) -> tuple[TrackedPose, ...]:
        """The objects of one frame, lost ones included."""
        return tuple(pose for pose in self.poses if pose.key == key)

    def above(self, confidence: float) -> PoseTrack:
        """Only poses with at least this confidence."""
        sure = (p for p in self.poses if p.pose is not None and p.confidence >= confidence)
        return PoseTrack(tuple(sure), self.path)


def write_pose_track(
    path: str | Path, poses: Sequence[TrackedPose], *, again: bool = False
) -> None:
    """Write the file of the module's docstring, whole or not at all.

    Args:
        again: what it is written from is kept, so that `--resume` can write it.

    Raises:
        StorageError, InputError: it cannot be written.
    """
    rows = [_row(pose) for pose in poses]
    lines = ",\n".join(json.dumps(row) for row in rows)
    text = f'{{"version": {VERSION}, "poses": [\n{lines}\n]}}\n'
    try:
        atomic_write(Path(path), text.encode())
    except OSError as error:
        how = {"remedy": "Free space or make it writable again, then go on with --resume."}
        raise from_os_error(error, path, **(how if again else {})) from error


def read_pose_track(path: str | Path) -> PoseTrack:
    """Read the file of the module's docstring.

    Args:
        path: of the file, or of a run folder that has one.

    Raises:
        InputError: no such file, another version, or an entry that is no pose.
    """
    path = track_file(path)
    table = read_json(path, "pose track")
    if table.get("version") != VERSION or not isinstance(table.get("poses"), list):
        raise InputError(
            "is no pose track", path=path, remedy="Give the poses.json of a run of track."
        )
    return PoseTrack(tuple(_entry(row, path, i) for i, row in enumerate(table["poses"])), path)


def check_belongs(
    track: PoseTrack, path: str | Path, dataset: Dataset, object_ids: Sequence[int]
) -> None:
    """Whether a track is one of a recording and of the objects there are CAD models of.

    Args:
        path: of the track, to be named.

    Raises:
        InputError: it names frames that the recording has not, or other objects.
    """
    strange = {t.key for t in track} - set(dataset.keys)
    if strange:
        first = min(strange)
        raise InputError(
            f"names {len(strange)} frames that the recording has not, such as image "
            f"{first.image_id} of scene {first.scene_id}",
            path=path,
            remedy=f"Give the recording it was made from, not {dataset.root}.",
        )
    unknown = {t.object_id for t in track} - set(object_ids)
    if unknown:
        raise InputError(
            f"holds poses of object {min(unknown)}, which has no CAD model here",
            path=path,
            remedy=f"There are {sorted(object_ids)}; name it with --models.",
        )


def _row(tracked: TrackedPose) -> dict[str, Any]:
    row: dict[str, Any] = {
        "scene": tracked.key.scene_id,
        "image": tracked.key.image_id,
        "object": tracked.object_id,
        "instance": tracked.instance,
        "state": tracked.state.value,
    }
    if tracked.pose is not None:
        row["confidence"] = round(tracked.confidence, 4)
        row["R_m2c"] = [float(v) for v in tracked.pose.R_m2c.reshape(-1)]
        row["t_m2c_mm"] = [float(v) * 1000 for v in tracked.pose.t_m2c]
    return row


def _entry(row: Any, path: Path, index: int) -> TrackedPose:
    try:
        state = TrackState(row["state"])
        pose = None
        if state is not TrackState.LOST:
            t = np.asarray(row["t_m2c_mm"], dtype=np.float64) / 1000
            pose = Pose(np.asarray(row["R_m2c"], dtype=np.float64).reshape(3, 3), t)
        return TrackedPose(
            key=FrameKey(int(row["scene"]), int(row["image"])),
            object_id=int(row["object"]),
            instance=int(row.get("instance", 0)),
            state=state,
            pose=pose,
            confidence=float(row.get("confidence", 0)),
        )
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"pose track holds an entry that is no pose (number {index}: {error})",
            path=path,
            remedy="Write the file with track again, or delete that entry.",
        ) from None
