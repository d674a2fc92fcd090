"""The frame with what the studio knows drawn over it: layers of poses, tools and a read-out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent, QPainter
from PySide6.QtWidgets import QSlider, QVBoxLayout, QWidget

from studio.engine.types import FrameData, ModelCard, RenderData, Xray
from studio.model.layers import POSES, TRUTH, Layers
from studio.toolkit.flow import flow
from studio.toolkit.widgets import ElidedLabel, IconButton, Segments, row
from studio.views.canvas import DragTool, ImageCanvas
from studio.views.captions import notes_that_fit, paint_depth_scale, paint_note
from studio.views.layer_painter import DEPTH_LIMIT_M, LayerPainter, Look
from studio.views.xray_layer import XrayLayer

MODES = (
    ("photo", "Photo", "The image as the camera saw it"),
    ("overlay", "Overlay", "The renderings over the image; the slider sets the opacity"),
    ("wipe", "Wipe", "The two uppermost layers either side of the line, or one and the image"),
    ("flicker", "Flicker", "The two uppermost layers in turn, or one and the image"),
    ("depth", "Depth", "Signed depth difference between the uppermost layer and the sensor"),
)
FLICKER_MS = 600
NO_FRAME = "Open a recording, or drop its folder here."
READING = "Reading the frame…"
WARNING = "#ffc25a"  # on the notes' dark ground, in every look
NO_TRUTH = "Truth: this frame has no labels"
TRUTH_NOTE = "Truth, for comparison only: never used in training"


class FrameView(QWidget):
    """Image, overlays, tools and read-out.

    Everything drawn comes from outside: `set_frame`, then `set_rendering` for each layer when it is
    ready.

    Signals:
        lookChanged: mode, wipe line or turn; the 3D view follows.
        depthOffered: whether the depth difference is among the modes.
    """

    hovered = Signal(object)
    modeChanged = Signal(str)
    lookChanged = Signal(object)
    depthOffered = Signal(bool)

    def __init__(self, layers: Layers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plain")
        self.layers = layers
        self.canvas = ImageCanvas("The frame")
        self.canvas.message = NO_FRAME
        self.painter = LayerPainter()
        self.canvas.layers = [self.painter.paint, self._paint_xray, self._paint_notes]
        self.canvas.hovered.connect(self._read_out)
        self.notes: dict[str, str] = {}  # by layer, where its poses come from
        self.warning = ""  # of the object at work
        self.busy = ""  # what is waited for
        self.look = Look()
        self.caption = ""
        self.wipe_tool = _WipeTool(self)
        self.xray = XrayLayer()
        self._tool: DragTool | None = None
        self._flicker = QTimer(self, interval=FLICKER_MS)
        self._flicker.timeout.connect(self._on_turn)

        self.modes = Segments(MODES, self._on_mode)
        self.show_contour = IconButton("spline", "Contour", self._refresh, checkable=True)
        self.show_box = IconButton("box", "3D box", self._refresh, checkable=True)
        self.show_mask = IconButton("paint-bucket", "Mask", self._refresh, checkable=True)
        self.show_truth = IconButton("target", TRUTH_NOTE, checkable=True)
        self.show_truth.toggled.connect(lambda on: layers.set(TRUTH, shown=on))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setAccessibleName("Opacity of the rendering")
        self.opacity.setRange(0, 100)
        self.opacity.setFixedWidth(72)
        self.opacity.valueChanged.connect(self._on_opacity)
        self.readout = ElidedLabel("", "small")
        fit = IconButton("maximize", "Fit the image (0)", self.canvas.fit)
        aim = IconButton("scan-eye", "Zoom to the object", self.zoom_to_object)
        tools = flow(
            self.modes, self.show_contour, self.show_box, self.show_mask, self.show_truth, aim, fit
        )
        layout = QVBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(tools)
        layout.addWidget(self.canvas, 1)
        line = row(self.readout, self.opacity)
        line.setStretch(0, 1)
        layout.addLayout(line)
        self.setLayout(layout)
        self.show_contour.setChecked(True)
        layers.changed.connect(self._on_layers)
        self._on_layers()
        self.modes.choose("overlay")

    def offer_depth(self, has_depth: bool) -> None:
        """The depth difference is a mode only where a recording has depth."""
        keys = [key for key, _, _ in MODES if has_depth or key != "depth"]
        if self.mode not in keys:
            self.modes.choose("overlay")
        self.modes.offer(tuple(keys))
        self.depthOffered.emit(has_depth)

    @property
    def mode(self) -> str:
        return self.modes.chosen

    @property
    def frame(self) -> FrameData | None:
        return self.painter.frame

    @property
    def difference_mm(self) -> float | None:
        """Median absolute depth difference of what is drawn, in the mode that shows it."""
        return self.painter.difference_mm

    @property
    def note(self) -> str:
        return self.notes.get(POSES, "")

    def set_models(self, models: dict[int, ModelCard]) -> None:
        self.painter.models = models
        self._refresh()

    def select_object(self, object_id: int | None) -> None:
        self.painter.selected_object = object_id
        self.canvas.update()

    def set_frame(self, frame: FrameData | None, caption: str = "") -> None:
        """Show another frame; renderings of the old one go.

        Args:
            caption: which one it is, in the window's count and the recording's.
        """
        self.painter.set_frame(frame)
        self.caption = caption or (frame.name if frame is not None else "")
        self._refresh()
        self._read_out(None)

    def set_note(self, text: str, key: str = POSES) -> None:
        """Say over the picture where the poses of a layer come from."""
        self.notes[key] = text
        self.canvas.update()

    def set_warning(self, text: str) -> None:
        """Say over the picture what it cannot show; "" takes it away."""
        self.warning = text
        self.canvas.update()

    def set_busy(self, text: str) -> None:
        """Say over the picture what is waited for, by the cursor too; "" where it is over."""
        self.busy = text
        if text:
            self.canvas.setCursor(Qt.CursorShape.BusyCursor)
        else:
            self.canvas.unsetCursor()
        self.canvas.update()

    def set_rendering(self, key: str, rendering: RenderData | None) -> None:
        """A layer's poses, drawn; None: it has none on this frame."""
        self.painter.set_rendering(key, rendering)
        self._refresh()

    def rendering(self, key: str) -> RenderData | None:
        return self.painter.renderings.get(key)

    def zoom_to_object(self) -> None:
        """Bring the selected object (or all that is drawn) to the middle."""
        top = self.painter.uppermost()
        rendering = self.rendering(POSES) or self.rendering(top.key if top else TRUTH)
        if rendering is None:
            return
        chosen = self.painter.selected_object
        index = [i for i, p in enumerate(rendering.poses) if p.object_id == chosen]
        mask = rendering.owner == index[0] if index else rendering.mask
        if not mask.any():
            mask = rendering.mask
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            self.canvas.zoom_to((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))

    def set_xray(self, xray: Xray | None) -> None:
        """Draw an X-ray over the frame, or take it away."""
        self.xray.set_xray(xray)
        self.canvas.update()

    def choose_term(self, term: str) -> None:
        self.xray.choose(term)
        self.canvas.update()

    def set_tool(self, tool: DragTool | None) -> None:
        """A tool that takes the left button, before the wipe does."""
        self._tool = tool
        self._take_tool()

    def move_wipe(self, share: float) -> None:
        """Put the wipe's line at a share of the width."""
        self.look = replace(self.look, wipe_at=min(max(share, 0.0), 1.0))
        self._refresh()

    def _paint_xray(self, painter: QPainter, px: float) -> None:
        if self.frame is not None:
            self.xray.paint(painter, px, self.frame.K)

    def _take_tool(self) -> None:
        self.canvas.tool = self._tool or (self.wipe_tool if self.mode == "wipe" else None)

    def _on_mode(self, mode: str) -> None:
        self._take_tool()
        self.look = replace(self.look, mode=mode, turn=1)
        self._flicker.start() if mode == "flicker" else self._flicker.stop()
        self.opacity.setEnabled(mode in ("overlay", "flicker"))
        self._refresh()
        self.modeChanged.emit(mode)

    def _on_turn(self) -> None:
        if self.isVisible():
            self.look = replace(self.look, turn=1 - self.look.turn)
            self._refresh()

    def _on_opacity(self, percent: int) -> None:
        shown = self.layers.shown()
        if shown:
            self.layers.set(shown[-1].key, opacity=percent / 100)

    def _on_layers(self) -> None:
        shown = self.layers.shown()
        self.show_truth.setChecked(self.layers[TRUTH].shown)
        if shown:
            self.opacity.blockSignals(True)
            self.opacity.setValue(round(100 * shown[-1].opacity))
            self.opacity.blockSignals(False)
            self.opacity.setToolTip(f"Opacity of the rendering: {shown[-1].name}")
        self._refresh()

    def _refresh(self) -> None:
        """Make the pictures that paint needs; done once a change, not once a paint."""
        self.look = replace(
            self.look, contour=self.show_contour.isChecked(), box=self.show_box.isChecked(),
            mask=self.show_mask.isChecked(),
        )  # fmt: skip
        self.painter.arrange(self.layers.shown(), self.layers.pair(), self.look)
        self.canvas.set_image(self.painter.base())
        self.canvas.update()
        self.lookChanged.emit(self.look)

    def _paint_notes(self, painter: QPainter, px: float) -> None:
        if self.mode == "depth" and self.difference_mm is not None:
            limit = DEPTH_LIMIT_M * 1000
            paint_depth_scale(painter, self.canvas.height(), limit, self.difference_mm)
        fitting = notes_that_fit(self.told(), self.canvas.height())
        for line, (text, colour) in enumerate(fitting):
            paint_note(painter, text, colour, line)

    def told(self) -> list[tuple[str, str]]:
        """What stands over the picture, with its colours: work, warning, layers, X-ray."""
        notes = [(self.busy, "white")] if self.busy else []
        if self.warning and (self.mode != "photo" or self._tool is not None):
            notes.append((self.warning, WARNING))
        for layer in reversed(self.painter.visible()):
            text = TRUTH_NOTE if layer.key == TRUTH else self.notes.get(layer.key, "")
            if layer.key == TRUTH and self.frame is not None and not self.frame.truth:
                notes.append((NO_TRUTH, layer.colour))
            elif text and (layer.network is not None or layer.key in self.painter.renderings):
                notes.append((text, layer.colour))
        if self.mode == "flicker" and not self.painter.visible():
            notes.append(("the image alone", "white"))
        if self.xray.note:
            notes.append((self.xray.note, "white"))
        return notes

    def _read_out(self, at: tuple[int, int] | None) -> None:
        self.hovered.emit(at)
        if at is None or self.frame is None:
            self.readout.setText(self.caption)
            return
        self.readout.setText(describe_pixel(self.frame, *at))


def describe_pixel(frame: FrameData, column: int, line: int) -> str:
    """Colour, depth and 3D point (camera axes) of a pixel."""
    r, g, b = (int(v) for v in frame.rgb[line, column])
    text = f"({column}, {line})  rgb {r} {g} {b}"
    if frame.depth_m is None:
        return text
    z = float(frame.depth_m[line, column])
    if z <= 0:
        return text + "  no depth here"
    x, y, _ = z * (np.linalg.inv(frame.K) @ np.array([column + 0.5, line + 0.5, 1.0]))
    return f"{text}  {z * 1000:.0f} mm  point ({x:.3f}, {y:.3f}, {z:.3f}) m"


class _WipeTool(DragTool):
    """Drags the wipe's line."""

    def __init__(self, view: FrameView) -> None:
        self._view = view
        self._held = False

    def press(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        image = canvas.image
        if image is None:
            return False
        x = canvas.to_widget_point(QPointF(self._view.look.wipe_at * image.width(), 0)).x()
        self._held = abs(event.position().x() - x) < 12
        return self._held

    def move(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if not self._held or canvas.image is None:
            return False
        at = canvas.to_image_point(event.position()).x() / canvas.image.width()
        self._view.move_wipe(at)
        return True

    def release(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        held, self._held = self._held, False
        return held
