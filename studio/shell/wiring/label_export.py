"""The track's poses as labels in a new folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from studio.jobs.run_info import free_name
from studio.shell.window import StudioWindow
from studio.shell.wiring.one_at_a_time import OneAtATime
from studio.toolkit.asking import folder_for
from studio.tracking.labels import Labels


class LabelExport(OneAtATime):
    """Writes one folder at a time, in the background."""

    def __init__(self, window: StudioWindow, labels: Labels, parent: QObject) -> None:
        super().__init__(
            window, "labels", "Writing labels", "Other labels are being written: wait for the end.",
            parent,
        )  # fmt: skip
        self.labels = labels
        labels.writeRequested.connect(self.ask)

    def ask(self, format: str = "") -> None:
        """Where to, then write them; where there are none to write, why.

        Args:
            format: "bop", "coco" or "csv"; "" takes the one that is chosen on the Track tab.
        """
        problem, track = self.labels.problem(), self.window.project.track
        if problem or track is None:
            self.window.say("warn", problem)
            return
        format = format or self.labels.format.currentData()
        parent = folder_for(self.window, self.window.settings, "labels", "Make the labels in")
        if parent is not None and self.free():
            self.write(format, free_name(parent, f"{Path(track.run).name}-{format}"))

    def write(self, format: str, out: Path) -> None:
        """Write the labels of the track that is shown into a new folder."""
        project = self.window.project
        if project.track is not None and project.recording is not None:
            self.start(
                "write_labels", str(project.track.run), project.recording.root,
                project.model_files, str(out), format, self.labels.sure,
                done=lambda told: self.tell(f"Written: {out.name}. {told}", out),
            )  # fmt: skip
