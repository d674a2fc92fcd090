"""Step 5: take the result away."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QCheckBox, QGridLayout, QWidget

from studio.engine import Engine, Failure
from studio.jobs import JobSpec
from studio.jobs.run_info import NOTHING_RIGHT, RunInfo, checkpoint_steps, free_name
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.asking import folder_for, new_file
from studio.toolkit.dialogs import copy_text
from studio.toolkit.progress import Bar
from studio.toolkit.widgets import (
    Choice,
    ElidedLabel,
    IconButton,
    Panel,
    button,
    column,
    label,
    row,
    scrolled,
)

FILM_FRAMES = 200
WRITING = {"export_run": "a package", "write_evaluation": "a report", "video": "a film"}


class ExportPage(QWidget):
    """A card for each thing that can be taken away; the run is chosen once, on top.

    Signals:
        exported: ("ok" or "warn", what was written, and of a network that finds nothing, that).
    """

    failed = Signal(object)
    said = Signal(str, str)  # level, text
    exported = Signal(str, str)
    busyChanged = Signal()
    chosenChanged = Signal()

    def __init__(self, project: Project, settings: Settings, engine: Engine) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.project, self.settings, self.engine = project, settings, engine
        self.run = Choice("Run to export")
        self.run.setMinimumContentsLength(28)
        self.run.currentIndexChanged.connect(self._refresh)
        self.run.activated.connect(self._on_chosen)
        self._by_hand = False  # until then the selected run, else the newest, is offered
        self.facts = label("", "muted", wrap=True)
        self.problem = label("", "muted", wrap=True)
        self.onnx = QCheckBox("Also write ONNX")
        self.onnx.setChecked(all(map(find_spec, ("onnx", "onnxscript"))))
        self.package = button("Export package…", self._on_package, "primary")
        self.copy_button = IconButton("terminal", "Copy as command", self._on_copy)
        self.report = button("Write report…", self._on_report)
        self.film = button("Make film…", self._on_film)
        self.film_before = Choice("Run to compare with in the film")
        self.film_before.activated.connect(self._on_before)
        self._before_by_hand = False  # until then the run that the chosen one began from
        self.progress = Bar()
        self.progress.hide()
        self.done = ElidedLabel("", "good", Qt.TextElideMode.ElideMiddle)  # there is much room
        self.show_folder = button("Show folder", self._on_show, "link")
        self.show_folder.hide()
        self._last: Path | None = None
        self.packed: Path | None = None  # run whose package was written last
        self._doing = ""
        grid = QGridLayout()
        grid.setSpacing(8)
        self.cards = [
            self._card("Package", "The network's weights with a small program that uses them: RGB "
                       "and K in, poses out. It needs neither depth nor this studio.",
                       self.onnx, row(self.package, self.copy_button, 1)),
            self._card("Report", "One HTML file with tables, error plots, overlays and curves; "
                       "readable without a network. Scores the run on labelled frames.",
                       row(self.report, 1)),
            self._card("Film of the adaptation", "The recording with the predicted poses drawn "
                       "in, before and after side by side (MP4).",
                       _stretched(label("Before", "muted"), self.film_before), row(self.film, 1)),
        ]  # fmt: skip
        for i, card in enumerate(self.cards):
            grid.addWidget(card, 0, i)
            grid.setColumnStretch(i, 1)
        top = Panel("What to export")
        top.body.addLayout(row(label("Run", "muted"), self.run, 1))
        top.body.addWidget(self.facts)
        top.body.addWidget(self.problem)
        written = row(self.done, self.show_folder)
        written.setStretch(0, 1)
        content = QWidget()
        content.setLayout(column(top, grid, self.progress, written, 1))
        self.setLayout(column(scrolled(content)))
        project.runsChanged.connect(self._fill)
        project.runSelected.connect(lambda run: self._fill())
        project.recordingChanged.connect(self._refresh)
        self._fill()

    def unfinished(self) -> list[str]:
        """What is being written, in words."""
        return [] if self.progress.isHidden() else [self._doing]

    def forget(self) -> None:
        """Let go of what belongs to a project that was left."""
        self._by_hand = self._before_by_hand = False
        self._last = self.packed = None
        self.done.setText("")
        self.show_folder.hide()
        self._fill()

    @property
    def written(self) -> Path | None:
        """What was made last of this project; None before."""
        return self._last

    def chosen(self) -> Path | None:
        data = self.run.currentData()
        return Path(data) if data else None

    def export_package(self, to: Path) -> None:
        """Write weights and example into a new folder."""
        run = self.chosen()
        if run is not None:
            self._ask("export_run", str(run), str(to), self.onnx.isChecked(), result=to)

    def write_report(self, path: Path) -> None:
        recording, run = self.project.recording, self.chosen()
        if recording is not None and run is not None:
            runs = [str(r) for r in (self._before(), run) if r is not None]
            self._ask("write_evaluation", "html", str(path), recording.root, runs, None,
                      result=path)  # fmt: skip

    def make_film(self, path: Path) -> None:
        recording, run = self.project.recording, self.chosen()
        if recording is None or run is None:
            return
        count = len(recording)
        step = max(1, -(-count // FILM_FRAMES))
        runs = [str(r) for r in (self._before(), run) if r is not None]
        self._ask("video", str(path), recording.root, runs, list(range(0, count, step)),
                  result=path)  # fmt: skip

    def _card(self, title: str, text: str, *rows: Any) -> Panel:
        card = Panel(title)
        card.body.addWidget(label(text, "muted", wrap=True))
        card.body.addStretch(1)
        for one in rows:
            if isinstance(one, QWidget):
                card.body.addWidget(one)
            else:
                card.body.addLayout(one)
        return card

    def _before(self) -> Path | None:
        data = self.film_before.currentData()
        return Path(data) if data and data != self.run.currentData() else None

    def _ask(self, method: str, *args: Any, result: Path) -> None:
        packed = self.chosen() if method == "export_run" else self.packed
        vain = self._vain()
        self._doing = WRITING[method]
        self.progress.setRange(0, 0)
        self.progress.show()
        self.busyChanged.emit()
        self.done.setText("")
        self.show_folder.hide()
        self._refresh()
        self.engine.request(
            method, *args, key="export", failed=self._on_failed, partial=self._on_progress,
            done=lambda _: self._on_done(result, packed, vain),
        )  # fmt: skip

    def _on_progress(self, done_total: tuple[int, int]) -> None:
        self.progress.setRange(0, done_total[1])
        self.progress.setValue(done_total[0])

    def _vain(self) -> bool:
        """Whether the chosen run says itself that its network finds nothing."""
        return any(r.found_nothing for r in self.project.networks() if r.path == self.chosen())

    def _on_done(self, result: Path, packed: Path | None, vain: bool) -> None:
        self.progress.hide()
        self.busyChanged.emit()
        self._last, self.packed = result, packed
        told = f"Written: {result}" + (", of a network that finds nothing" if vain else "")
        self.done.setObjectName("warn" if vain else "good")
        self.done.setStyleSheet("")  # the look follows the object's name
        self.done.setText(told)
        self.show_folder.show()
        self._refresh()
        self.exported.emit("warn" if vain else "ok", told)

    def _on_failed(self, failure: Failure) -> None:
        self.progress.hide()
        self.busyChanged.emit()
        self._refresh()
        self.failed.emit(failure)

    def _on_chosen(self, _: int) -> None:
        self._by_hand = True
        self._fill()

    def _on_before(self, _: int) -> None:
        self._before_by_hand = True

    def _fill(self) -> None:
        for box, before in ((self.run, False), (self.film_before, True)):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            if before:
                box.addItem("nothing: after alone", None)
            networks = self.project.networks()
            for run in reversed(networks):
                box.addItem(run.name, str(run.path))
            usual = self._begun(networks) if before else self.project.run
            by_hand = self._before_by_hand if before else self._by_hand
            found = box.findData(chosen if by_hand else str(usual))
            box.setCurrentIndex(max(found, 0))
            box.blockSignals(False)
        self._refresh()

    def _begun(self, networks: list[RunInfo]) -> Path | None:
        """The run that the chosen one began from."""
        return next((r.start for r in networks if r.path == self.chosen()), None)

    def _refresh(self, *_: object) -> None:
        run = self.chosen()
        steps = checkpoint_steps(run) if run is not None else []
        if not steps:
            self.problem.setText("Train a run first (steps 2 and 3): there is nothing to export.")
            self.facts.setText("")
        else:
            self.problem.setText("")
            count = f"{len(steps)} checkpoint{'s' * (len(steps) > 1)}"
            vain = f"; {NOTHING_RIGHT}" if self._vain() else ""
            self.facts.setText(f"{count}, the newest at step {steps[-1]}{vain}")
        self.problem.setVisible(bool(self.problem.text()))
        self.chosenChanged.emit()
        self.facts.setVisible(bool(self.facts.text()))
        idle = self.progress.isHidden()
        ready = bool(steps) and idle
        recording = self.project.recording
        self.package.setEnabled(ready)
        self.copy_button.setEnabled(bool(steps))
        self.report.setEnabled(ready and recording is not None and recording.has_truth)
        self.film.setEnabled(ready and recording is not None)

    def _on_package(self) -> None:
        parent = folder_for(self, self.settings, "package", "Make the package in")
        run = self.chosen()
        if parent is not None and run is not None:
            self.export_package(free_name(parent, f"{run.name}-package"))

    def _on_report(self) -> None:
        path = new_file(self, self.settings, "report", "Write report", "*.html", "report.html")
        if path is not None:
            self.write_report(path)

    def _on_film(self) -> None:
        path = new_file(self, self.settings, "film", "Make film", "*.mp4", "film.mp4")
        if path is not None:
            self.make_film(path)

    def _on_copy(self) -> None:
        run = self.chosen()
        words = ["export", str(run), "--to", f"{run}-package"]
        copy_text(JobSpec.shell_line([*words, *([] if self.onnx.isChecked() else ["--no-onnx"])]))
        name = Path(words[-1]).name
        self.said.emit("good", f"In the clipboard: the command that writes {name}.")

    def _on_show(self) -> None:
        if self._last is not None:
            folder = self._last if self._last.is_dir() else self._last.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))


def _stretched(caption: QWidget, box: QWidget) -> Any:
    line = row(caption, box)
    line.setStretch(1, 1)
    return line
