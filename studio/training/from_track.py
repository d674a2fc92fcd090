"""The line that says a run learns the poses of a track, with the way out of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.jobs.run_info import brief
from studio.toolkit.widgets import button, column, label


class FromTrack(QWidget):
    """In sight only where poses are given."""

    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.told = label("", "small", wrap=True)
        self.drop = button("Learn without them", self.dropped.emit)
        self.setLayout(column(self.told, self.drop, gap=4))
        self.show_poses(None)

    def show_poses(self, file: str | None) -> None:
        """Say whose poses they are: a track's, or a run's own copy of one."""
        self.setVisible(file is not None)
        if file is not None:
            self.told.setText(f"It learns the tracked poses in {brief(Path(file).parent.name)}.")
            self.told.setToolTip(file)
