"""Tracks that are being made, as the window shows them; reading a checkpoint loads torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from self6d.config import from_dict
from self6d.datasets import Dataset
from self6d.datasets.pose_track import TrackState
from self6d.runs.checkpoint import unpack
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import run_models
from self6d.runs.provenance import Provenance
from self6d.tracking.config import TrackConfig
from self6d.tracking.work import rows_of
from studio.engine.types import PoseData, TrackRow


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
