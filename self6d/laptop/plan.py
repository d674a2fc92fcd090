"""How long the parts of `quick` will take, from a few of their own steps, measured here and now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from self6d.datasets.pose_track import PoseTrack, TrackState
from self6d.errors import InputError
from self6d.events import Event, Listener, Note, Progress, counted, in_words
from self6d.laptop.order import TRACK
from self6d.laptop.settings import EXTRAS, OF_PHASE, STEP_S
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder

WARM_UP = 2  # steps that compile, read and allocate, and are not measured
MEASURED = 4  # steps that are
ENOUGH = 10  # poses below which the track is called thin


@dataclass(frozen=True)
class Part:
    """One part of the job.

    Attributes:
        name: of its folder. title: in words.
        steps: how many, 0 where it has none.
        step_s: seconds a step, measured; None: could not be measured yet.
        rest_s: seconds besides its steps, in which things are prepared and saved, measured.
        made: steps that measuring has made and that stay.
        minutes: after which it ends however many steps there were; None: its steps alone count.
    """

    name: str
    title: str
    steps: int
    step_s: float | None = None
    rest_s: float = 0.0
    made: int = 0
    minutes: float | None = None

    @property
    def seconds(self) -> float | None:
        """About how long the rest of it takes; None: not known."""
        return None if self.step_s is None else self.rest_s + self.steps_s

    @property
    def steps_s(self) -> float:
        """Of that, what its steps take; 0 where it is not known."""
        return (self.steps - self.made) * (self.step_s or 0.0) * EXTRAS

    def line(self) -> str:
        """What is said of it at the start."""
        if self.step_s is None:
            return f"{self.title}: {self.steps} steps, timed when it begins"
        return f"{self.title}: {self.steps} steps of {self.step_s:.2g} s, {in_words(self.seconds)}"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)


class Stopwatch:
    """Times a job's steps, and stops it when enough of them are known.

    Args:
        user: whose wish to stop is passed on. listener: receives the job's notes alone.
    """

    def __init__(self, user: Control, listener: Listener | None = None) -> None:
        self.control = Control(patient=user.patient)
        self._user, self._listener = user, listener
        self._at: list[tuple[int, float]] = []
        self.total = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note) and self._listener is not None:
            self._listener(event)
        if not isinstance(event, Progress):
            return
        self._at.append((event.step, time.monotonic()))
        self.total = event.total
        if self._user.stopping or event.step - self._at[0][0] >= WARM_UP + MEASURED:
            self.control.stop()

    @property
    def step_s(self) -> float | None:
        """Seconds of a step after the first ones; None: too few were made.

        The mean, as every fourth step may do more (`adapt.refiner_every`).
        """
        at = self._at[min(WARM_UP, max(len(self._at) - 2, 0)) :]
        if len(at) < 2:
            return None
        return (at[-1][1] - at[0][1]) / (at[-1][0] - at[0][0])


def measured(
    part: Part,
    user: Control,
    start: Callable[[Listener, Control], RunFolder],
    listener: Listener | None = None,
) -> Part:
    """A part with the time of its steps; its run is stopped after a few of them (or done).

    Args:
        start: begins the part's job. listener: receives its notes.
    """
    watch, began = Stopwatch(user, listener), time.monotonic()
    run = start(watch, watch.control)
    steps = max(part.steps, watch.total)
    if part.name == TRACK:  # what it has done stays
        return replace(part, steps=steps, step_s=watch.step_s, made=int(run.info["step"]))
    took = time.monotonic() - began
    rest = max(took - (watch.step_s or 0.0) * int(run.info["step"]), 0.0)
    return replace(part, steps=steps, step_s=watch.step_s, rest_s=rest)


def fitted(parts: list[Part], limit_s: float, fewest: int) -> list[Part]:
    """Parts whose steps may be fewer or more, so that all of them end within a time.

    Args:
        parts: of which both trainings give way, in proportion; of one whose steps could not be
            measured they are taken for as long as usual beside the other's, or it ends by the
            clock alone.
        fewest: steps of each. One that has more of them ends by the clock as well.
    """
    guessed = _guessed(parts)
    gives = [p for p in guessed if p.name in OF_PHASE and p.step_s]
    fixed = sum(p.seconds or 0.0 for p in guessed if p not in gives)
    fixed += sum(p.rest_s for p in gives)
    least: list[str] = []
    while True:
        free = [p for p in gives if p.name not in least]
        taken = sum(replace(p, steps=fewest).steps_s for p in gives if p.name in least)
        share = max(limit_s - fixed - taken, 0.0) / max(sum(p.steps_s for p in free), 1e-9)
        short = [p.name for p in free if int(p.steps * share) <= fewest]
        if not short:
            break
        least += short
    made = {}
    for p in gives:
        steps = fewest if p.name in least else int(p.steps * share)
        clock = None if p.name in least else replace(p, steps=steps).steps_s / 60
        made[p.name] = (steps, clock)
    for p in guessed:
        if p.name in OF_PHASE and p.name not in made:  # nothing is known of it, so the clock rules
            left = max(limit_s - fixed, 0.0) / 60
            made[p.name] = (p.steps, left) if left else (fewest, None)
    return [
        replace(p, steps=made[p.name][0], minutes=made[p.name][1]) if p.name in made else p
        for p in parts
    ]


def least_s(parts: list[Part], fewest: int) -> float:
    """Seconds that parts take with the fewest steps of both trainings; see `fitted`."""
    return sum(p.seconds or 0.0 for p in fitted(_guessed(parts), 0.0, fewest))


def _guessed(parts: list[Part]) -> list[Part]:
    """Parts with the usual time of a step where it could not be measured."""
    slower = [p.step_s / STEP_S[OF_PHASE[p.name]] for p in parts if p.name in OF_PHASE and p.step_s]
    return [
        replace(p, step_s=STEP_S[OF_PHASE[p.name]] * slower[0])
        if p.name in OF_PHASE and p.step_s is None and slower
        else p
        for p in parts
    ]


def too_short(asked_min: float, least: float, spent_s: float, fewest: int) -> str:
    """What is said where there is less time than all of it takes at the least.

    Args:
        asked_min: minutes. least: seconds it takes at the least, those spent already included.
        fewest: steps of each training then.
    """
    return (
        f"{asked_min:g} min {'is' if asked_min == 1 else 'are'} not enough: the least is "
        f"{in_words(least)}, and that is what it takes now (finding the objects and measuring took "
        f"{in_words(spent_s)} of it; every frame is followed, each training has {fewest} steps, "
        "the network is exported)"
    )


def learnable(track: PoseTrack, least: float, path: Path, *, on_depth: bool = True) -> list[Note]:
    """What must be known of a track before a network learns from it.

    Args:
        least: confidence from which poses are learned from. path: of the track, to be named.
        on_depth: objects were followed on depth; False: by colours alone.

    Raises:
        InputError: no pose is sure enough.
    """
    sure = len(track.above(least))
    if not sure:
        raise InputError(
            f"none of the {len(track)} poses is sure enough to learn from",
            path=path,
            remedy="Look at them, give a better start pose (--init), and a new folder."
            if on_depth
            else "Without depth few poses are sure: if the camera is calibrated, say how well "
            "(--set track.focal_error=0.01), or give a better start pose (--init); and a new "
            "folder.",
        )
    notes = [
        Note(
            "warning" if sure < ENOUGH else "info",
            f"{sure} of {len(track)} poses are sure enough to learn from",
        )
    ]
    lost = sum(pose.pose is None for pose in track)
    if lost:
        text = (
            f"{lost} of {len(track)} are lost: nothing is learned of the object in these frames. "
            "A start pose in each lost stretch (--init with poses in several images) finds it again"
        )
        notes.append(Note("warning", text))
    again = sum(pose.state is TrackState.FOUND_AGAIN for pose in track)
    if again:
        text = (
            f"lost and found again {counted(again, 'time', 'times')}: a find may be another "
            "thing, and the network learns it. Look at the track, or give a start pose in each "
            "stretch (--init with poses in several images)"
        )
        notes.append(Note("warning", text))
    return notes
