"""A run's past, read in the helper process: long event files never stall the window."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from self6d.events import Event, Note, Preview
from self6d.losses.terms import TITLES
from self6d.runs.event_log import load_preview, read_curves, read_events
from studio.jobs.run_info import NETWORKS, checkpoint_steps, read_run


@dataclass
class RunHistory:
    """Curves by name as (steps, values), marks, first and newest previews.

    Attributes:
        checkpoints: steps at which there is a network to look through.
    """

    run: str
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)
    live: dict[str, float] = field(default_factory=dict)  # what was changed while it ran
    first: list[Preview] = field(default_factory=list)
    newest: list[Preview] = field(default_factory=list)


def live_mark(event: Event) -> tuple[int, str] | None:
    """Step and caption if the event says that weights were changed by hand while the job ran."""
    live = live_values(event)
    if not live or not isinstance(event, Note) or event.step is None:
        return None
    parts = []
    for key, value in live.items():
        name = key.removeprefix("loss.")
        name = TITLES.get(name, name)
        parts.append(f"{name} muted" if value == 0 else f"{name} → {value:g}")
    return event.step, ", ".join(parts)


def live_values(event: Event) -> dict[str, float]:
    """Values by dotted key that an event says were changed while the job ran."""
    if not isinstance(event, Note) or not event.text.startswith("live: "):
        return {}
    said = (part.partition(" = ") for part in event.text.removeprefix("live: ").split(", "))
    return {key: float(value) for key, _, value in said}


def read_history(run: str) -> RunHistory:
    folder = Path(run)
    events = folder / "events.jsonl"
    info = read_run(folder)
    looked_through = info is not None and info.kind in NETWORKS
    steps = checkpoint_steps(folder) if looked_through else []
    history = RunHistory(run, read_curves(events), steps)
    for event, _ in read_events(events):
        mark = live_mark(event)
        if mark is not None:
            history.marks.append(mark)
        history.live |= live_values(event)
    for path in sorted((folder / "previews").glob("*.npz")):
        preview = load_preview(path)
        if preview is not None:
            target = history.first if path.name.endswith(".first.npz") else history.newest
            target.append(preview)
    return history
