"""One object followed from frame to frame by colours alone: motion, hypotheses, lost and found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.follow import ALIKE, AROUND, LEAP, START_LEAP, Anywhere
from self6d.tracking.look import Look
from self6d.tracking.quick.detections import elsewhere
from self6d.tracking.rgb.fit import ColourEstimate, ColourFitter
from self6d.tracking.rgb.search import places
from self6d.tracking.work import Memory

WIDE = 2.0  # times as far about, where the expected pose explains little
PROMISING = 2  # poses that are looked at again
UNLIKE = 0.6  # of how alike colours are expected to be: another side, or another thing
FARTHER = 0.15  # of the distance, along the ray


class ColourFollower:
    """Follows one object through colour images; depth is not looked at.

    What is followed is decided by `ColourEstimate.agreement`: at which distance the object is,
    colours may never tell, and it is followed all the same.
    """

    def __init__(self, fitter: ColourFitter) -> None:
        self.fitter, self.packed = fitter, fitter.packed

    def follow(
        self,
        sensor: FrameBatch,
        memory: Memory,
        time: float,
        rng: np.random.Generator,
        anywhere: Anywhere | None = None,
        *,
        search: bool = True,
        start: bool = False,
    ) -> ColourEstimate | None:
        """An object's pose on the next frame; None: lost. The memory is brought up to date.

        Args:
            sensor: one frame. time: of the frame, in any unit.
            anywhere: asked where the object is lost or unsure.
            search: False: it is not looked for in the whole image.
            start: the memory holds where a person put the object on this very frame.
        """
        config = self.fitter.config
        paint = None if memory.look is None else Look.from_state(memory.look)
        R, t = (x.astype(float) for x in memory.guesses(time))
        found: ColourEstimate | None = None
        if len(R) and memory.missed < AROUND:
            found = self._around(sensor, paint, R, t, rng, memory.missed, start=start)
        if not start and anywhere is not None and (found is None or found.agreement < config.weak):
            found = self._seen(sensor, paint, anywhere(), rng, found)
        elif not start and anywhere is not None and found is not None:
            beside = elsewhere(anywhere(), self.fitter.points, found.R, found.t)
            found = self._seen(sensor, paint, beside, rng, found)
        if found is None and search and len(R) and memory.missed % config.search_every == 0:
            found = self._elsewhere(sensor, paint, R, t, rng)
        if found is None:
            memory.missed += 1
            return None
        memory.saw(time, found.R, found.t, found.confidence)
        self._learn(memory, paint, found)
        return found

    def seek(
        self, sensor: FrameBatch, rng: np.random.Generator, anywhere: Anywhere | None = None
    ) -> ColourEstimate | None:
        """An object of which nothing is known, where a network sees it; None: not there.

        Without a network it is not looked for.
        """
        return None if anywhere is None else self._seen(sensor, None, anywhere(), rng, None)

    def settle(
        self,
        sensor: FrameBatch,
        look: list[float] | None,
        R: np.ndarray,
        t: np.ndarray,
        rng: np.random.Generator,
    ) -> ColourEstimate:
        """An object where the rest of the recording puts it, (3, 3) and (3,), metres.

        It stays there: the arrangement knows the distance better than a single image does.
        """
        paint = None if look is None else Look.from_state(look)
        (found,) = self.fitter.as_they_are(sensor, Candidates.unscored(R[None], t[None]), paint)
        return found

    def leaps(self, pose: tuple[np.ndarray, np.ndarray], R: np.ndarray, t: np.ndarray) -> bool:
        """Whether a pose (3, 3) and (3,) is far from another; see `LEAP`."""
        return self._far(pose, R[None], t[None], LEAP, 0)

    def _around(
        self,
        sensor: FrameBatch,
        paint: Look | None,
        R: np.ndarray,
        t: np.ndarray,
        rng: np.random.Generator,
        missed: int,
        *,
        start: bool,
    ) -> ColourEstimate | None:
        """The object near expected poses; where little agrees, by more hypotheses."""
        fitter, config = self.fitter, self.fitter.config
        leap = START_LEAP if start else LEAP
        near = lambda e: not self._far((e.R, e.t), R, t, leap, missed)  # noqa: E731
        found = fitter.fit(sensor, fitter.spread(R, t, config.starts, rng), paint)
        going_on = [e for e in found if near(e)]
        if not going_on or going_on[0].agreement < config.weak:
            count = len(R) + config.hypotheses
            found = fitter.fit(sensor, fitter.spread(R, t, count, rng, WIDE), paint)
            found = once_more(fitter, sensor, paint, found, rng)
            going_on += [e for e in found if near(e)]
        if not going_on:
            return (
                fitter.as_they_are(sensor, Candidates.unscored(R[-1:], t[-1:]), paint)[0]
                if start
                else None
            )
        best = surest(going_on)
        least = config.lost if not missed else config.found
        return best if start or best.agreement >= least else None

    def _seen(
        self,
        sensor: FrameBatch,
        paint: Look | None,
        seen: Candidates,
        rng: np.random.Generator,
        found: ColourEstimate | None,
    ) -> ColourEstimate | None:
        """The object where a network sees it, if that agrees better than what was found."""
        if not len(seen):
            return found
        fitter, config = self.fitter, self.fitter.config
        first = fitter.spread(
            seen.R[:1].astype(float), seen.t[:1].astype(float), config.starts, rng
        )
        there = fitter.fit(sensor, Candidates.joined([first, seen[1:]]), paint)
        there += fitter.fit(sensor, fitter.turned(there[0]), paint)
        best = surest(once_more(fitter, sensor, paint, there, rng))
        if best.agreement < config.found:
            return found
        return best if found is None or best.agreement > found.agreement else found

    def _elsewhere(
        self,
        sensor: FrameBatch,
        paint: Look | None,
        R: np.ndarray,
        t: np.ndarray,
        rng: np.random.Generator,
    ) -> ColourEstimate | None:
        """A lost object anywhere in the image, about as it was last, (3, 3) and (3,)."""
        fitter, config = self.fitter, self.fitter.config
        R, t = R[-1], t[-1]
        centre, diameter = fitter.thing.centre, fitter.diameter
        there = places(sensor, fitter.packed, centre, diameter, R, t, paint, config.glances)
        best = fitter.glanced(sensor, there).best(config.hypotheses)
        found = once_more(fitter, sensor, paint, fitter.fit(sensor, best, paint), rng)
        if not found or surest(found).agreement < config.found:
            return None
        return surest(found)

    def _learn(self, memory: Memory, paint: Look | None, found: ColourEstimate) -> None:
        """Take in how the camera shows the paint of an object surely found."""
        if found.agreement < self.fitter.config.found or found.evidence.color < UNLIKE:
            return  # else a wrong pose would teach itself
        look = self.fitter.learned(found, paint)
        memory.look = memory.look if look is None else look.state()

    def _far(
        self,
        pose: tuple[np.ndarray, np.ndarray],
        R: np.ndarray,
        t: np.ndarray,
        leap: tuple[float, float],
        missed: int,
    ) -> bool:
        """Whether a pose is far from all of (N, 3, 3) and (N, 3).

        Sideways: along its ray a pose may be drawn as far as colours do not tell its distance.
        """
        thing, fitter = self.fitter.thing, self.fitter
        middle = pose[0] @ thing.centre + pose[1]
        others = R @ thing.centre + t
        ray = middle / np.linalg.norm(middle)
        off = others - middle
        along = off @ ray
        aside = np.linalg.norm(off - along[:, None] * ray, axis=1)
        turn, shift = leap
        shift *= (1 + missed) * fitter.diameter
        near = (aside < shift) & (np.abs(along) < max(shift, FARTHER * np.linalg.norm(middle)))
        near &= fitter.points.turn_between(R.astype(np.float32), pose[0]) > np.cos(turn)
        return not near.any()


def surest(found: Sequence[ColourEstimate]) -> ColourEstimate:
    """Of several poses on one frame: of those that agree about as well, the best by colour."""
    limit = ALIKE * max(e.agreement for e in found)
    alike = [e for e in found if e.agreement >= limit]
    return max(alike, key=lambda e: (float(np.nan_to_num(e.evidence.color)), e.agreement))


def once_more(
    fitter: ColourFitter,
    sensor: FrameBatch,
    paint: Look | None,
    found: Sequence[ColourEstimate],
    rng: np.random.Generator,
) -> list[ColourEstimate]:
    """The most promising poses looked at again from about where they ended, and all others.

    Few looks from far off end on the way.
    """
    promising = sorted(found, key=lambda e: -e.evidence.refiner)[:PROMISING]
    again = []
    for e in promising:
        R, t = e.R[None].astype(float), e.t[None].astype(float)
        again += fitter.fit(sensor, fitter.spread(R, t, fitter.config.starts, rng), paint)
    return sorted([*again, *found], key=lambda e: -e.agreement)
