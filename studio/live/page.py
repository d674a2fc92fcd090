"""The live page: a network on a camera, a film or a recording, poses drawn as they come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, QProcess, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QImage, QPixmap
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QWidget,
)

from self6d.errors import InputError
from self6d.files import check_live_source
from studio.jobs.run_info import free_name
from studio.live.feed import Message, Unpacker
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.asking import old_files, old_folder
from studio.toolkit.focus import EnterPresses
from studio.toolkit.widgets import Choice, button, captioned, column, label, row
from studio.toolkit.words import in_window, sentence

PATIENCE_MS = 4000  # in which the process may complete what it records
ANOTHER = "another run or package…"
LOADING, STOPPING = "Loading the network…", "Stopping…"


class LivePage(EnterPresses, QWidget):
    """A window of its own; what looks is a process of its own.

    Signals:
        recorded: folder of what was recorded, to be opened.
    """

    recorded = Signal(object)

    def __init__(self, parent: QWidget, project: Project, settings: Settings) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Live")
        self.resize(900, 640)
        self.project, self.settings = project, settings
        self._process: QProcess | None = None
        self._unpack = Unpacker()
        self._pixmap = QPixmap()
        self._notes: list[str] = []
        self._into: Path | None = None
        self._other: list[Path] = []

        self.network = Choice("Network")
        self.network.setToolTip(
            "The network whose poses are shown: a run of this project, or an exported package"
        )
        self.network.activated.connect(self._on_network)
        self.source = QLineEdit("0")
        self.source.setToolTip(
            "Number of a camera, realsense, or a video file, an image, a folder of images, "
            "a recording or a bag"
        )
        self.camera = QLineEdit()
        self.camera.setPlaceholderText("the network's own, scaled")
        self.camera.setToolTip(
            "Intrinsics (.json, .yaml), for a camera, a video file or bare images"
        )
        self.keep = QCheckBox("Record the frames, to open them here")
        self.start_button = button("Start", self._on_start, "primary")
        self.open_button = button("Open the recording", self._on_open)
        self.open_button.hide()
        self.picture = QLabel()
        self.picture.installEventFilter(self)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setMinimumSize(320, 240)
        self.picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.objects = label("", "small", wrap=True)
        self.told = label("", "small", wrap=True)
        film = button("Video or image…", self._on_film)
        folder = button("Folder…", self._on_folder)
        file = button("File…", self._on_camera)
        self._choosers = (film, folder, file)
        form = captioned(
            ("Network", self.network), ("Source", _wide(row(self.source, film, folder))),
            ("Camera", _wide(row(self.camera, file))),
        )  # fmt: skip
        outer = column(
            form, row(self.keep, 1, self.open_button, self.start_button), self.picture,
            self.objects, self.told, margin=12, gap=8,
        )  # fmt: skip
        outer.setStretch(2, 1)
        self.setLayout(outer)
        project.runsChanged.connect(self._fill)
        app = QApplication.instance()
        assert app is not None
        app.aboutToQuit.connect(self.halt)
        self._fill()

    @property
    def running(self) -> bool:
        return self._process is not None

    def halt(self) -> None:
        """End what looks and wait for it; what it recorded is complete then."""
        process = self._process
        if process is None:
            return
        process.closeWriteChannel()
        if not process.waitForFinished(PATIENCE_MS):
            process.kill()
            process.waitForFinished(1000)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.halt()
        super().closeEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.picture and event.type() == QEvent.Type.Resize:
            self._paint()  # also where a line under it came or went
        return super().eventFilter(watched, event)

    def _fill(self) -> None:
        chosen = self.network.currentData()
        self.network.clear()
        for run in reversed(self.project.networks()):
            self.network.addItem(run.name, str(run.path))
        for path in self._other:
            self.network.addItem(path.name, str(path))
        self.network.addItem(ANOTHER, None)
        self.network.setCurrentIndex(max(self.network.findData(chosen), 0) if chosen else 0)
        self._settle()

    def _settle(self) -> None:
        self.start_button.setText("Stop" if self.running else "Start")
        there = self.network.currentData() is not None
        self.start_button.setEnabled(self.running or there)
        if self._pixmap.isNull():
            self.picture.setText("Choose a source, then Start." if there else "")
        if not there and not self.running:
            self._say("Train or open a network first, or choose a package.")
        for box in (self.network, self.source, self.camera, self.keep, *self._choosers):
            box.setEnabled(not self.running)

    def _on_network(self) -> None:
        if self.network.currentData() is None:
            folder = old_folder(
                self, self.settings, "network", "A run or an exported package",
                self.settings.runs_folder,
            )  # fmt: skip
            if folder is not None:
                self._other.append(folder)
                self._fill()
                self.network.setCurrentIndex(self.network.findData(str(folder)))
        self._say("")
        self._settle()

    def _on_start(self) -> None:
        if self.running:
            self.start_button.setEnabled(False)
            if self.told.objectName() != "bad":  # else it ends by itself, and has said why
                self._say(STOPPING)
            process = self._process
            assert process is not None
            process.closeWriteChannel()
            QTimer.singleShot(PATIENCE_MS, process, process.kill)
            return
        asked: dict[str, Any] = {
            "network": self.network.currentData(),
            "source": self.source.text().strip() or "0",
            "camera": self.camera.text().strip() or None,
        }
        self._clear()
        try:
            check_live_source(asked["source"])
        except InputError as error:
            self._say(str(error), "bad")
            return
        self._into = None
        if self.keep.isChecked():
            self._into = free_name(self.settings.runs_folder, "live")
            asked["record"] = str(self._into)
        self.open_button.hide()
        self._say(LOADING)
        self._unpack = Unpacker()
        process = QProcess(self)
        process.setProgram(sys.executable)
        process.setArguments(["-m", "studio.live.feed", json.dumps(asked)])
        process.readyReadStandardOutput.connect(self._on_bytes)
        process.finished.connect(self._on_finished)
        self._process = process
        process.start()
        self._settle()

    def _clear(self) -> None:
        """Nothing of another source stays."""
        self._pixmap = QPixmap()
        self.picture.clear()
        self.objects.setText("")
        self._notes = []

    def _on_bytes(self) -> None:
        if self._process is not None:
            for message in self._unpack(bytes(self._process.readAllStandardOutput().data())):
                self._show(message)

    def _show(self, message: Message) -> None:
        said = message.said
        if "error" in said:
            self._say(str(said["error"]), "bad")
        elif "note" in said:
            if str(said["note"]) not in self._notes:
                self._notes.append(str(said["note"]))
            self._say(self._noted())
        else:
            if said["image"] == 0 and self.told.text() == LOADING:
                self._say("")
            seen = [f"{o['object']}: {o['state']}, confidence {o['confidence']:.2f}"
                    for o in said["objects"]]  # fmt: skip
            rate = f"image {said['image']}, {said['rate']:.1f} a second"
            self.objects.setText("   ·   ".join([rate, *(seen or ["nothing found yet"])]))
        if message.jpeg:
            self._pixmap = QPixmap.fromImage(QImage.fromData(message.jpeg))
            self._paint()

    def _noted(self) -> str:
        """All that was said of how it is looked at; one note must not hide the one before."""
        return " ".join(f"{sentence(in_window(note)).rstrip('.')}." for note in self._notes)

    def _paint(self) -> None:
        if not self._pixmap.isNull():
            how = Qt.TransformationMode.SmoothTransformation
            keep = Qt.AspectRatioMode.KeepAspectRatio
            self.picture.setPixmap(self._pixmap.scaled(self.picture.size(), keep, how))

    def _on_finished(self, code: int) -> None:
        self._on_bytes()
        process, self._process = self._process, None
        if process is not None:
            last = bytes(process.readAllStandardError().data()).decode(errors="replace").strip()
            told, wrong = self.told.text(), self.told.objectName() == "bad"
            if code != 0 and not wrong:
                self._say(f"The live process ended: {last[-200:]}", "bad")
            elif not wrong:
                ended = "" if told == STOPPING else "The source has ended."
                self._say(f"{self._noted()} {ended}".strip())
            process.deleteLater()
        if self._into is not None and self._into.is_dir():
            self._say(f"Recorded as {self._into}")
            self.open_button.show()
        self._settle()

    def _say(self, text: str, name: str = "small") -> None:
        self.told.setText(in_window(text))
        self.told.setObjectName(name if text else "small")
        self.told.setVisible(bool(text))
        self.told.style().unpolish(self.told)
        self.told.style().polish(self.told)

    def _on_open(self) -> None:
        if self._into is not None:
            self.recorded.emit(self._into)

    def _on_film(self) -> None:
        for file in old_files(self, self.settings, "video", "A video file, an image or a bag"):
            self.source.setText(str(file))

    def _on_folder(self) -> None:
        folder = old_folder(self, self.settings, "recording", "A recording")
        if folder is not None:
            self.source.setText(str(folder))

    def _on_camera(self) -> None:
        for file in old_files(self, self.settings, "camera", "A camera file"):
            self.camera.setText(str(file))


def _wide(layout: Any) -> QWidget:
    """A widget that holds a row."""
    widget = QWidget()
    layout.setContentsMargins(0, 0, 0, 0)
    widget.setLayout(layout)
    return widget
