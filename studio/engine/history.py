"""A run's past, read in the helper process: long event files never stall the window."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from self6d.training.event_log import load_preview, read_curves
from self6d.training.events import Preview
from studio.jobs.run_info import checkpoint_steps


@dataclass
class RunHistory:
    """Curves by name as (steps, values), checkpoint steps, first and newest previews."""

    run: str
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)
    first: list[Preview] = field(default_factory=list)
    newest: list[Preview] = field(default_factory=list)


def read_history(run: str) -> RunHistory:
    folder = Path(run)
    history = RunHistory(run, read_curves(folder / "events.jsonl"), checkpoint_steps(folder))
    for path in sorted((folder / "previews").glob("*.npz")):
        preview = load_preview(path)
        if preview is not None:
            target = history.first if path.name.endswith(".first.npz") else history.newest
            target.append(preview)
    return history
