"""The poses of a track as labels for other tools: which, in what format, and why not yet."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from self6d.events import counted
from studio.model.project import Project
from studio.toolkit.widgets import Choice, button, column, label, row
from studio.tracking.plan import TrackPlan

FORMATS = (
    ("bop", "BOP dataset", "The labelled frames with poses, masks and models, as a BOP dataset"),
    ("coco", "COCO", "The labelled frames with boxes and masks, as COCO's annotations.json"),
    ("csv", "CSV", "The poses alone, as a results file of BOP's"),
)
NOTE = "For other tools, with a report that shows the least sure."


class Labels(QWidget):
    """A part of the Track tab.

    Signals:
        writeRequested: format, as `self6d.labelling.label` takes it.
    """

    writeRequested = Signal(str)

    def __init__(self, project: Project, plan: TrackPlan, sure: float) -> None:
        """
        Args:
            sure: confidence from which on a pose becomes a label.
        """
        super().__init__()
        self.project, self.plan, self.sure = project, plan, sure
        self.note = label("", "small", wrap=True)
        self.format = Choice("Format of the labels")
        for key, text, tip in FORMATS:
            self.format.addItem(text, key)
            self.format.setItemData(self.format.count() - 1, tip, 3)  # its tool tip
        self.write = button("Write labels…", self._on_write)
        line = row(self.format, self.write)
        line.setStretch(0, 1)
        self.setLayout(column(label("LABELS", "section"), self.note, line, gap=8))
        for signal in (project.recordingChanged, project.modelsChanged, project.trackChanged,
                       project.posesChanged):  # fmt: skip
            signal.connect(self.refresh)
        self.refresh()

    def problem(self) -> str:
        """Why there is nothing to write; "" where there is."""
        track = self.project.track
        if track is None or not track.rows:
            return "Track the recording first."
        if self.plan.corrected():
            return "Corrected poses are not in the track yet: track again first."
        if not track.sure(self.sure):
            return f"No pose has a confidence of {self.sure:g} or more."
        return ""

    def refresh(self, *_: object) -> None:
        """Show what the project says."""
        problem, track = self.problem(), self.project.track
        sure = "" if track is None else counted(track.sure(self.sure), "pose is", "poses are")
        self.note.setText(problem or f"{NOTE} {sure} sure enough.")
        self.write.setEnabled(not problem)

    def _on_write(self) -> None:
        self.writeRequested.emit(self.format.currentData())
