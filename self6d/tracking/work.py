"""What is to be followed, from where and which way; and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from self6d.datasets import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState
from self6d.geometry import Pose
from self6d.tracking.follow import Memory

Kind = Literal["seek", "follow", "close", "settle"]


@dataclass(frozen=True, order=True)
class Target:
    """One thing that is followed: position in the list of models, and which of several alike."""

    model: int
    instance: int = 0


@dataclass(frozen=True)
class Start:
    """A pose from which a target is followed.

    Attributes:
        frame: index in the recording. R: (3, 3). t: (3,), metres.
    """

    frame: int
    target: Target
    R: np.ndarray
    t: np.ndarray

    def rounded(self) -> tuple[Any, ...]:
        """To compare with another: to the micrometre."""
        return self.frame, self.target, *self.R.round(6).flat, *self.t.round(6)


@dataclass
class Walk:
    """Frames that one target is followed over, one a step.

    Attributes:
        kind: "seek" walks until the target is found anywhere, "follow" goes on to the end, "close"
            ends where the target is lost, "settle" looks where the arrangement puts it.
        frames: indices that are still to come, in order.
        begin: frame whose pose it goes on from, if another walk has seen it.
    """

    kind: Kind
    target: Target
    frames: list[int]
    memory: Memory = field(default_factory=Memory)
    begin: int | None = None

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "kind": self.kind,
            "target": asdict(self.target),
            "frames": self.frames,
            "memory": self.memory.state(),
            "begin": self.begin,
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> Walk:
        """Inverse of `state`."""
        target, memory = Target(**state["target"]), Memory.of(state["memory"])
        frames = [int(i) for i in state["frames"]]
        return cls(state["kind"], target, frames, memory, state["begin"])


@dataclass(frozen=True)
class Row:
    """A target's pose in one frame: R as 9 numbers by rows, t in metres, and how sure it is."""

    R: list[float]
    t: list[float]
    confidence: float


Found = dict[tuple[int, Target], Row]
"""Poses by (frame, target); where a target is lost there is no entry."""


def first_walks(
    keys: Sequence[FrameKey],
    scenes: Sequence[Sequence[int]],
    targets: Sequence[Target],
    starts: Sequence[Start],
    known: Collection[tuple[int, Target]] = (),
) -> list[Walk]:
    """Walks that look at every frame once: to both sides of starts, seeking where there are none.

    Between two starts, frames are walked from the nearer one, by their place in the scene.

    Args:
        scenes: frame indices of each scene, in order of time.
        known: frames of targets that are not looked at.
    """
    walks = []
    for frames in scenes:
        for target in targets:
            place = {frame: i for i, frame in enumerate(frames)}
            own = sorted(
                (s for s in starts if s.target == target and s.frame in place),
                key=lambda s: place[s.frame],
            )
            if not own:
                walks.append(Walk("seek", target, list(frames)))
                continue
            at = [place[s.frame] for s in own]
            ends = [*(_meet(a, b) for a, b in pairwise(at)), len(frames)]
            begins = [0, *ends[:-1]]
            for start, i, begin, end in zip(own, at, begins, ends, strict=True):
                walks.append(_from(keys, start, list(frames[i:end])))
                walks.append(_from(keys, start, list(frames[begin:i][::-1])))
    for walk in walks:
        walk.frames = [i for i in walk.frames if (i, walk.target) not in known]
    return [walk for walk in walks if walk.frames]


def seams(
    scenes: Sequence[Sequence[int]], starts: Sequence[Start]
) -> list[tuple[Target, int, int]]:
    """Where frames followed from one start meet those of the next: (target, frame, next frame)."""
    met = []
    for frames in scenes:
        place = {frame: i for i, frame in enumerate(frames)}
        for target in sorted({s.target for s in starts}):
            own = [s.frame for s in starts if s.target == target and s.frame in place]
            at = sorted({place[frame] for frame in own})
            ends = [_meet(a, b) for a, b in pairwise(at)]
            met += [(target, frames[end - 1], frames[end]) for end in ends]
    return met


def _meet(a: int, b: int) -> int:
    """The first place between two starts that is nearer to the later one."""
    return (a + b) // 2 + 1


def _from(keys: Sequence[FrameKey], start: Start, frames: list[int]) -> Walk:
    memory = Memory()
    memory.saw(keys[start.frame].image_id, start.R, start.t)
    memory.stood(start.frame, start.R, start.t)
    return Walk("follow", start.target, frames, memory, start.frame)


def gaps(scenes: Sequence[Sequence[int]], targets: Sequence[Target], found: Found) -> list[Walk]:
    """Walks back into lost stretches from the frames where the targets were found again."""
    walks = []
    for frames in scenes:
        for target in targets:
            before: list[int] = []
            for i in frames:
                row = found.get((i, target))
                if row is None:
                    before.append(i)
                    continue
                if before:
                    walks.append(Walk("close", target, before[::-1], Memory(), i))
                before = []
    return walks


def upcoming(index: int, walks: Sequence[Walk], most: int) -> list[tuple[int, int | None]]:
    """The frames that are looked at after `index`, unless what is seen changes the plan.

    Returns:
        at most so many, in order; each with the frame from which the camera's way to it is asked
        for if nothing is lost, None where it is not.
    """
    coming: list[tuple[int, int | None]] = []
    before: int | None = index
    for place, walk in enumerate(walks):
        before = walk.begin if place else before
        for i in walk.frames[: most - len(coming)]:
            coming.append((i, before if walk.kind in ("follow", "close") else None))
            before = i
        if len(coming) == most:
            break
    return coming


def tracked_poses(
    keys: Sequence[FrameKey],
    scenes: Sequence[Sequence[int]],
    targets: Sequence[Target],
    object_ids: Sequence[int],
    found: Found,
    weak: float,
    again: float,
) -> list[TrackedPose]:
    """What `poses.json` holds: every target in every frame, lost ones included.

    Args:
        object_ids: of the models. weak: confidence below which a pose is weak. again: that a lost
            object needs to count as found again.
    """
    rows = []
    for frames in scenes:
        lost = dict.fromkeys(targets, False)
        for i in frames:
            for target in targets:
                row = found.get((i, target))
                state, pose = TrackState.LOST, None
                if row is not None:
                    pose = Pose(np.array(row.R).reshape(3, 3), np.array(row.t))
                    state = TrackState.TRACKED if row.confidence >= weak else TrackState.WEAK
                    if lost[target] and row.confidence >= again:
                        state, lost[target] = TrackState.FOUND_AGAIN, False
                else:
                    lost[target] = True
                confidence = 0.0 if row is None else row.confidence
                rows.append(
                    TrackedPose(
                        keys[i], object_ids[target.model], target.instance, state, pose, confidence
                    )
                )
    return rows
