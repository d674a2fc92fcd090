"""Says that a recording which is open grows, shrinks or goes on disk: the window keeps its list."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QObject, QTimer

from studio.engine import Failure
from studio.shell.window import StudioWindow

SETTLE_MS = 1500  # what writes a recording writes many files
ABOUT = "recording on disk"


class OnDisk(QObject):
    """Watches the open recording's folders; looks at it again once they have changed.

    Not seen: changes by other machines on a network disk, until a frame cannot be read.
    """

    def __init__(self, window: StudioWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self.project = window, window.project
        self._watched = QFileSystemWatcher(self)
        self._settle = QTimer(window, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        self._watched.directoryChanged.connect(self._on_change)
        self._watched.fileChanged.connect(self._on_change)
        self.project.recordingChanged.connect(self._on_recording)

    def _on_recording(self) -> None:
        info = self.project.recording
        self._settle.stop()
        self.window.banner.retract(ABOUT)
        before = [*self._watched.directories(), *self._watched.files()]
        if before:
            self._watched.removePaths(before)
        if info is not None:
            self._watched.addPaths([info.root, *info.folders])

    def _on_change(self, path: str) -> None:
        if not self._settle.isActive():
            self._settle.start()

    def _ask(self) -> None:
        info, number = self.project.recording, self.project.number
        if info is None:
            return

        def told(text: str) -> None:
            if number != self.project.number or not text:
                return
            models, unit = list(self.project.model_paths), self.project.unit
            self.window.banner.say(
                "warn", text, action="Open again", about=ABOUT,
                on_action=lambda: self.window.opener.open_recording(
                    Path(info.root), models, unit=unit
                ),
            )  # fmt: skip
            self.window.noted.emit("warning", text)

        def failed(failure: Failure) -> None:
            self.window.show_error(failure)

        self.window.engine.request(
            "changed_on_disk", info.root, len(info), key=ABOUT, done=told, failed=failed
        )
