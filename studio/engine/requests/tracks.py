"""Tracks as the window shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import PoseTrack, read_pose_track
from self6d.paths import POSES
from studio.engine.types import PoseData, TrackData, TrackRow

STARTS = "starts.json"  # in the folder of a run of `track`


def read_track(run: Path, keys: Sequence[FrameKey]) -> TrackData:
    """Poses and starts of a run; frames that the recording has not are left out."""
    place = {key: i for i, key in enumerate(keys)}
    starts = run / STARTS
    return TrackData(
        _rows(read_pose_track(run / POSES), place),
        _rows(read_pose_track(starts), place) if starts.exists() else (),
    )


def _rows(track: PoseTrack, place: dict[FrameKey, int]) -> tuple[TrackRow, ...]:
    return tuple(
        TrackRow(
            place[p.key], p.object_id, p.instance, p.state.value, p.confidence,
            None if p.pose is None
            else PoseData(p.object_id, p.pose.R_m2c, p.pose.t_m2c, p.confidence),
        )
        for p in track
        if p.key in place
    )  # fmt: skip
