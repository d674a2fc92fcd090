"""What is to be followed, from where and which way; and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch

from self6d.datasets import FrameKey, UnlabelledFrames
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState
from self6d.geometry import Pose, axis_angle_to_matrix, matrix_to_axis_angle
from self6d.scene import ObjectModel
from self6d.tracking.still.odometry import Motion

SAME_TURN = float(np.cos(0.01))  # a camera that moved less stood still
SAME_PLACE_M = 0.002

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


Between = Callable[[int, int], Motion | None]
"""How the camera moved from one frame to another, by their indices; None: not known."""


@dataclass
class Memory:
    """What is known of an object when the next frame comes; plain numbers, for checkpoints.

    Attributes:
        poses: the last two poses and when they were: (time, R as 9 numbers by rows, t in metres).
        missed: frames since the last one with a pose. confidence: of the last pose.
        look: what is known of the object's paint, see `ObjectFitter.learned`; None: nothing yet.
        standing: where it is if it stands still in the scene: (index of a frame, R, t).
        carried: whether that is known of the frame at hand.
        doubts: frames in which its paint alone spoke against it where a network sees it.
    """

    poses: list[tuple[float, list[float], list[float]]] = field(default_factory=list)
    missed: int = 0
    look: list[float] | None = None
    confidence: float = 1.0
    standing: tuple[int, list[float], list[float]] | None = None
    carried: bool = False
    doubts: int = 0

    def stood(self, index: int, R: np.ndarray, t: np.ndarray) -> None:
        """Where it is at a frame, for when the camera moves on."""
        self.standing = (int(index), [float(v) for v in R.ravel()], [float(v) for v in t])

    def carry(self, index: int, between: Between) -> None:
        """To the frame at hand, by how the camera moved."""
        if self.standing is None:
            return
        at, R, t = self.standing
        motion = between(at, index)
        self.carried = motion is not None
        if motion is not None:
            self.stood(index, *motion.of(np.reshape(R, (3, 3)), np.array(t)))

    def saw(self, time: float, R: np.ndarray, t: np.ndarray, confidence: float = 1.0) -> None:
        """The object was seen."""
        self.confidence = confidence
        row = (float(time), [float(v) for v in R.ravel()], [float(v) for v in t])
        self.poses = [*self.poses[-1:], row]
        self.missed = 0

    def guesses(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Where it may be now: the last pose, that of constant velocity, that of standing still.

        The second if there is one, the last if the camera moved.

        Returns:
            (N, 3, 3) and (N, 3) float32, N being 0 to 3.
        """
        poses = [(np.reshape(R, (3, 3)), np.asarray(t)) for _, R, t in self.poses]
        if len(poses) == 2 and not self.missed:
            (R0, t0), (R1, t1) = poses
            before, last = self.poses[0][0], self.poses[1][0]
            ahead = min(max((time - last) / (last - before), -3.0), 3.0) if last != before else 0.0
            turn = matrix_to_axis_angle(torch.from_numpy(R1 @ R0.T)) * ahead
            R2 = axis_angle_to_matrix(turn).numpy() @ R1
            poses.append((R2, t1 + ahead * (t1 - t0)))
        poses = poses[-2:] if len(poses) == 3 else poses[-1:]
        if self.standing is not None and poses:
            stood_R, stood_t = np.reshape(self.standing[1], (3, 3)), np.array(self.standing[2])
            apart = (np.trace(stood_R.T @ poses[0][0]) - 1) / 2
            if apart < SAME_TURN or np.linalg.norm(stood_t - poses[0][1]) > SAME_PLACE_M:
                poses.append((stood_R, stood_t))
        R = np.array([p[0] for p in poses], np.float32).reshape(-1, 3, 3)
        return R, np.array([p[1] for p in poses], np.float32).reshape(-1, 3)

    def state(self) -> dict[str, Any]:
        """What JSON can hold."""
        poses = [list(p) for p in self.poses]
        return {
            "poses": poses, "missed": self.missed, "look": self.look,
            "confidence": self.confidence, "doubts": self.doubts,
            "standing": None if self.standing is None else list(self.standing),
        }  # fmt: skip

    @classmethod
    def of(cls, state: dict[str, Any]) -> Memory:
        """Inverse of `state`."""
        poses = [(float(a), list(b), list(c)) for a, b, c in state["poses"]]
        memory = cls(poses, int(state["missed"]), state["look"], float(state["confidence"]))
        memory.doubts = int(state.get("doubts", 0))
        if state.get("standing") is not None:
            index, R, t = state["standing"]
            memory.standing = (int(index), list(R), list(t))
        return memory


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


def known_rows(
    kept: PoseTrack | None, frames: UnlabelledFrames, models: Sequence[ObjectModel]
) -> dict[tuple[int, Target], Row | None]:
    """A track's rows by frame and target; None where it is lost."""
    place = {key: i for i, key in enumerate(frames.keys)}
    ids = [model.object_id for model in models]
    return {
        (place[p.key], Target(ids.index(p.object_id), p.instance)): None
        if p.pose is None
        else Row(p.pose.R_m2c.ravel().tolist(), p.pose.t_m2c.tolist(), p.confidence)
        for p in kept or ()
        if p.key in place and p.object_id in ids
    }


def listed_rows(found: Found) -> list[list[Any]]:
    """What JSON can hold."""
    return [
        [i, target.model, target.instance, row.R, row.t, row.confidence]
        for (i, target), row in found.items()
    ]


def rows_of(rows: Sequence[Sequence[Any]]) -> Found:
    """Inverse of `listed_rows`."""
    return {
        (int(i), Target(int(m), int(n))): Row(list(R), list(t), float(c))
        for i, m, n, R, t, c in rows
    }


def scenes_of(frames: UnlabelledFrames, cuts: Collection[int]) -> list[list[int]]:
    """Frame indices of each scene, or piece of one, by image number."""
    scenes: dict[int, list[int]] = {}
    for i, key in enumerate(frames.keys):
        scenes.setdefault(key.scene_id, []).append(i)
    pieces: list[list[int]] = []
    for own in scenes.values():
        own.sort(key=lambda i: frames.keys[i])
        for i in own:
            if i == own[0] or i in cuts:
                pieces.append([])
            pieces[-1].append(i)
    return pieces
