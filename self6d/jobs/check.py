"""The doctor's fast checks, which a job makes before it starts: nobody runs the doctor first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from self6d.doctor import doctor
from self6d.errors import InputError
from self6d.events import Listener
from self6d.scene import ObjectModel


def check_recording(
    path: str | Path, models: Sequence[ObjectModel], listener: Listener | None = None
) -> None:
    """Stop a job whose recording is wrong before it costs hours.

    Args:
        path: of the recording. models: against whose size depth is weighed.
        listener: receives `Progress`.

    Raises:
        InputError: the gravest of the errors that the doctor finds at a glance.
    """
    report = doctor.examine(path, models, listener=listener, quick=True)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if not errors:
        return
    first, more = errors[0], len(errors) - 1
    rest = f" ({more} more)" if more else ""
    remedy = f"{first.remedy} " if first.remedy else ""
    raise InputError(
        f"{first.what}{rest}",
        path=first.path or path,
        remedy=f"{remedy}All of it: self6d-studio doctor {path}. To start anyhow: --no-check.",
    )
