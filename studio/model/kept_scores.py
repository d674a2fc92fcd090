"""The last evaluation of each recording, kept so that it is there when it is opened again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from self6d.paths import user_state
from self6d.storage import atomic_write

Scores = tuple[list[Path], list[dict[str, Any]]]  # run folders, `Results.to_dict` of each


def keep(recording: str, runs: list[Path], results: list[dict[str, Any]]) -> None:
    """Remember an evaluation of a recording (its root)."""
    path = _file(recording)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"runs": [str(run) for run in runs], "results": results}
    atomic_write(path, json.dumps(kept).encode())


def load(recording: str) -> Scores:
    """What was kept; empty lists where nothing was, or it cannot be read."""
    try:
        kept = json.loads(_file(recording).read_text(encoding="utf-8"))
        return [Path(run) for run in kept["runs"]], list(kept["results"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], []


def _file(recording: str) -> Path:
    name = hashlib.sha256(recording.encode()).hexdigest()[:16]
    return user_state() / "evaluations" / f"{name}.json"
