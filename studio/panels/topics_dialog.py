"""Which topics of a bag are read."""

from __future__ import annotations

from os.path import commonpath
from pathlib import Path

from PySide6.QtWidgets import QComboBox, QDialog, QGridLayout, QWidget

from studio.engine.types import BagTopics
from studio.toolkit.widgets import Choice, button, column, label, row

NO_DEPTH = "none: adapt by colour alone"
OWN_INFO = "the one that belongs to colour"


class TopicsDialog(QDialog):
    """Colour, depth and camera_info of a bag; accepted, `choice` tells them."""

    def __init__(self, parent: QWidget, offer: BagTopics) -> None:
        super().__init__(parent)
        self.offer = offer
        self.setWindowTitle("Topics of the bag")
        self.setModal(True)
        self.setMinimumWidth(520)
        self.colour_box = self._box("Colour", [(t, t) for t in offer.colours], offer.colour)
        depths = [(t, t) for t in offer.depths] + [(NO_DEPTH, "")]
        self.depth_box = self._box("Depth", depths, offer.depth)
        infos = [(t, t) for t in offer.infos] + [(OWN_INFO, "")]
        self.info_box = self._box("camera_info", infos, offer.info)
        grid = QGridLayout()
        boxes = (self.colour_box, self.depth_box, self.info_box)
        for line, box in enumerate(boxes):
            grid.addWidget(label(box.accessibleName(), "muted"), line, 0)
            grid.addWidget(box, line, 1)
        grid.setColumnStretch(1, 1)
        self.open_button = button("Open", self.accept, "primary")
        self.open_button.setDefault(True)
        self.open_button.setEnabled(bool(offer.colours))
        name = Path(offer.path).name
        note = "Depth must be aligned to colour, or the bag hold the two cameras' extrinsics. "
        note += f"Another choice is kept in {name}.topics.json beside the bag."
        self.colour_box.currentIndexChanged.connect(self._on_colour)
        self.setLayout(column(
            label(name, "subheading"), grid, label(note, "small", wrap=True),
            row(1, button("Cancel", self.reject), self.open_button), margin=20, gap=16,
        ))  # fmt: skip

    @property
    def choice(self) -> tuple[str, str, str]:
        """Topics of colour, depth ("" for none) and camera_info ("" for colour's own)."""
        colour, depth, info = (
            str(box.currentData() or "") for box in (self.colour_box, self.depth_box, self.info_box)
        )
        return colour, depth, info

    def _on_colour(self) -> None:
        """Another camera has its own depth, whose name begins alike, and its own camera_info."""
        colour = str(self.colour_box.currentData())
        first = colour == self.offer.colour
        alike = max(self.offer.depths, key=lambda d: len(commonpath((d, colour))), default="")
        depth = self.offer.depth if first else alike
        self.depth_box.setCurrentIndex(self.depth_box.findData(depth))
        self.info_box.setCurrentIndex(self.info_box.findData(self.offer.info if first else ""))

    @staticmethod
    def _box(name: str, entries: list[tuple[str, str]], chosen: str) -> QComboBox:
        box = Choice(name)
        for text, data in entries:
            box.addItem(text, data)
        box.setCurrentIndex(max(box.findData(chosen), 0))
        return box
