"""What `quick` exports: the network, and the RGB refiner where it learned enough to help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from self6d import jobs
from self6d.packaging.program import missing_for_onnx
from self6d.paths import NO_REFINER
from self6d.runs.folder import RunFolder
from self6d.stage2.track_task import REFINER_OFF, off_in_words


def export_learned(run: Path, to: Path, onnx: bool | None, say: Callable[[str], None]) -> None:
    """Export a run that learned from a track.

    Args:
        run: its folder. to: folder to make. onnx: also write ONNX; None: where it is installed.
        say: hears of a refiner that is left out.
    """
    off, refiner = RunFolder.open(run).result.get("refiner_off", 0.0), None
    if off > REFINER_OFF:
        say(f"{off_in_words(off)}: it is left out of the package")
        refiner = NO_REFINER
    jobs.export(run, to, onnx=with_onnx(onnx), refiner=refiner)


def with_onnx(asked: bool | None) -> bool:
    """Whether ONNX is written: as asked, else where it is installed."""
    return not missing_for_onnx() if asked is None else asked
