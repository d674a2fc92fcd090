"""What the boxes of a training panel offer: runs, cameras, splits of the recording."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox

from studio.engine.types import RecordingInfo
from studio.model.project import Project
from studio.training.settings import OF_PRESET, OF_RECORDING


def fill_runs(box: QComboBox, project: Project, chosen: str, *, anew: bool = False) -> None:
    """Networks to start from, newest first; none of a run that left no checkpoint.

    Args:
        chosen: path of a run; "": none.
        anew: whether to offer none as well, and none that knows more or fewer objects unmarked.
    """
    box.clear()
    if anew:
        box.addItem("nothing: train anew", None)
    for run in reversed(project.starts()):
        why_not = project.misfit(run.path, all_of_them=anew)
        name = f"{run.name} (other objects)" if why_not else run.name
        box.addItem(name, str(run.path))
        tip = f"{run.path}\nstep {run.step}, {run.status}\n{why_not}".rstrip()
        box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
    if chosen and box.findData(chosen) < 0:
        box.addItem(Path(chosen).name, chosen)
    box.setCurrentIndex(box.findData(chosen) if chosen else 0 if anew else -1)


def fill_cameras(box: QComboBox, chosen: str) -> None:
    """Whose intrinsics stage 1 renders for."""
    box.clear()
    box.addItem("of the recording", OF_RECORDING)
    box.addItem("of the preset", OF_PRESET)
    if chosen not in (OF_RECORDING, OF_PRESET):
        box.addItem(f"of {Path(chosen).name}", chosen)
    box.setCurrentIndex(box.findData(chosen))


def fill_splits(box: QComboBox, info: RecordingInfo | None, chosen: str | None) -> None:
    """Which frames of the recording are learned from."""
    box.clear()
    splits = info.splits if info else {}
    count = f" ({len(info)})" if info else ""
    usual = f"adapt ({len(splits['adapt'])})" if "adapt" in splits else f"all frames{count}"
    box.addItem(usual, None)
    for name, keys in splits.items():
        if name != "adapt":
            box.addItem(f"{name} ({len(keys)})", name)
    if chosen is not None and chosen not in splits:
        box.addItem(f"{chosen} (not of this recording)", chosen)
    box.setCurrentIndex(max(box.findData(chosen), 0))
