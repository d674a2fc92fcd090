"""Taking a job to another machine: a folder with all that it reads and one command."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog

from studio.engine import Failure
from studio.jobs import JobSpec
from studio.jobs.run_info import free_name
from studio.shell.window import StudioWindow
from studio.training.panel import RunPanel


class Elsewhere(QObject):
    """Packs the job that is set up, or a run once more; one at a time."""

    def __init__(
        self, window: StudioWindow, train: RunPanel, adapt: RunPanel, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.window, self._train, self._adapt = window, train, adapt
        self._busy = False
        window.runs.packWanted.connect(self.ask)

    def ask_for_setup(self) -> None:
        """The job that the present step's panel holds."""
        panel = self._train if self.window.project.step == "synthetic" else self._adapt
        spec = panel.spec()
        if spec is None:
            self.window.say("warn", panel.problem.text())
        else:
            self.ask(spec)

    def ask(self, spec: JobSpec) -> None:
        """Where to, then write it."""
        home = str(Path.home())
        parent = QFileDialog.getExistingDirectory(self.window, "Folder for the job", home)
        if parent:
            self.pack(spec, free_name(Path(parent), f"{spec.out.name}-job"))

    def pack(self, spec: JobSpec, folder: Path) -> None:
        """Write a job's folder in the background."""
        if self._busy:
            self.window.say("warn", "Another job's folder is being written: wait for its end.")
            return
        self._busy = True
        self.window.worker.request(
            "pack", spec.arguments(), str(folder), partial=self._on_progress,
            done=lambda _: self._on_done(folder), failed=self._on_failed,
        )  # fmt: skip

    def unfinished(self) -> list[str]:
        """Work that ends with the window."""
        return ["a job's folder"] if self._busy else []

    def _on_progress(self, done_total: tuple[int, int]) -> None:
        self.window.job_bar.show_task("Copying frames", *done_total)

    def _end(self) -> None:
        self._busy = False
        self.window.job_bar.show_task("", 0, 0)

    def _on_done(self, folder: Path) -> None:
        self._end()
        self.window.banner.say(
            "warn", f"{folder} holds all that the job reads. Copy it to the other machine, do "
            "`sh run.sh` in it there, and drop the run that it makes on this window.",
            action="Show folder",
            on_action=lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))),
        )  # fmt: skip

    def _on_failed(self, failure: Failure) -> None:
        self._end()
        self.window.show_error(failure)
