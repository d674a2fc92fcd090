"""Layers of networks in the window: which runs are offered for them."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices

from studio.controllers.filming import Filming
from studio.jobs.run_info import checkpoint_steps, free_name
from studio.shell.window import StudioWindow
from studio.views.layer_list import LayerList
from studio.views.layer_painter import LayerPainter


class Layering(QObject):
    """Keeps the list of layers on what the project has."""

    def __init__(self, window: StudioWindow, painter: LayerPainter, parent: QObject) -> None:
        """
        Args:
            painter: of the picture, which a film repeats.
        """
        super().__init__(parent)
        self.window, self.painter = window, painter
        self.panel = LayerList(window.layers)
        project = window.project
        self.filming = Filming(window.director, window.worker, self)
        self.panel.filmWanted.connect(self.film)
        self.filming.progress.connect(self.panel.show_progress)
        self.filming.ended.connect(self._on_filmed)
        self.filming.failed.connect(window.show_error)
        for signal in (project.runsChanged, project.modelsChanged):
            signal.connect(self._offer)

    def film(self) -> None:
        """Begin a film of the view; while one is made, end it."""
        if self.filming.busy:
            self.filming.cancel()
            return
        recording = self.window.project.recording_path
        if recording is None:
            self.window.say("warn", "Open a recording first: its frames are filmed.")
            return
        folder = self.window.settings.runs_folder / "films"
        self.filming.start(free_name(folder, recording.stem or "film", suffix=".mp4"), self.painter)

    def unfinished(self) -> list[str]:
        """Work that ends with the window."""
        return ["a film"] if self.filming.busy else []

    def _on_filmed(self, out: Path) -> None:
        self.window.banner.say(
            "good", f"The film is in {out}", action="Show folder",
            on_action=lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(out.parent))),
        )  # fmt: skip

    def _offer(self) -> None:
        project = self.window.project
        self.panel.offer([
            (run.path, checkpoint_steps(run.path))
            for run in reversed(project.networks())
            if not project.misfit(run.path)
        ])  # fmt: skip
