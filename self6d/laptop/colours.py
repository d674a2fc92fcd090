"""The recording's colours on the CAD files that `quick` trains with."""

from __future__ import annotations

from pathlib import Path

from self6d.errors import InputError
from self6d.events import Listener, Note
from self6d.jobs.prepare import resolve_device
from self6d.paths import POSES
from self6d.recolouring import recolour


def take_colours(
    data: Path, track: Path, out: Path, confidence: float, device: str, listener: Listener
) -> None:
    """Write the track's copy of the CAD files with the colours of its frames, see `recolour`.

    Where frames show nothing clearly there is no such folder, and a warning says so.

    Args:
        data: the recording. track: a track's run. out: folder to make.
        confidence: poses below it give no colour.
    """
    try:
        report = recolour(
            data, track / POSES, track / "models", out,
            confidence=confidence, unit="mm", device=resolve_device(device), listener=listener,
        )  # fmt: skip
    except InputError as error:
        listener(Note("warning", f"the CAD files keep their own colours: {error}"))
        return
    for line in report.lines():
        listener(Note("info", line))
