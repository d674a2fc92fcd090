"""Asking for files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog, QWidget

from self6d.scene.mesh_names import MESH_SUFFIXES
from studio.controllers.glance import BAGS
from studio.controllers.opening import Opener
from studio.engine.types import BagTopics
from studio.model.settings import Settings
from studio.toolkit.asking import old_files, old_folder

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
        folder = old_folder(self._window, self._settings, "recording", "Open a recording")
        if folder is not None:
            self._opener.open_paths([folder])

    def bag(self) -> None:
        """Choose a bag; its topics are offered then."""
        kinds = " ".join(f"*{suffix}" for suffix in BAGS)
        for file in old_files(
            self._window, self._settings, "recording", "Open a bag",
            f"ROS and RealSense bags ({kinds})",
        ):  # fmt: skip
            self._opener.ask_topics(file)

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
        kinds = " ".join(f"*{suffix}" for suffix in MESH_SUFFIXES)
        recording = self._opener.project.recording
        files = old_files(
            self._window, self._settings, "model", "Open CAD models", f"CAD models ({kinds})",
            one=False, start=None if recording is None else Path(recording.root).parent,
        )  # fmt: skip
        if files:
            self._opener.add_models(files)

    def run(self) -> None:
        start = self._settings.runs_folder
        folder = old_folder(self._window, self._settings, "run", "Open a run folder", start)
        if folder is not None:
            self._opener.open_run(folder)

    def runs_folder(self) -> None:
        start = str(self._settings.runs_folder)
        folder = QFileDialog.getExistingDirectory(self._window, "New runs are made in", start)
        if folder:
            self._settings.runs_folder = Path(folder)
            self._opener.find_runs()
