"""One object followed from frame to frame: motion, hypotheses, lost and found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import NOTHING, likelier
from self6d.tracking.fit import LIKE, PULL, UNLIKE, Estimate, ObjectFitter
from self6d.tracking.look import PaintedFrame
from self6d.tracking.quick.detections import at_the_depth, challenged, elsewhere, with_around
from self6d.tracking.still.arrangement import Thing
from self6d.tracking.work import Memory

SAME_PAINT = 0.6  # of how alike colours are expected to be: less is another thing, or light
LEAP = (1.2, 0.6)  # from one frame to the next, radians and diameters: farther is another thing
START_LEAP = (0.6, 0.3)  # from where a person put the object
START_PULL = 1.0  # as `fit.PULL`, there
STEADY = 0.8  # of the last pose's confidence: then nothing changed that asks for another look
AROUND = 6  # frames for which a lost object is first looked for where it was
SETTLED = 0.1  # diameters from where an arrangement puts an object
TURNED = 0.1  # of how alike colours are: what a half turn takes off
INSIDE = 0.75  # of a pose, the part that lies within the image
DOUBTED = 0.9  # of the confidence that a lost object needs
DOUBTS = 3  # frames in which paint alone speaks against what a network sees, until it errs
ALIKE = 0.9  # confidences that differ by less, as a share, do not decide


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
        found = in_spite_of_paint(fitter, memory, found, anywhere())
    if found is None and search:
        painted = fitter.painted(sensor, memory.look)
        found = find(fitter, painted, memory, R, t, rng, anywhere)
        if found is not None and found.confidence < fitter.config.found:
            found = None
    if found is None:
        memory.missed += 1
        memory.doubts = 0
        return None
    memory.saw(time, found.R, found.t, found.confidence)
    learn(fitter, sensor, memory, found)
    return found


def in_spite_of_paint(
    fitter: ObjectFitter, memory: Memory, found: Estimate, seen: Candidates
) -> Estimate:
    """An object that is followed where a network sees it, and that its paint alone speaks against.

    After `DOUBTS` such frames, none between them in which it did not, the light has changed: the
    look is forgotten, and the pose as sure as without. A lost object may be another of that shape.
    """
    sure = fitter.unpainted(found.evidence)
    against = fitter.model.has_color and found.confidence <= UNLIKE and sure >= fitter.config.weak
    there = len(seen) > 0 and not len(elsewhere(seen, fitter.points, found.R, found.t))
    memory.doubts = memory.doubts + there if against and not memory.missed else 0
    if memory.doubts < DOUBTS:
        return found
    memory.doubts, memory.look = 0, None
    return replace(found, confidence=sure)


def learn(fitter: ObjectFitter, sensor: FrameBatch, memory: Memory, found: Estimate) -> None:
    """Take in how a frame, in its own colours, shows the paint of an object surely found."""
    if found.confidence < fitter.config.found:
        return
    known = memory.look
    if known is not None and found.evidence.color < SAME_PAINT:
        painted = fitter.painted(sensor, known)
        if not fitter.other_light(found.evidence.color, painted, found.R, found.t):
            return  # else a wrong pose would teach itself
        known = None
    memory.look = fitter.learned(sensor, found.R, found.t, known)


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
        others.append(Candidates.unscored(R, t))
    elif anywhere is not None:
        others.append(at_the_depth(anywhere(), fitter.points, sensor))
    more = fitter.fit(sensor, Candidates.joined(others))
    found = [best, *expected(fitter, more, R, t, start=start)]
    going_on = [e for e in found if not leaps(fitter, e, R, t, start=start)]
    if start and not going_on:
        going_on = fitter.as_they_are(sensor, Candidates.unscored(R, t))
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


class DepthFollower:
    """Follows one object through frames with depth; see the functions of the same names."""

    def __init__(self, fitter: ObjectFitter) -> None:
        self.fitter, self.packed = fitter, fitter.packed
        self.follow, self.seek = partial(follow, fitter), partial(seek, fitter)
        self.settle = partial(settle, fitter)

    def leaps(self, pose: tuple[np.ndarray, np.ndarray], R: np.ndarray, t: np.ndarray) -> bool:
        """Whether a pose (3, 3) and (3,), metres, is far from another; see `LEAP`."""
        there = Estimate(*pose, NOTHING, 1.0)
        return leaps(self.fitter, there, R[None].astype(np.float32), t[None].astype(np.float32))
