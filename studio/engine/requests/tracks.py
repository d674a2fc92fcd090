"""Tracks as the window shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from self6d.config import from_dict
from self6d.datasets import Dataset, FrameKey
from self6d.datasets.pose_track import PoseTrack, TrackState, read_pose_track
from self6d.paths import POSES
from self6d.runs.checkpoint import unpack
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import run_models
from self6d.runs.provenance import Provenance
from self6d.tracking.config import TrackConfig
from self6d.tracking.work import rows_of
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


def read_track_so_far(run: Path, dataset: Dataset) -> tuple[TrackRow, ...]:
    """Poses that a track at work has found until its newest checkpoint; none before the first."""
    folder = RunFolder.open(run)
    newest = folder.latest_checkpoint()
    if newest is None:
        return ()
    split = Provenance.from_dict(folder.info["provenance"]).split
    place = {key: i for i, key in enumerate(dataset.keys)}
    keys = (dataset if split is None else dataset.split(split)).keys
    ids = [model.object_id for model in run_models(folder)]
    weak = from_dict(TrackConfig, folder.config["track"], prefix="track.").weak
    found = rows_of(unpack(folder.load_checkpoint(newest).state())["found"])
    return tuple(
        TrackRow(
            place[keys[i]], ids[target.model], target.instance,
            str(TrackState.TRACKED if row.confidence >= weak else TrackState.WEAK), row.confidence,
            PoseData(
                ids[target.model], np.array(row.R).reshape(3, 3), np.array(row.t), row.confidence
            ),
        )
        for (i, target), row in found.items()
        if keys[i] in place
    )  # fmt: skip


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
