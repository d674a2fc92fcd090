"""The first page, with pictures: the sample, your own data, a tour, and where you were."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QImageReader, QPixmap, QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout, QWidget

from self6d.paths import find_resource
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import button, clear, column, label, row

TOUR = (
    ("folder-open", "Give it a recording and a CAD model",
     "RGB-D frames without labels, and a PLY, OBJ, GLB or STL file. The doctor checks units and "
     "depth."),
    ("layers", "Train on rendered images",
     "Stage 1 needs the CAD model alone: it renders what it learns from."),
    ("wand-sparkles", "Let it adapt to your camera",
     "Stage 2 pulls rendering and sensor together on your frames. Nobody labels anything."),
    ("package", "Take the checkpoint away",
     "Compare before and after, then export a network that needs RGB alone."),
)  # fmt: skip

FORMATS = (
    "RGB-D frames (BOP, plain folder, TUM, LineMOD, YCB-Video, ScanNet, Open3D, Record3D, Stray "
    "Scanner, a bag of ROS or RealSense) or a single image; PLY, OBJ, GLB or STL files."
)

PICTURE, SMALL = QSize(236, 148), QSize(160, 100)  # of a card, pixels
LOW = 600  # height of a window, pixels; below, the buttons come before large pictures


class WelcomePage(QWidget):
    """Shown while nothing is open."""

    openSample = Signal()
    openTour = Signal()
    openRecording = Signal()
    openModels = Signal()
    openRecent = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plain")
        self._pictures: list[tuple[QLabel, str]] = []
        self._size = PICTURE
        self.sample_button = button(
            "Open sample", self.openSample.emit, "primary",
            "Generates a small RGB-D recording of three objects, offline",
        )  # fmt: skip
        self.open_button = button("Open recording…", self.openRecording.emit)
        self.models_button = button("Open CAD models…", self.openModels.emit)
        self.tour_button = button("Take the tour", self.openTour.emit)
        cards = row(
            self._card("sample-4-did-it-help", "Try the sample",
                       "A small recording of three objects, generated here within seconds, with "
                       "a network to adapt to it.", row(self.sample_button, 1)),
            self._card("plain-1-recording", "Your own data", FORMATS,
                       column(row(self.open_button, 1), row(self.models_button, 1))),
            self._card("sample-7-xray", "See it in 60 seconds",
                       "What each step looks like, from the recording to the exported network.",
                       row(self.tour_button, 1)),
            gap=12,
        )  # fmt: skip
        for place in range(cards.count()):
            cards.setStretch(place, 1)
        self.drop_zone = QFrame()
        self.drop_zone.setObjectName("dropzone")
        self._drop_icon = QLabel()
        head = label("Or drop a recording, CAD files or a run folder anywhere here", "muted")
        self.drop_zone.setLayout(row(1, self._drop_icon, head, 1, margin=10))

        self._recent = QVBoxLayout()
        self._recent.setSpacing(4)
        self.recent_title = label("RECENT", "section")
        self._steps: list[tuple[QLabel, str]] = []
        steps = QGridLayout()
        steps.setHorizontalSpacing(24)
        steps.setVerticalSpacing(8)
        for place, (name, title, text) in enumerate(TOUR):
            mark = QLabel()
            mark.setFixedWidth(28)
            mark.setAlignment(Qt.AlignmentFlag.AlignTop)
            self._steps.append((mark, name))
            told = row(
                mark, column(label(title, "title"), label(text, "muted", wrap=True), 1, gap=2)
            )
            told.setStretch(1, 1)
            steps.addLayout(told, place // 2, place % 2)
        tour = column(label("HOW IT WORKS", "section"), steps, gap=8)
        middle = QWidget()
        middle.setObjectName("plain")
        middle.setMaximumWidth(800)
        middle.setLayout(
            column(
                label("Adapt a 6D pose network to your camera", "heading"),
                label("From a CAD model and an unlabelled RGB-D recording to a checkpoint that "
                      "needs RGB alone.", "muted", wrap=True),
                cards, self.drop_zone, self.recent_title, self._recent, tour, gap=12,
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

    def _card(self, picture: str, title: str, text: str, buttons: Any) -> QFrame:
        """A picture of the window, what it leads to, and the button that does."""
        card, shown = QFrame(), QLabel()
        card.setObjectName("panel")
        card.setMinimumWidth(PICTURE.width() + 16)
        card.setMaximumWidth(PICTURE.width() + 24)
        shown.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._pictures.append((shown, picture))
        card.setLayout(column(shown, label(title, "title"), label(text, "muted", wrap=True), 1,
                              buttons, margin=8))  # fmt: skip
        return card

    def resizeEvent(self, event: QResizeEvent) -> None:
        size = SMALL if self.window().height() < LOW else PICTURE
        if size != self._size:
            self._size = size
            self._dress()

    def _dress(self) -> None:
        self._drop_icon.setPixmap(icon("download", "muted").pixmap(18, 18))
        for shown, name in self._pictures:
            file = find_resource(f"tour/{name}-{'dark' if theme.dark else 'light'}.jpg")
            shown.setVisible(file is not None)
            shown.setFixedHeight(self._size.height())
            if file is not None:
                shown.setPixmap(small_picture(file, self._size, self.devicePixelRatioF()))
        for mark, name in self._steps:
            mark.setPixmap(icon(name, "accent").pixmap(20, 20))


def small_picture(file: Path, size: QSize, ratio: float) -> QPixmap:
    """A picture file at a size in the window's own pixels, read at that size."""
    reader = QImageReader(str(file))
    reader.setScaledSize(size * ratio)
    picture = QPixmap.fromImage(reader.read())
    picture.setDevicePixelRatio(ratio)
    return picture
