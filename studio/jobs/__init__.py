"""Runs in the background: one interface, a process or a thread behind it.

Names load on first use: the helper process reads runs with this package, and does without Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.jobs.job import Job, JobState
    from studio.jobs.spec import JobSpec

__all__ = ["Job", "JobSpec", "JobState"]

_HOME = {"Job": "job", "JobSpec": "spec", "JobState": "job"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
