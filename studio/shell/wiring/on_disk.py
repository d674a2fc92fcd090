"""Says that a recording which is open grows, shrinks or goes on disk: the window keeps its list."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QObject, QTimer

from studio.engine.types import DiskChange, RecordingInfo
from studio.shell.window import StudioWindow

SETTLE_MS = 1500  # what writes a recording writes many files
LATER_MS = 10_000  # once it is said, as each look lists all of it
ABOUT = "recording on disk"


class OnDisk(QObject):
    """Watches the open recording's folders; looks at it again once they have changed.

    A change is said once, and the number of frames kept up to date as long as that is read. Not
    seen: changes by other machines on a network disk, until a frame cannot be read.
    """

    def __init__(self, window: StudioWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self.project = window, window.project
        self._said = ""  # see `DiskChange.what`
        self._watched = QFileSystemWatcher(self)
        self._settle = QTimer(window, singleShot=True)
        self._settle.timeout.connect(self._ask)
        self._watched.directoryChanged.connect(self._on_change)
        self._watched.fileChanged.connect(self._on_change)
        self.project.recordingChanged.connect(self._on_recording)

    def _on_recording(self) -> None:
        info = self.project.recording
        self._settle.stop()
        self._said = ""
        self.window.banner.retract(ABOUT)
        before = [*self._watched.directories(), *self._watched.files()]
        if before:
            self._watched.removePaths(before)
        if info is not None:
            self._watch(info)

    def _watch(self, info: RecordingInfo) -> None:
        """Again after a change: what was removed is watched no more when it comes back. The folder
        around it, or what is left of its path, tells that it was moved away, or is back."""
        known = {*self._watched.directories(), *self._watched.files()}
        around = next(f for f in Path(info.root).absolute().parents if f.exists())
        paths = dict.fromkeys((info.root, *info.folders, str(around)))
        if missing := [path for path in paths if path not in known and Path(path).exists()]:
            self._watched.addPaths(missing)

    def _on_change(self, path: str) -> None:
        info = self.project.recording
        if info is None or self._settle.isActive():
            return
        as_said = Path(info.root).exists() == (self._said != "gone")
        if as_said and path not in (info.root, *info.folders):
            return  # something else beside it
        self._settle.start(LATER_MS if self._said in ("more", "fewer", "replaced") else SETTLE_MS)

    def _ask(self) -> None:
        info = self.project.recording
        if info is None:
            return

        def told(change: DiskChange) -> None:
            if info is self.project.recording:
                self._watch(info)
                self._tell(change)

        self.window.engine.request(
            "changed_on_disk", info.root, len(info), key=ABOUT, done=told,
            failed=self.window.show_error,
        )  # fmt: skip

    def _tell(self, change: DiskChange) -> None:
        before, self._said, banner = self._said, change.what, self.window.banner
        if not change.what:
            banner.retract(ABOUT)
        elif change.what != before or banner.says_of(ABOUT):
            banner.say(
                "warn", change.text, action="Open again", about=ABOUT,
                on_action=self.window.opener.open_again,
            )  # fmt: skip
        if change.what and change.what != before:
            self.window.noted.emit("warning", change.text)
