"""Colours of the recording for the CAD models: asked for, shown before and after, taken over."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QLabel, QWidget

from studio.engine import Engine, Failure
from studio.engine.types import ColoursTaken
from studio.jobs.run_info import free_name
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.progress import Bar
from studio.toolkit.widgets import button, column, into_view, label, row

NOTE = (
    "Where the poses are known, the recording shows the object's real colours. They are put on a "
    "copy of the CAD models; what covers the object gives none. A network trained on them learns "
    "from images that look like yours."
)
WIDTH = 232  # of the picture: the panel is not wider everywhere
SHOWN = "Two sides before, and the same after:"


class Colours(QWidget):
    """A part of the Track tab.

    Signals:
        failed: a Failure. useRequested: folder of the coloured models.
        kept: why there are no colours, and the models go on with their own.
        changed: something begins or ends. came: to another frame.
    """

    failed = Signal(object)
    useRequested = Signal(object)
    kept = Signal(str)
    changed = Signal()
    came = Signal()

    def __init__(self, project: Project, settings: Settings, engine: Engine) -> None:
        super().__init__()
        self.project, self.settings, self.engine = project, settings, engine
        self.way = label("", "small", wrap=True)
        self.take = button("Take colours from the recording", self._on_take)
        self.progress = Bar()
        self.cancel = button("Cancel", self.stop, "", "Nothing is written, and nothing is learned")
        self.result = label("", "small", wrap=True, select=True)
        self.shown = label(SHOWN, "small", wrap=True)
        self.picture = QLabel()
        self.use = button("Use these models", self._on_use, "primary",
                          "For all runs from now on; undo brings the others back")  # fmt: skip
        self._taken: ColoursTaken | None = None
        self._busy = False
        self._stop_file = Path()
        self._then: Callable[[tuple[Path, ...]], None] | None = None
        self._under_way = QWidget()
        line = row(self.progress, self.cancel)
        line.setStretch(0, 1)
        self._under_way.setLayout(line)
        self.setLayout(column(
            label("COLOURS", "section"), label(NOTE, "small", wrap=True), self.way, self.take,
            self._under_way, self.result, self.shown, self.picture, self.use, gap=8,
        ))  # fmt: skip
        for signal in (
            project.recordingChanged, project.modelsChanged, project.trackChanged,
            project.runsChanged, project.runSelected,
        ):  # fmt: skip
            signal.connect(self.refresh)
        project.left.connect(self._forget)
        self.refresh()

    def source(self) -> Path | None:
        """Run whose poses would be used: the track shown, else the adaptation selected."""
        project = self.project
        if project.track is not None and project.track.rows:
            return Path(project.track.run)
        chosen = next((r for r in project.runs if r.path == project.run), None)
        return chosen.path if chosen is not None and chosen.kind == "adapt" else None

    def unfinished(self) -> list[str]:
        """What is being made, in words."""
        return ["the models' colours"] if self._busy else []

    @property
    def under_way(self) -> str:
        """What is being done, in a sentence; "" if nothing is."""
        if not self._busy:
            return ""
        if not self.cancel.isEnabled():
            return "Taking the recording's colours: it ends after this frame."
        then = "; then it is learned" if self.awaited else ""
        at = (
            ""
            if self.progress.unknown
            else f", {self.progress.value()} of {self.progress.maximum()} frames"
        )
        return f"Taking the recording's colours{at}{then}."

    def refresh(self, *_: object) -> None:
        """Show what the project says."""
        source, ready = self.source(), self.project.recording is not None
        if not ready or not self.project.model_paths:
            self.way.setText("Open a recording and its CAD models first (step 1).")
        elif source is None:
            self.way.setText("Track the recording first, or select an adaptation on the left.")
        else:
            self.way.setText(f"At the poses of {source.name} that are sure enough.")
        able = ready and bool(self.project.model_paths) and source is not None
        self.take.setEnabled(able and not self._busy)
        self._under_way.setVisible(self._busy)
        there = self._taken is not None
        for widget in (self.shown, self.picture, self.use):
            widget.setVisible(there)
        self.result.setVisible(bool(self.result.text()))
        used = there and self.project.model_paths == [Path(self._taken.folder)]  # type: ignore[union-attr]
        self.use.setEnabled(there and not used)
        self.use.setText("In use" if used else "Use these models")

    def _on_take(self) -> None:
        source = self.source()
        if source is not None:
            self._begin(source)

    @property
    def awaited(self) -> bool:
        """Whether a learning waits for the colours."""
        return self._then is not None

    def take_then(self, track: Path, then: Callable[[tuple[Path, ...]], None]) -> None:
        """Take the colours at a track's poses, and go on with the models that have them.

        Where frames show nothing clearly that is said (`kept`), and it goes on with none.
        """
        if not self._busy:
            self._then = then
            self._begin(track)

    def stop(self) -> None:
        """End it after the frame it is at: nothing is written, and nothing goes on after it."""
        if self._busy:
            self._stop_file.touch()
            self.cancel.setEnabled(False)
        self._then = None
        self.changed.emit()

    def _go_on(self, models: tuple[Path, ...]) -> None:
        then, self._then = self._then, None
        self.changed.emit()
        if then is not None:
            then(models)

    def _begin(self, source: Path) -> None:
        recording = self.project.recording
        if recording is None:
            return
        name = f"{Path(recording.root).name}-colours"
        out = free_name(self.settings.runs_folder, name)
        number = self.project.number
        self._busy, self._taken = True, None
        self._stop_file = Path(tempfile.mkdtemp(prefix="self6d-")) / "stop"
        self.cancel.setEnabled(True)
        self.result.setText("")
        self.progress.setRange(0, 0)
        self.refresh()
        self.changed.emit()

        def done(taken: ColoursTaken) -> None:
            self._end()
            if number != self.project.number:
                self.refresh()
                return
            self._show(taken)
            self.refresh()
            if self.awaited:
                self._go_on((Path(taken.folder),))
            else:
                into_view(self.use)
                self.changed.emit()

        def failed(failure: Failure) -> None:
            self._end()
            self.refresh()
            if failure.type == "Cancelled":
                self.changed.emit()
                return
            if self.awaited and failure.type == "InputError":
                self.kept.emit(f"The models keep their own colours: {failure.one_line()}")
                self._go_on(())
                return
            self._then = None
            self.changed.emit()
            self.failed.emit(failure)

        self.engine.request(
            "take_colours", recording.root, str(source), self.project.model_files, str(out),
            str(self._stop_file), key="colours", done=done, failed=failed,
            partial=self._on_progress,
        )  # fmt: skip

    def _end(self) -> None:
        self._busy = False
        shutil.rmtree(self._stop_file.parent, ignore_errors=True)

    def _on_progress(self, done_total: tuple[int, int]) -> None:
        self.progress.setRange(0, done_total[1])
        self.progress.setValue(done_total[0])
        self.came.emit()

    def _show(self, taken: ColoursTaken) -> None:
        self._taken = taken
        self.result.setText("\n".join([*taken.lines, f"Written: {taken.folder}"]))
        h, w = taken.picture.shape[:2]
        image = QImage(taken.picture.tobytes(), w, h, 3 * w, QImage.Format.Format_RGB888)
        smooth = Qt.TransformationMode.SmoothTransformation
        self.picture.setPixmap(QPixmap.fromImage(image).scaledToWidth(WIDTH, smooth))

    def _on_use(self) -> None:
        if self._taken is not None:
            self.useRequested.emit(Path(self._taken.folder))

    def _forget(self) -> None:
        self._taken = self._then = None
        self.result.setText("")
        self.refresh()
