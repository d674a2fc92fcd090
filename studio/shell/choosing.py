"""Asking for files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog, QWidget

from studio.controllers.opening import BAGS, MESHES, Opener
from studio.engine.types import BagTopics
from studio.model.settings import Settings

if TYPE_CHECKING:
    from studio.live.page import LivePage


class Choosers:
    """The file dialogs behind the File menu and the welcome page."""

    def __init__(self, window: QWidget, opener: Opener, settings: Settings) -> None:
        self._window, self._opener, self._settings = window, opener, settings
        self._live: LivePage | None = None

    def live(self) -> None:
        """A network on a camera, in a window of its own."""
        from studio.live.page import LivePage

        if self._live is None:
            self._live = LivePage(self._window, self._opener.project, self._settings)
            self._live.recorded.connect(lambda folder: self._opener.open_paths([folder]))
        self._live.show()
        self._live.raise_()
        self._live.activateWindow()

    def recording(self) -> None:
        folder = self._folder("Open a recording", Path.home())
        if folder is not None:
            self._opener.open_paths([folder])

    def bag(self) -> None:
        """Choose a bag; its topics are offered then."""
        kinds = " ".join(f"*{suffix}" for suffix in BAGS)
        file, _ = QFileDialog.getOpenFileName(
            self._window, "Open a bag", str(Path.home()), f"ROS and RealSense bags ({kinds})"
        )
        if file:
            self._opener.ask_topics(Path(file))

    def topics(self, offer: BagTopics) -> None:
        """Let the user choose among the topics of a bag, and open it so."""
        from studio.panels.topics_dialog import TopicsDialog

        dialog = TopicsDialog(self._window, offer)
        if dialog.exec():
            self._opener.open_bag(offer, *dialog.choice)
        dialog.deleteLater()

    def topics_of_open_bag(self) -> None:
        """The same for the recording that is open, if it is a bag."""
        recording = self._opener.project.recording
        if recording is not None and recording.topics:
            self._opener.ask_topics(Path(recording.root))
        else:
            self._opener.said.emit("warn", "The open recording is not a bag.")

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
