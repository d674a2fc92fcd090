"""Asking for files and folders."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from studio.controllers.opening import MESHES, Opener
from studio.model.settings import Settings


class Choosers:
    """The file dialogs behind the File menu and the welcome page."""

    def __init__(self, window: QWidget, opener: Opener, settings: Settings) -> None:
        self._window, self._opener, self._settings = window, opener, settings

    def recording(self) -> None:
        folder = self._folder("Open a recording", Path.home())
        if folder is not None:
            self._opener.open_paths([folder])

    def models(self) -> None:
        kinds = " ".join(f"*{suffix}" for suffix in MESHES)
        files, _ = QFileDialog.getOpenFileNames(
            self._window, "Open CAD models", str(Path.home()), f"CAD models ({kinds})"
        )
        if files:
            self._opener.add_models([Path(f) for f in files])

    def run(self) -> None:
        folder = self._folder("Open a run folder", self._settings.runs_folder)
        if folder is not None:
            self._opener.open_run(folder)

    def runs_folder(self) -> None:
        folder = self._folder("New runs are made in", self._settings.runs_folder)
        if folder is not None:
            self._settings.runs_folder = folder
            self._opener.find_runs()

    def _folder(self, title: str, start: Path) -> Path | None:
        folder = QFileDialog.getExistingDirectory(self._window, title, str(start))
        return Path(folder) if folder else None
