"""The first page: open the sample, drop something, go on where you were."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import button, clear, column, label, row

TOUR = (
    ("folder-open", "Give it a recording and a CAD model",
     "RGB-D frames without labels, and a PLY, OBJ or GLB file. The doctor checks units and depth."),
    ("layers", "Train on rendered images",
     "Stage 1 needs the CAD model alone: it renders what it learns from."),
    ("wand-sparkles", "Let it adapt to your camera",
     "Stage 2 pulls rendering and sensor together on your frames. Nobody labels anything."),
    ("package", "Take the checkpoint away",
     "Compare before and after, then export a network that needs RGB alone."),
)  # fmt: skip


class WelcomePage(QWidget):
    """Shown while nothing is open."""

    openSample = Signal()
    openRecording = Signal()
    openModels = Signal()
    openRecent = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.drop_zone = QFrame()
        self.drop_zone.setObjectName("dropzone")
        self.drop_zone.setMinimumHeight(168)
        self._drop_icon = QLabel()
        self._drop_icon.setAlignment(Qt.AlignmentFlag.AlignCenter)
        head = label("Drop a recording or CAD files here", "subheading")
        head.setAlignment(Qt.AlignmentFlag.AlignCenter)
        kinds = label(
            "RGB-D folders (BOP, plain, TUM, LineMOD, YCB-Video), single images, "
            "PLY, OBJ or GLB models, run folders", "muted", wrap=True,
        )  # fmt: skip
        kinds.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sample_button = button(
            "Open sample",
            self.openSample.emit,
            "primary",
            "Generates a small RGB-D recording of three objects, offline",
        )
        self.open_button = button("Open recording…", self.openRecording.emit)
        self.models_button = button("Open CAD models…", self.openModels.emit)
        buttons = row(1, self.sample_button, self.open_button, self.models_button, 1)
        self.drop_zone.setLayout(column(1, self._drop_icon, head, kinds, 4, buttons, 1, margin=20))

        self._recent = QVBoxLayout()
        self._recent.setSpacing(4)
        self.recent_title = label("RECENT", "section")
        self._steps: list[tuple[QLabel, str]] = []
        tour = column(label("HOW IT WORKS", "section"), gap=12)
        for name, title, text in TOUR:
            mark = QLabel()
            mark.setFixedWidth(28)
            mark.setAlignment(Qt.AlignmentFlag.AlignTop)
            self._steps.append((mark, name))
            tour.addLayout(row(mark, column(label(title, "title"), label(text, "muted", wrap=True),
                                            gap=2)))  # fmt: skip
        middle = QWidget()
        middle.setObjectName("plain")
        middle.setMaximumWidth(760)
        middle.setLayout(
            column(
                label("Adapt a 6D pose network to your camera", "heading"),
                label("From a CAD model and an unlabelled RGB-D recording to a checkpoint that "
                      "needs RGB alone.", "muted", wrap=True),
                self.drop_zone, self.recent_title, self._recent, tour, gap=16,
            )
        )  # fmt: skip
        self.setLayout(column(1, row(1, middle, 1), 2, margin=16))
        for side in (0, 2):
            self.layout().itemAt(1).layout().setStretch(side, 1)  # type: ignore[union-attr]
        self.layout().itemAt(1).layout().setStretch(1, 8)  # type: ignore[union-attr]
        theme.changed.connect(self._dress)
        self._dress()
        self.set_recent([])

    def set_recent(self, entries: list[dict[str, Any]]) -> None:
        clear(self._recent)
        self.recent_title.setVisible(bool(entries))
        for entry in entries[:4]:
            path = Path(entry["recording"])
            one = button(path.name, partial(self.openRecent.emit, entry), "link", str(path))
            self._recent.addLayout(row(one, label(str(path.parent), "small"), 1))

    def _dress(self) -> None:
        self._drop_icon.setPixmap(icon("download", "muted").pixmap(28, 28))
        for mark, name in self._steps:
            mark.setPixmap(icon(name, "accent").pixmap(20, 20))
