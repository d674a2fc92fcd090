"""A run's past, read in the helper process: long event files never stall the window."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from self6d.events import Event, Note, Preview
from self6d.runs.event_log import load_preview, read_curves, read_events
from studio.jobs.run_info import checkpoint_steps


@dataclass
class RunHistory:
    """Curves by name as (steps, values), checkpoint steps, marks, first and newest previews."""

    run: str
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)
    first: list[Preview] = field(default_factory=list)
    newest: list[Preview] = field(default_factory=list)


def live_mark(event: Event) -> tuple[int, str] | None:
    """Step and caption if the event says that weights were changed by hand while the job ran."""
    if not isinstance(event, Note) or event.step is None or not event.text.startswith("live: "):
        return None
    parts = []
    for assignment in event.text.removeprefix("live: ").split(", "):
        name, _, value = assignment.partition(" = ")
        name = name.removeprefix("loss.").replace("_", "-")
        parts.append(f"{name} muted" if value == "0" else f"{name} → {value}")
    return event.step, ", ".join(parts)


def read_history(run: str) -> RunHistory:
    folder = Path(run)
    events = folder / "events.jsonl"
    history = RunHistory(run, read_curves(events), checkpoint_steps(folder))
    for event, _ in read_events(events):
        mark = live_mark(event)
        if mark is not None:
            history.marks.append(mark)
    for path in sorted((folder / "previews").glob("*.npz")):
        preview = load_preview(path)
        if preview is not None:
            target = history.first if path.name.endswith(".first.npz") else history.newest
            target.append(preview)
    return history
