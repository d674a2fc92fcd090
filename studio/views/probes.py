"""Fixed probe frames of a running job: at its start and now, side by side."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QComboBox, QSplitter, QVBoxLayout, QWidget

from self6d.events import Preview
from studio.engine import compose
from studio.toolkit.theme import PREDICTED, START
from studio.toolkit.widgets import Segments, label, row, short
from studio.views.canvas import ImageCanvas, to_image
from studio.views.captions import paint_note

MODES = (
    ("overlay", "Overlay", "The rendering over the frame"),
    ("masks", "Masks", "Predicted mask (orange) against rendered mask (blue); white where both"),
    ("frame", "Frame", "The frame alone"),
)


class ProbeCanvas(ImageCanvas):
    """One preview with its caption."""

    def __init__(self, caption: str, colour: str) -> None:
        super().__init__()
        self._caption, self._colour = caption, colour
        self._preview: Preview | None = None
        self._outlines: list[QPolygonF] = []
        self.layers = [self._paint_outlines, self._paint_caption]
        self.setMinimumSize(120, 100)

    @property
    def preview(self) -> Preview | None:
        return self._preview

    def show_preview(self, preview: Preview | None, mode: str) -> None:
        self._preview = preview
        self._outlines = []
        picture = None if preview is None else picture_of(preview, mode)
        self.set_image(None if picture is None else to_image(picture))
        if preview is not None and mode != "masks" and "rendered_mask" in preview.arrays:
            mask = preview.arrays["rendered_mask"] > 127
            self._outlines = [
                QPolygonF([QPointF(x, y) for x, y in outline.tolist()])
                for outline in compose.contours(mask)
            ]
        self.update()

    def _paint_outlines(self, painter: QPainter, px: float) -> None:
        painter.setPen(QPen(QColor(self._colour), 2 * px))
        for polygon in self._outlines:
            painter.drawPolygon(polygon)

    def _paint_caption(self, painter: QPainter, px: float) -> None:
        step = "" if self._preview is None else f", step {self._preview.step}"
        paint_note(painter, self._caption + step, self._colour)


def picture_of(preview: Preview, mode: str) -> np.ndarray | None:
    """A preview as a picture (H, W, 3) uint8; None if it carries none."""
    arrays = preview.arrays
    if "rgb" not in arrays:
        return arrays.get("gallery")
    rgb = arrays["rgb"]
    if mode == "masks" and "mask" in arrays:
        predicted = arrays["mask"].astype(np.float32)[..., None] / 255
        drawn = arrays.get("rendered_mask", np.zeros_like(arrays["mask"]))
        rendered = drawn.astype(np.float32)[..., None] / 255
        orange, blue = np.array([255, 150, 40]), np.array([60, 150, 255])
        mixed = predicted * (1 - rendered) * orange + rendered * (1 - predicted) * blue
        return np.clip(rgb * 0.25 + mixed + predicted * rendered * 235, 0, 255).astype(np.uint8)
    if mode == "overlay" and "rendered" in arrays:
        covered = _covered(arrays)[..., None]
        mixed = np.where(covered, 0.35 * rgb + 0.65 * arrays["rendered"], rgb)
        return mixed.astype(np.uint8)
    return rgb


def _covered(arrays: dict[str, np.ndarray]) -> np.ndarray:
    if "rendered_mask" in arrays:
        return arrays["rendered_mask"] > 127
    return np.asarray(arrays["rendered"].any(axis=-1))


class ProbesView(QWidget):
    """Start and now of one probe; the combo box changes the probe."""

    probeChanged = Signal(object)  # the newest Preview of the chosen probe, or None

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.choice = short(QComboBox())
        self.choice.currentIndexChanged.connect(self._refresh)
        self.modes = Segments(MODES, lambda mode: self._refresh())
        self.start = ProbeCanvas("Start", START)
        self.now = ProbeCanvas("Now", PREDICTED)
        self.start.message = "The probe as it was when the run started."
        self.now.message = "Start a run: its probe frames appear here, before and now."
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.start)
        split.addWidget(self.now)
        split.setChildrenCollapsible(False)
        self.note = label("", "small")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(row(self.modes, 1, self.choice))
        layout.addWidget(split, 1)
        layout.addWidget(self.note)
        self._first: dict[str, Preview] = {}
        self._newest: dict[str, Preview] = {}
        self.modes.choose("overlay")

    def add(self, preview: Preview, *, first: bool = False) -> None:
        """Take over a preview; the first of its name is what the run started from."""
        if "rgb" not in preview.arrays:
            return
        if first or preview.name not in self._first:
            self._first[preview.name] = preview
        if not first:
            self._newest[preview.name] = preview
        if self.choice.findText(preview.name) < 0:
            self.choice.addItem(preview.name)
        elif preview.name == self.choice.currentText():
            self._refresh()

    def clear(self) -> None:
        self._first.clear()
        self._newest.clear()
        self.choice.clear()
        self._refresh()

    @property
    def newest(self) -> Preview | None:
        return self._newest.get(self.choice.currentText())

    def _refresh(self, *_: object) -> None:
        name, mode = self.choice.currentText(), self.modes.chosen
        self.choice.setVisible(self.choice.count() > 1)
        self.start.show_preview(self._first.get(name), mode)
        newest = self._newest.get(name)
        self.now.show_preview(newest, mode)
        self.note.setText(_movement(self._first.get(name), newest))
        self.probeChanged.emit(newest)


def _movement(first: Preview | None, now: Preview | None) -> str:
    """How far the first object's pose has moved since the start."""
    if first is None or now is None or not first.poses or not now.poses:
        return ""
    a = first.poses[0]
    same = [p for p in now.poses if p.get("object_id") == a.get("object_id")]
    if not same:
        return ""
    t = np.array(a["t_m2c"])
    b = min(same, key=lambda p: float(np.linalg.norm(np.array(p["t_m2c"]) - t)))
    turn = compose.rotation_error_deg(np.array(a["R_m2c"]), np.array(b["R_m2c"]))
    shift = float(np.linalg.norm(np.array(a["t_m2c"]) - np.array(b["t_m2c"]))) * 1000
    return f"moved {turn:.1f}° and {shift:.1f} mm since the start"
