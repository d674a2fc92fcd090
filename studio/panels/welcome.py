"""The first page, with pictures: the sample, your own data, a tour, and where you were."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QImageReader, QPixmap
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout, QWidget

from self6d.paths import find_resource
from self6d.scene.mesh_names import KINDS
from studio.toolkit.long_words import shortened_name
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import ElidedLabel, button, clear, column, label, row

TOUR = (
    ("folder-open", "Give it a recording and a CAD model",
     f"RGB-D frames without labels, and a CAD file ({KINDS}). The doctor checks units and depth."),
    ("layers", "Train on rendered images",
     "Stage 1 needs the CAD model alone: it renders what it learns from."),
    ("wand-sparkles", "Let it adapt to your camera",
     "Stage 2 pulls rendering and sensor together on your frames. Nobody labels anything."),
    ("package", "Take the checkpoint away",
     "Compare before and after, then export a network that needs RGB alone."),
)  # fmt: skip

FORMATS = (
    "RGB-D frames (BOP, plain folder, TUM, LineMOD, YCB-Video, ScanNet, Open3D, Record3D, Stray "
    f"Scanner, a bag of ROS or RealSense) or a single image; CAD files ({KINDS})."
)

# pixels: of the pictures in the cards, of the page
PICTURE, SMALL, NONE = QSize(236, 148), QSize(160, 100), QSize(0, 0)
WIDTH, MARGIN, GAP = 800, 16, 12
# size of the pictures and whether it is told how it works; the first that fits is taken
WAYS = ((PICTURE, True), (SMALL, True), (PICTURE, False), (SMALL, False), (NONE, False))


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
        self._cards: list[QFrame] = []
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
        self.tour = QWidget()
        self.tour.setLayout(column(label("HOW IT WORKS", "section"), steps, gap=8))
        self._middle = middle = QWidget()
        middle.setObjectName("plain")
        middle.setMaximumWidth(WIDTH)
        middle.setLayout(
            column(
                label("Adapt a 6D pose network to your camera", "heading"),
                label("From a CAD model and an unlabelled RGB-D recording to a checkpoint that "
                      "needs RGB alone.", "muted", wrap=True),
                cards, self.drop_zone, self.recent_title, self._recent, self.tour, gap=GAP,
            )
        )  # fmt: skip
        self.setLayout(column(1, row(1, middle, 1), 2, margin=MARGIN))
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
            name = shortened_name(path.name).replace("&", "&&")
            one = button(name, partial(self.openRecent.emit, entry), "link", str(path))
            where = ElidedLabel(str(path.parent), "small", Qt.TextElideMode.ElideMiddle)
            line = row(one, where)
            line.setStretch(1, 1)
            self._recent.addLayout(line)
        self._fit()

    def _card(self, picture: str, title: str, text: str, buttons: Any) -> QFrame:
        """A picture of the window, what it leads to, and the button that does."""
        card, shown = QFrame(), QLabel()
        card.setObjectName("panel")
        card.setMinimumWidth(PICTURE.width() + 16)
        card.setMaximumWidth(PICTURE.width() + 24)
        shown.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._pictures.append((shown, picture))
        self._cards.append(card)
        card.setLayout(column(shown, label(title, "title"), label(text, "muted", wrap=True), 1,
                              buttons, margin=8))  # fmt: skip
        return card

    def event(self, event: QEvent) -> bool:
        room = self.parentWidget()
        if event.type() == QEvent.Type.ParentChange and room is not None:
            room.installEventFilter(self)  # it may change and this page not
        done = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return done

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._fit()
        return False

    def _fit(self) -> None:
        """Small pictures, no more of how it works, no pictures, before one has to scroll."""
        room, layout, tour = self.parentWidget(), self.layout(), self.tour.layout()
        if room is None or layout is None or tour is None:
            return
        for widget in (*self._cards, self._middle):  # what was changed in them before
            widget.layout().activate()  # type: ignore[union-attr]
        layout.invalidate()
        size, told = self._size, not self.tour.isHidden()
        bare = layout.totalHeightForWidth(room.width()) - size.height()
        tour_height = tour.totalHeightForWidth(min(room.width() - 2 * MARGIN, WIDTH)) + GAP
        bare -= told * tour_height
        fitting = (way for way in WAYS
                   if bare + way[0].height() + way[1] * tour_height <= room.height())  # fmt: skip
        self._size, tells = next(fitting, WAYS[-1])
        if self._size != size:
            self._dress()
        if tells != told:
            self.tour.setVisible(tells)

    def _dress(self) -> None:
        self._drop_icon.setPixmap(icon("download", "muted").pixmap(18, 18))
        for shown, name in self._pictures:
            file = find_resource(f"tour/{name}-{'dark' if theme.dark else 'light'}.jpg")
            shown.setVisible(file is not None)
            shown.setFixedHeight(self._size.height())
            if file is not None and self._size != NONE:  # its height is 0 then
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
