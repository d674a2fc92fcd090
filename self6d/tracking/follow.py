"""One object followed from frame to frame: motion, hypotheses, lost and found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from self6d.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import likelier
from self6d.tracking.fit import LIKE, PULL, Estimate, ObjectFitter
from self6d.tracking.look import PaintedFrame
from self6d.tracking.quick.detections import at_the_depth, challenged, with_around
from self6d.tracking.still.arrangement import Thing
from self6d.tracking.still.odometry import Motion

SAME_PAINT = 0.6  # of how alike colours are expected to be: less is another thing, or light
LEAP = (1.2, 0.6)  # from one frame to the next, radians and diameters: farther is another thing
START_LEAP = (0.6, 0.3)  # from where a person put the object
START_PULL = 1.0  # as `fit.PULL`, there
STEADY = 0.8  # of the last pose's confidence: then nothing changed that asks for another look
AROUND = 6  # frames for which a lost object is first looked for where it was
SETTLED = 0.1  # diameters from where an arrangement puts an object
SAME_TURN = float(np.cos(0.01))  # a camera that moved less stood still
SAME_PLACE_M = 0.002
TURNED = 0.1  # of how alike colours are: what a half turn takes off
INSIDE = 0.75  # of a pose, the part that lies within the image
DOUBTED = 0.9  # of the confidence that a lost object needs
ALIKE = 0.9  # confidences that differ by less, as a share, do not decide


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
    """

    poses: list[tuple[float, list[float], list[float]]] = field(default_factory=list)
    missed: int = 0
    look: list[float] | None = None
    confidence: float = 1.0
    standing: tuple[int, list[float], list[float]] | None = None
    carried: bool = False

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
            "confidence": self.confidence,
            "standing": None if self.standing is None else list(self.standing),
        }  # fmt: skip

    @classmethod
    def of(cls, state: dict[str, Any]) -> Memory:
        """Inverse of `state`."""
        poses = [(float(a), list(b), list(c)) for a, b, c in state["poses"]]
        memory = cls(poses, int(state["missed"]), state["look"], float(state["confidence"]))
        if state.get("standing") is not None:
            index, R, t = state["standing"]
            memory.standing = (int(index), list(R), list(t))
        return memory


Anywhere = Callable[[], Candidates]
"""Where a network sees the object in the frame at hand."""


def follow(
    fitter: ObjectFitter,
    sensor: FrameBatch,
    memory: Memory,
    time: float,
    rng: np.random.Generator,
    anywhere: Anywhere | None = None,
    *,
    search: bool = True,
    start: bool = False,
) -> Estimate | None:
    """An object's pose on the next frame; None: lost. The memory is brought up to date.

    Args:
        sensor: one frame with depth. time: of the frame, in any unit.
        anywhere: asked where the object is lost or unsure, instead of searching the whole image.
        search: False: never search.
        start: the memory holds where a person put the object on this very frame.
    """
    R, t = memory.guesses(time)
    # colours of a camera not yet known are no objection near where a person put the object
    near = fitter.painted(sensor, memory.look, None)
    found: Estimate | None = None
    if len(R) and not memory.missed:
        enough = 1.0 if start else STEADY * memory.confidence
        found = refit(fitter, near, R, t, rng, enough=enough, start=start, anywhere=anywhere)
    if found is None and len(R) and (memory.missed < AROUND or memory.carried):
        found = around(fitter, near, R, t, rng, memory.missed)
    if found is not None and anywhere is not None and not start:
        found = challenged(fitter, near, found, anywhere(), rng)
    if found is None and search:
        painted = fitter.painted(sensor, memory.look)
        found = find(fitter, painted, memory, R, t, rng, anywhere)
        if found is not None and found.confidence < fitter.config.found:
            found = None
    if found is None:
        memory.missed += 1
        return None
    memory.saw(time, found.R, found.t, found.confidence)
    learn(fitter, sensor, memory, found)
    return found


def learn(fitter: ObjectFitter, sensor: FrameBatch, memory: Memory, found: Estimate) -> None:
    """Take in how a frame, in its own colours, shows the paint of an object surely found."""
    if found.confidence < fitter.config.found:
        return
    if memory.look is not None and found.evidence.color < SAME_PAINT:
        return  # else a wrong pose would teach itself
    memory.look = fitter.learned(sensor, found.R, found.t, memory.look)


def refit(
    fitter: ObjectFitter,
    sensor: PaintedFrame,
    R: np.ndarray,
    t: np.ndarray,
    rng: np.random.Generator,
    *,
    enough: float = 1.0,
    start: bool = False,
    anywhere: Anywhere | None = None,
) -> Estimate | None:
    """The surest pose around given ones; where they explain little, of several hypotheses.

    A pose far from all that were expected counts only if nothing near them will do and it is as
    sure as a lost object's must be. At a start it does not count at all, and the best of those
    near counts however unsure it is; if the image draws all of them away, what was given.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. enough: confidence at which nothing more is tried.
        start: see `follow`.

    Returns:
        None: lost, which does not happen at a start.
    """
    config = fitter.config
    near = fitter.near(sensor, R, t, rng, pull=START_PULL if start else PULL)
    best = expected(fitter, fitter.fit(sensor, near.best(1)), R, t, start=start)[0]
    enough = min(max(enough, config.lost), config.weak)
    if best.confidence >= enough and not leaps(fitter, best, R, t, start=start):
        return best
    if start:
        wide = fitter.near(sensor, R, t, rng, wide=True, pull=START_PULL)
    else:
        wide = fitter.near(sensor, R, t, rng, wide=True, turns=True)
    others = [
        fitter.distinct(near, config.hypotheses)[1:],
        fitter.distinct(wide, config.hypotheses),
    ]
    if start:  # what no search proposes
        others.append(Candidates(R, t, np.zeros(len(R), np.float32)))
    elif anywhere is not None:
        others.append(at_the_depth(anywhere(), fitter.points, sensor))
    more = fitter.fit(sensor, Candidates.joined(others))
    found = [best, *expected(fitter, more, R, t, start=start)]
    going_on = [e for e in found if not leaps(fitter, e, R, t, start=start)]
    if start and not going_on:
        going_on = fitter.as_they_are(sensor, Candidates(R, t, np.zeros(len(R), np.float32)))
    near_by = surest(going_on, fitter, R) if going_on else None
    if start or (near_by is not None and near_by.confidence >= config.weak):
        return near_by
    best = surest(found, fitter, R)
    if best.confidence >= config.found:
        return best
    return near_by if near_by is not None and near_by.confidence >= config.lost else None


def expected(
    fitter: ObjectFitter,
    found: Sequence[Estimate],
    R: np.ndarray,
    t: np.ndarray,
    *,
    start: bool = False,
    missed: int = 0,
) -> list[Estimate]:
    """Poses, those near where the object must be surer than the image alone makes them.

    The calibration knows poses from anywhere; that one near the last pose is right is likelier
    beforehand, see `likelier`.
    """
    rows = []
    for e in found:
        if not e.evidence.color < LIKE and not leaps(fitter, e, R, t, start=start, missed=missed):
            e = replace(e, confidence=likelier(e.confidence))
        rows.append(e)
    return sorted(rows, key=lambda e: -e.confidence)


def leaps(
    fitter: ObjectFitter,
    found: Estimate,
    R: np.ndarray,
    t: np.ndarray,
    *,
    start: bool = False,
    missed: int = 0,
) -> bool:
    """Whether a pose is far from all of (N, 3, 3) and (N, 3); farther after `missed` frames."""
    turn, shift = START_LEAP if start else LEAP
    shift *= 1 + missed
    centre = fitter.points.centre
    apart = np.linalg.norm(R @ centre + t - (found.R @ centre + found.t), axis=1)
    near = apart < shift * fitter.diameter
    near &= fitter.points.turn_between(R, found.R) > np.cos(turn)
    return not near.any()


def around(
    fitter: ObjectFitter,
    sensor: PaintedFrame,
    R: np.ndarray,
    t: np.ndarray,
    rng: np.random.Generator,
    missed: int,
) -> Estimate | None:
    """An object lost `missed` frames ago, around where it was."""
    wide = fitter.near(sensor, R, t, rng, wide=True, pull=PULL / (1 + missed))
    found = fitter.fit(sensor, fitter.distinct(wide, fitter.config.hypotheses))
    found = [e for e in found if not leaps(fitter, e, R, t, missed=missed)]
    found = expected(fitter, found, R, t, missed=missed)
    best = surest(found, fitter, R) if found else None
    return best if best is not None and best.confidence >= fitter.config.weak else None


def settle(
    fitter: ObjectFitter,
    sensor: FrameBatch,
    look: list[float] | None,
    R: np.ndarray,
    t: np.ndarray,
    rng: np.random.Generator,
) -> Estimate:
    """An object where the rest of the recording puts it, (3, 3) and (3,), metres.

    As the image has it near there if that is surer; else as it was put, however unsure the image
    is of it: what nothing is seen of stays weak.
    """
    given = Candidates(
        R[None].astype(np.float32), t[None].astype(np.float32), np.zeros(1, np.float32)
    )
    near = fitter.painted(sensor, look, None)
    start = fitter.near(near, given.R, given.t, rng, pull=START_PULL).best(1)
    thing = Thing.of(fitter.model)
    found = [e for e in fitter.fit(near, start) if thing.apart((e.R, e.t), (R, t)) < SETTLED]
    return max(found + fitter.as_they_are(near, given), key=lambda e: e.confidence)


def surest(found: Sequence[Estimate], fitter: ObjectFitter, R: np.ndarray) -> Estimate:
    """Of several poses on one frame: of those about as sure as the surest, the best by colour.

    Shape cannot tell a front from its back, colour can; where it hardly does, what explains more
    of the depth and is turned least.

    Args:
        R: (N, 3, 3), how the object was turned; N is 0 where that is not known.
    """
    limit = ALIKE * max(estimate.confidence for estimate in found)
    alike = [estimate for estimate in found if estimate.confidence >= limit]

    def worth(e: Estimate) -> tuple[float, float]:
        # without colour the measure is no number
        worth = float(np.nan_to_num(e.evidence.color)) + e.evidence.explained
        if len(R):
            worth -= TURNED * (1 - float(fitter.points.turn_between(R, e.R).max())) / 2
        return worth, e.confidence

    return max(alike, key=worth)


def doubted(found: Estimate, config: TrackConfig) -> Estimate:
    """A pose from anywhere, not to be called found where much of it lies outside the image.

    The bottom of a bottle at the image's edge is that of any cup.
    """
    if found.evidence.inside >= INSIDE:
        return found
    return replace(found, confidence=min(found.confidence, DOUBTED * config.found))


def find(
    fitter: ObjectFitter,
    sensor: PaintedFrame,
    memory: Memory,
    R: np.ndarray,
    t: np.ndarray,
    rng: np.random.Generator,
    anywhere: Anywhere | None = None,
) -> Estimate | None:
    """A lost object: around where it was last, and where a network sees it or, every few frames,
    in the whole image.

    The surest pose, however unsure above `lost`: whether that will do is for who asked.
    """
    config, found = fitter.config, list[Estimate]()
    if len(R) and memory.missed >= AROUND:
        wide = fitter.near(sensor, R, t, rng, wide=True, pull=0)
        found = fitter.fit(sensor, fitter.distinct(wide, 2))
    if anywhere is not None:
        found += fitter.fit(sensor, with_around(anywhere(), fitter, sensor, rng))
    elif memory.missed % config.search_every == 0:
        found += fitter.fit(sensor, fitter.everywhere(sensor, rng))
    if not found:
        return None
    found = [doubted(e, config) for e in found]
    best = surest(found, fitter, R)
    # a half turn may explain the colours better and be less sure, or be what nothing proposed
    turned = [doubted(e, config) for e in fitter.fit(sensor, fitter.turned(best))]
    best = surest([best, *turned], fitter, R)
    return best if best.confidence >= config.lost else None


def seek(
    fitter: ObjectFitter,
    sensor: FrameBatch,
    rng: np.random.Generator,
    anywhere: Anywhere | None = None,
) -> Estimate | None:
    """An object of which nothing is known, in one frame; None: not there.

    Below `found` a pose is a suggestion for people to look at; nothing may be followed from it.
    """
    nowhere = np.zeros((0, 3, 3), np.float32), np.zeros((0, 3), np.float32)
    return find(fitter, PaintedFrame.seen(sensor, None), Memory(), *nowhere, rng, anywhere)
