"""Poses that colours are taken at: a track's sure ones, or those an adaptation selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from self6d.datasets import Recording
from self6d.datasets.pose_track import (
    PoseTrack,
    TrackedPose,
    TrackState,
    check_belongs,
    read_pose_track,
)
from self6d.datasets.splits import default_split, some_frames
from self6d.errors import InputError
from self6d.geometry import Pose
from self6d.paths import POSES
from self6d.runs.checkpoint import unpack
from self6d.runs.folder import RunFolder
from self6d.runs.provenance import Provenance
from self6d.scene import ObjectModel


@dataclass(frozen=True)
class PosesUsed:
    """Poses to take colours at.

    Attributes:
        accepted: sure enough. doubtful: the others that have a pose; they may hide something.
        source: what they are and how they were chosen, for people.
    """

    accepted: tuple[TrackedPose, ...]
    doubtful: tuple[TrackedPose, ...]
    source: str


def read_poses(
    source: str | Path,
    recording: Recording,
    objects: Sequence[ObjectModel],
    confidence: float,
) -> PosesUsed:
    """Poses of a track's file or of a run, see `recolour`.

    Raises:
        InputError: none is sure enough, or they belong to something else.
    """
    path, run = Path(source), None
    if path.is_dir():
        run, path = RunFolder.open(path), path / POSES
    if run is None or path.is_file():
        track = read_pose_track(path)
        check_belongs(track, path, recording, [model.object_id for model in objects])
        accepted = tuple(track.above(confidence))
        if not accepted:
            best = max((t.confidence for t in track), default=0.0)
            raise InputError(
                f"holds no pose with a confidence of {confidence:g}",
                path=path,
                remedy=f"Its surest has {best:.2f}: lower --confidence, or track again.",
            )
        said = (
            f"{len(accepted)} of {len(track)} poses have a confidence of {confidence:g} or more: a "
            "tracker's estimates, not ground truth"
        )
    else:
        track, chosen = _pseudo_poses(run, recording)
        check_belongs(track, run.path, recording, [model.object_id for model in objects])
        accepted = tuple(t for t, selected in zip(track, chosen, strict=True) if selected)
        if not accepted:
            raise InputError(
                f"none of its {len(track)} pseudo-poses was selected to learn from",
                path=run.path,
                remedy=f"Track the recording: track DATA --from {run.path} --out TRACK.",
            )
        said = (
            f"{len(accepted)} of {len(track)} pseudo-poses are those that the run selected to "
            "learn from; --confidence has no part in it"
        )
    taken = set(map(id, accepted))
    doubtful = tuple(t for t in track if t.pose is not None and id(t) not in taken)
    return PosesUsed(accepted, doubtful, said)


def _pseudo_poses(run: RunFolder, recording: Recording) -> tuple[PoseTrack, list[bool]]:
    """The newest pseudo-poses of an adaptation to this recording, and which were selected."""
    other = InputError(
        "has no poses of this recording: it is no track, and no adaptation to it with pseudo-poses",
        path=run.path,
        remedy=f"Make a track: track {recording.root} --from {run.path} --out TRACK.",
    )
    told = Provenance.from_dict(run.info["provenance"])
    if run.kind != "selfsup" or told.data is None:
        raise other
    if Path(told.data).resolve() != Path(recording.root).resolve():
        raise other
    newest = run.latest_checkpoint()
    tree = {} if newest is None else unpack(run.load_checkpoint(newest).state())
    state = tree.get("teacher", {}).get("pseudo_labels") if isinstance(tree, dict) else None
    if not state or not bool((state["trust"] > 0).any()):
        raise other
    frames = some_frames(recording, default_split(recording, told.split, "adapt"), told.share)
    found = [state[f"detections.{name}"].tolist() for name in ("image_index", "object_index")]
    R, t, trust = (state[name].double().cpu().numpy() for name in ("R", "t", "trust"))
    if max(found[0], default=0) >= len(frames):
        raise other  # frames were taken away since
    poses, seen = [], dict[tuple[int, int], int]()
    for i, (frame, index) in enumerate(zip(*found, strict=True)):
        instance = seen[frame, index] = seen.get((frame, index), -1) + 1
        poses.append(
            TrackedPose(
                frames.keys[frame], tree["object_ids"][index], instance, TrackState.TRACKED,
                Pose(R[i], t[i]), min(1.0, max(0.0, float(trust[i]))),
            )
        )  # fmt: skip
    return PoseTrack(tuple(poses)), state["selected"].tolist()
