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
from self6d.laptop.settings import EXTRAS
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
    """

    name: str
    title: str
    steps: int
    step_s: float | None = None

    @property
    def seconds(self) -> float | None:
        """About how long all of it takes; None: not known."""
        return None if self.step_s is None else self.steps * self.step_s * EXTRAS

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
    watch = Stopwatch(user, listener)
    start(watch, watch.control)
    return replace(part, steps=max(part.steps, watch.total), step_s=watch.step_s)


def fitted(parts: list[Part], limit_s: float, fewest: int) -> list[Part]:
    """Parts whose steps may be fewer or more, so that all of them end within a time.

    Args:
        parts: of which "stage1" and "adapted" give way, in proportion. fewest: steps of each.
    """
    gives = [p for p in parts if p.name in ("stage1", "adapted") and p.seconds]
    fixed = sum(p.seconds or 0.0 for p in parts if p not in gives)
    share = max(limit_s - fixed, 0.0) / max(sum(p.seconds or 0.0 for p in gives), 1e-9)
    return [replace(p, steps=max(int(p.steps * share), fewest)) if p in gives else p for p in parts]


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
