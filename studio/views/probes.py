"""Fixed probe frames of a running job: at its start and now, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF, QShowEvent
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from self6d.events import Preview
from studio.engine import compose
from studio.toolkit.theme import PREDICTED, START
from studio.toolkit.widgets import Choice, Segments, label, row
from studio.toolkit.words import none_of
from studio.views.canvas import ImageCanvas, to_image
from studio.views.captions import paint_note

MODES = (
    ("overlay", "Overlay", "The rendering over the frame"),
    ("masks", "Masks", "Predicted mask (orange) against rendered mask (blue); white where both"),
    ("frame", "Frame", "The frame alone"),
)


class ProbeCanvas(ImageCanvas):
    """One preview with a caption that says what, of which frame, run and step it is."""

    def __init__(self, colour: str, name: str) -> None:
        super().__init__(name)
        self.caption, self._colour = "", colour
        self._preview: Preview | None = None
        self._outlines: list[QPolygonF] = []
        self.layers = [self._paint_outlines, self._paint_caption]
        self.setMinimumSize(120, 100)

    @property
    def preview(self) -> Preview | None:
        return self._preview

    def show_preview(self, preview: Preview | None, mode: str, caption: str) -> None:
        self._preview, self.caption = preview, caption
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
        paint_note(painter, self.caption, self._colour)


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
    """Start and now of one probe, or a checkpoint instead of now; the combo box changes the probe.

    Attributes:
        run: whose probes they are. at: step of the checkpoint that is looked through; None: now.
    """

    probeChanged = Signal(object)  # what stands on the right of the chosen probe, or None
    probeChosen = Signal()

    def __init__(self, frame_of: Callable[[Preview], int | None]) -> None:
        """
        Args:
            frame_of: a preview's frame in the open recording; None where it is not of it.
        """
        super().__init__()
        self.setObjectName("plain")
        self.run: Path | None = None
        self.at: int | None = None
        self.frame_of = frame_of
        self.choice = Choice("Probe")
        self.choice.currentIndexChanged.connect(self._refresh)
        self.choice.activated.connect(lambda _: self.probeChosen.emit())
        self.modes = Segments(MODES, lambda mode: self._refresh())
        self.start = ProbeCanvas(START, "The probe as it was")
        self.now = ProbeCanvas(PREDICTED, "The probe now")
        self.start.message = "The probe as it was when the run started."
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
        self._through: Preview | None = None
        self._stale = False
        self.expect(None)
        self.modes.choose("overlay")

    def add(self, preview: Preview, *, first: bool = False) -> None:
        """Take over a preview; the first of its name is what the run started from."""
        if "rgb" not in preview.arrays:
            return
        if first or preview.name not in self._first:
            self._first[preview.name] = preview
        if not first:
            self._newest[preview.name] = preview
        if self.choice.findData(preview.name) < 0:
            self.choice.addItem(self.named(preview), preview.name)
        elif preview.name == self.choice.currentData() and self.at is None:
            self._refresh()

    def clear(self, run: Path | None = None) -> None:
        """Nothing yet, of a run."""
        self.run, self.at, self._through = run, None, None
        self.expect(run)
        self._first.clear()
        self._newest.clear()
        self.choice.clear()
        self._refresh()

    def expect(self, run: Path | None, status: str = "") -> None:
        """Say in their place whether this run's probes will come, if it is it that is shown.

        Args:
            status: how the run ended; "" while it has not.
        """
        if run != self.run:
            return
        if run is None:
            self.now.message = "Start a run: its probe frames appear here, before and now."
        elif status:
            self.now.message = none_of("probe frames", run.name, status)
        else:
            self.now.message = f"The probe frames of {run.name} come with its first step."
        self.now.update()

    def named(self, preview: Preview) -> str:
        """The frame of a probe as the window counts frames."""
        index = self.frame_of(preview)
        return preview.name.replace("/", " ") if index is None else f"frame {index + 1}"

    @property
    def newest(self) -> Preview | None:
        return self._newest.get(self.choice.currentData())

    def look_through(self, step: int | None) -> None:
        """Show a checkpoint's poses instead of the newest; None: the newest again."""
        self.at, self._through = step, None
        self._refresh()

    def show_through(self, preview: Preview) -> None:
        """What the network of the checkpoint finds on the chosen probe."""
        if preview.step == self.at and preview.name == self.choice.currentData():
            self._through = preview
            self._refresh()

    def showEvent(self, event: QShowEvent) -> None:
        if self._stale:
            self._refresh()

    def _refresh(self, *_: object) -> None:
        self._stale = not self.isVisible()  # pictures that nobody sees hold the window up
        if self._stale:
            return
        name, mode = self.choice.currentData(), self.modes.chosen
        self.choice.setVisible(self.choice.count() > 1)
        first, now = self._first.get(name), self._newest.get(name)
        if self.at is not None:
            now = self._through if self._through and self._through.name == name else None
        self.start.show_preview(first, mode, self._caption("Start", first))
        self.now.show_preview(now, mode, self._caption("Now", now))
        self.note.setText(_movement(first, now))
        self.probeChanged.emit(now)

    def _caption(self, what: str, preview: Preview | None) -> str:
        if preview is None:
            looking = f"Step {self.at}: looking at this frame…"
            return what if what == "Start" or self.at is None else looking
        run = "" if self.run is None else f"{self.run.name}, "
        what = "" if what == "Now" and self.at is not None else f"{what}, "
        lacks = self.modes.chosen == "masks" and "mask" not in preview.arrays
        masks = " (masks are kept for start and now)" if lacks else ""
        return f"{what}{self.named(preview)}, {run}step {preview.step}{masks}"


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
