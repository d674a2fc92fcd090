"""The session as a file of the viewer Rerun."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from self6d.datasets import Dataset
from self6d.events import count_listener
from self6d.geometry import Pose
from self6d.labelling.rerun_file import Shown, write_rrd
from self6d.runs.folder import RunFolder
from self6d.scene import ObjectModel
from studio.engine.types import PoseData

Layers = Mapping[str, Mapping[int, Sequence[PoseData]]]


def write_session(
    out: Path, dataset: Dataset, models: Sequence[ObjectModel], layers: Layers,
    runs: Mapping[str, str], tell: Callable[[tuple[int, int]], object],
) -> None:  # fmt: skip
    """Frames, poses of layers (by name, then by index of the frame) and curves of runs.

    Args:
        runs: folders, by the name that their curves are shown under. tell: takes (done, total).
    """
    poses = {
        name: {
            index: [Shown(p.object_id, Pose(p.R, p.t), p.score) for p in found]
            for index, found in frames.items()
        }
        for name, frames in layers.items()
    }
    curves = {name: RunFolder.open(folder).curves() for name, folder in runs.items()}
    # the dialog has asked whether a file may give way
    write_rrd(out, dataset, models, poses, count_listener(tell), curves, replace=True)
