"""Plain-data events a job emits. Nothing here knows who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Scalars:
    """Named numbers of one step: "loss/total", "loss/mask", "lr", "health/mask_iou", ..."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Progress:
    """How far the job is. `seconds_left` is None until it can be estimated."""

    step: int
    total: int
    seconds_left: float | None
    phase: str = ""


@dataclass(frozen=True)
class Preparing:
    """How far something is that comes before, or between, the steps that `Progress` counts."""

    what: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Note:
    """A line for the log."""

    level: Literal["info", "warning", "error"]
    text: str
    step: int | None = None


@dataclass(frozen=True, eq=False)
class Preview:
    """A picture of the job's state on one frame.

    Attributes:
        step: when.
        name: which probe, such as "probe/0"; a later preview of the name replaces the earlier.
        arrays: small numpy arrays: "rgb" (H, W, 3) uint8, "rendered" (H, W, 3) uint8,
            "mask" (H, W) uint8, "rendered_mask" (H, W) uint8, "sensor_points" (N, 3) float32 m,
            "model_points" (M, 3) float32 m, "gallery" (H, W, 3) uint8; whichever make sense.
        poses: rows of {"object_id", "R_m2c" (3x3 list), "t_m2c" (3 list, metres), "score"}.
        frame: (scene, image) number of the frame, where it is one of a recording.
    """

    step: int
    name: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    poses: list[dict] = field(default_factory=list)
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is safely on disk."""

    step: int
    path: str
    best: bool = False


@dataclass(frozen=True)
class Finished:
    """The job's last event. `reason`: "done", "stopped", or a one-line error."""

    step: int
    reason: str
    result: dict = field(default_factory=dict)


Event = Scalars | Progress | Preparing | Note | Preview | CheckpointSaved | Finished
Listener = Callable[[Event], None]
Told = Callable[[str, int, int], None]  # what is done, how much of it, of how much (1: no count)


def told_to_nobody(what: str, done: int, total: int) -> None:
    """Where nobody asked how far it is."""


def count_listener(tell: Callable[[tuple[int, int]], object]) -> Listener:
    """A listener that tells (done, total) of each `Progress`, and nothing else."""

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            tell((event.step, event.total))

    return listen


def in_words(seconds: float | None) -> str:
    """Such as "about 7 min", "less than a minute" or "about 1 h 5 min"."""
    if seconds is None:
        return "unknown"
    whole = round(seconds / 60)
    if whole == 0:
        return "less than a minute"
    return f"about {whole} min" if whole < 60 else f"about {whole // 60} h {whole % 60} min"


def counted(number: int, one: str, more: str) -> str:
    """Such as "1 stretch" or "3 stretches"."""
    return f"{number} {one if number == 1 else more}"
