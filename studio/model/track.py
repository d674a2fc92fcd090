"""A track through the open recording, and which frames of it are to be followed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.engine.types import PoseData, TrackData, TrackRow

PoseKey = tuple[int, int]  # frame index, object id
LOST, WEAK = "lost", "weak"
NOT_REACHED = "lost or not reached"  # a stopped track does not tell which


@dataclass
class Track:
    """What a run of `track` found, as far as it is known.

    Attributes:
        states: state and confidence by frame and object; of several instances the least sure.
        starts: poses it was followed from. rows: all it found; empty while it is being made.
        stopped: it had not come to all frames.
    """

    run: Path
    states: dict[PoseKey, tuple[str, float]] = field(default_factory=dict)
    starts: dict[PoseKey, PoseData] = field(default_factory=dict)
    rows: tuple[TrackRow, ...] = ()
    stopped: bool = False

    @classmethod
    def of(cls, run: Path, data: TrackData, *, stopped: bool = False) -> Track:
        """A finished (or stopped) one."""
        track = cls(run, rows=data.rows, stopped=stopped)
        for row in data.rows:
            key = (row.index, row.object_id)
            known = track.states.get(key)
            if known is None or row.confidence < known[1]:
                state = NOT_REACHED if stopped and row.state == LOST else row.state
                track.states[key] = (state, row.confidence)
        for row in data.starts:
            if row.pose is not None and row.instance == 0:
                track.starts[row.index, row.object_id] = row.pose
        return track

    def strip(self, object_id: int | None) -> dict[int, tuple[str, float]]:
        """State and confidence of one object by frame."""
        return {i: state for (i, number), state in self.states.items() if number == object_id}

    def counts(self, object_id: int | None) -> dict[str, int]:
        """How many frames are in which state."""
        found: dict[str, int] = {}
        for state, _ in self.strip(object_id).values():
            found[state] = found.get(state, 0) + 1
        return found

    def sure(self, confidence: float) -> int:
        """Poses of at least this confidence."""
        return sum(r.pose is not None and r.confidence >= confidence for r in self.rows)

    def doubtful(self, object_id: int | None, limit: float) -> list[int]:
        """Frames in which an object is lost, or less sure than a limit."""
        return sorted(i for i, (_, c) in self.strip(object_id).items() if c < limit)

    def corrected(self, keys: Mapping[PoseKey, PoseData]) -> set[PoseKey]:
        """Key frames it was not followed from: placed or changed since."""
        return {k for k, pose in keys.items() if not _same(self.starts.get(k), pose)}

    def again(self, keys: Mapping[PoseKey, PoseData], scenes: list[int]) -> tuple[TrackRow, ...]:
        """What stands when corrected key frames are followed again.

        Each is followed to both sides as far as the next key frame of its object and scene.

        Args:
            scenes: scene number of every frame.
        """
        redo: set[PoseKey] = set()
        for index, number in self.corrected(keys):
            own = [i for i, n in keys if n == number and scenes[i] == scenes[index]]
            low = max((i for i in own if i < index), default=-1)
            high = min((i for i in own if i > index), default=len(scenes))
            redo |= {(i, number) for i in range(low + 1, high) if scenes[i] == scenes[index]}
        return tuple(r for r in self.rows if r.instance > 0 or (r.index, r.object_id) not in redo)


def file_of(rows: Iterable[TrackRow], addresses: list[tuple[int, int]]) -> dict[str, Any]:
    """Rows as `self6d.datasets.pose_track` reads them.

    Args:
        addresses: scene and image number of every frame.
    """
    from self6d.datasets.pose_track import VERSION  # not before the first paint

    table = []
    for row in rows:
        scene, image = addresses[row.index]
        entry: dict[str, Any] = {
            "scene": scene, "image": image, "object": row.object_id, "instance": row.instance,
            "state": row.state,
        }  # fmt: skip
        if row.pose is not None:
            entry |= {
                "confidence": row.confidence,
                "R_m2c": [float(v) for v in row.pose.R.ravel()],
                "t_m2c_mm": [1000 * float(v) for v in row.pose.t],
            }
        table.append(entry)
    return {"version": VERSION, "poses": table}


def starts_of(keys: Mapping[PoseKey, PoseData]) -> list[TrackRow]:
    """Key frames as rows."""
    return [TrackRow(i, number, 0, "tracked", 1.0, pose) for (i, number), pose in keys.items()]


def _same(a: PoseData | None, b: PoseData) -> bool:
    return a is not None and np.allclose(a.t, b.t, atol=1e-6) and np.allclose(a.R, b.R, atol=1e-6)
