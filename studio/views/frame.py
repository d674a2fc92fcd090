"""The frame with what the studio knows drawn over it: prediction, start and truth."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QSlider, QVBoxLayout, QWidget

from studio.engine import compose
from studio.engine.types import FrameData, ModelCard, PoseData, RenderData, Xray
from studio.toolkit.theme import PREDICTED, START, TRUTH
from studio.toolkit.widgets import ElidedLabel, IconButton, Segments, row
from studio.views.canvas import DragTool, ImageCanvas, to_image
from studio.views.captions import paint_depth_scale, paint_note
from studio.views.flow import flow
from studio.views.xray_layer import XrayLayer

MODES = (
    ("photo", "Photo", "The image as the camera saw it"),
    ("overlay", "Overlay", "The rendering over the image; the slider sets its opacity"),
    ("wipe", "Wipe", "Rendering left of the line, image right of it; drag the line"),
    ("depth", "Depth", "Signed depth difference between rendering and sensor"),
)
DEPTH_LIMIT_M = 0.02
BEFORE_NOTE = "The poses before adaptation"
TRUTH_NOTE = "Truth, for comparison only: never used in training"


class FrameView(QWidget):
    """Image, overlays, tools and read-out.

    Everything drawn comes from outside: `set_frame`, then `set_rendering` for "predicted", "start"
    and "truth" when they are ready.
    """

    hovered = Signal(object)
    modeChanged = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plain")
        self.canvas = ImageCanvas()
        self.canvas.message = "Open a recording, or drop its folder here."
        self.canvas.layers = [
            self._paint_rendering, self._paint_wipe, self._paint_outlines, self._paint_boxes,
            self._paint_xray, self._paint_notes,
        ]  # fmt: skip
        self.canvas.hovered.connect(self._read_out)
        self.frame: FrameData | None = None
        self.models: dict[int, ModelCard] = {}
        self.selected_object: int | None = None
        self.before_note = BEFORE_NOTE
        self.note = ""  # where the poses that are drawn come from
        self._renderings: dict[str, RenderData] = {}
        self._pictures: dict[str, QImage] = {}
        self.difference_mm: float | None = None
        self._wipe_at = 0.5
        self.wipe_tool = _WipeTool(self)
        self.xray = XrayLayer()
        self._tool: DragTool | None = None

        self.modes = Segments(MODES, self._on_mode)
        self.show_contour = IconButton("spline", "Contour", self.canvas.update, checkable=True)
        self.show_box = IconButton("box", "3D box", self.canvas.update, checkable=True)
        self.show_mask = IconButton("paint-bucket", "Mask", self._refresh, checkable=True)
        self.show_truth = IconButton("target", TRUTH_NOTE, self._refresh, checkable=True)
        self.show_before = IconButton("rotate-ccw", BEFORE_NOTE, self._refresh, checkable=True)
        self.show_before.setChecked(True)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(60)
        self.opacity.setFixedWidth(72)
        self.opacity.setToolTip("Opacity of the overlay")
        self.opacity.valueChanged.connect(self.canvas.update)
        self.readout = ElidedLabel("", "small")
        fit = IconButton("maximize", "Fit the image (0)", self.canvas.fit)
        aim = IconButton("scan-eye", "Zoom to the object", self.zoom_to_object)
        tools = flow(
            self.modes,
            self.show_contour,
            self.show_box,
            self.show_mask,
            self.show_before,
            self.show_truth,
            aim,
            fit,
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
        self.modes.choose("overlay")

    @property
    def mode(self) -> str:
        return self.modes.chosen

    def set_frame(self, frame: FrameData | None) -> None:
        """Show another frame; renderings of the old one go."""
        self.frame = frame
        self._renderings.clear()
        self._refresh()
        self._read_out(None)

    def set_note(self, text: str) -> None:
        """Say over the picture which frame this is and where its poses come from."""
        self.note = text
        self.canvas.update()

    def set_rendering(self, name: str, rendering: RenderData | None) -> None:
        """`name` is "predicted", "start" or "truth". One of another size is not this frame's."""
        if rendering is None or self.frame is None or rendering.owner.shape != self.frame.size:
            self._renderings.pop(name, None)
        else:
            self._renderings[name] = rendering
        self._refresh()

    def rendering(self, name: str) -> RenderData | None:
        return self._renderings.get(name)

    def zoom_to_object(self) -> None:
        """Bring the selected object (or all that is drawn) to the middle."""
        rendering = self._renderings.get("predicted") or self._renderings.get("truth")
        if rendering is None:
            return
        index = [i for i, p in enumerate(rendering.poses) if p.object_id == self.selected_object]
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
        self._on_mode(self.mode)

    def _paint_xray(self, painter: QPainter, px: float) -> None:
        if self.frame is not None:
            self.xray.paint(painter, px, self.frame.K)

    def _on_mode(self, mode: str) -> None:
        self.canvas.tool = self._tool or (self.wipe_tool if mode == "wipe" else None)
        self.opacity.setEnabled(mode == "overlay")
        self._refresh()
        self.modeChanged.emit(mode)

    def _refresh(self) -> None:
        """Make the pictures that paint needs; done once a change, not once a paint."""
        self._pictures.clear()
        self.difference_mm = None
        frame, drawn = self.frame, self._renderings.get("predicted")
        if frame is None:
            self.canvas.set_image(None)
            return
        base = frame.rgb
        if self.mode == "depth" and frame.depth_m is not None:
            base = compose.depth_picture(frame.depth_m)[0] if drawn is None else base // 3
        self.canvas.set_image(to_image(base))
        if drawn is not None:
            if self.mode in ("overlay", "wipe"):
                self._pictures["rendered"] = to_image(compose.with_alpha(drawn.rgb, drawn.mask))
            if self.mode == "depth" and frame.depth_m is not None:
                picture, median = compose.depth_difference(
                    frame.depth_m, drawn.depth_m, DEPTH_LIMIT_M
                )
                self._pictures["depth"] = to_image(picture)
                self.difference_mm = None if median is None else median * 1000
            if self.show_mask.isChecked():
                tint = QColor(PREDICTED)
                colour = (tint.red(), tint.green(), tint.blue())
                self._pictures["mask"] = to_image(compose.tinted(drawn.mask, colour))
        self.canvas.update()

    def _paint_rendering(self, painter: QPainter, px: float) -> None:
        for name, opacity in (
            ("depth", 1.0),
            ("rendered", self.opacity.value() / 100 if self.mode == "overlay" else 0.0),
            ("mask", 1.0),
        ):
            picture = self._pictures.get(name)
            if picture is not None and opacity > 0:
                painter.setOpacity(opacity)
                painter.drawImage(QRectF(picture.rect()), picture)
        painter.setOpacity(1.0)
        if self.mode == "depth" and "depth" in self._pictures:
            limit = DEPTH_LIMIT_M * 1000
            paint_depth_scale(painter, self.canvas.height(), limit, self.difference_mm)

    def _paint_notes(self, painter: QPainter, px: float) -> None:
        notes = [(self.note, "white")] if self.note and "predicted" in self._renderings else []
        if self.show_before.isChecked() and "start" in self._renderings:
            notes.append((self.before_note, START))
        if self.show_truth.isChecked() and "truth" in self._renderings:
            notes.append((TRUTH_NOTE, TRUTH))
        if self.xray.note:
            notes.append((self.xray.note, "white"))
        for line, (text, colour) in enumerate(notes):
            paint_note(painter, text, colour, line)

    def _paint_wipe(self, painter: QPainter, px: float) -> None:
        picture = self._pictures.get("rendered")
        if self.mode != "wipe" or picture is None:
            return
        x = self._wipe_at * picture.width()
        painter.save()
        painter.setClipRect(QRectF(0, 0, x, picture.height()))
        painter.fillRect(QRectF(picture.rect()), QColor(0, 0, 0, 90))
        painter.drawImage(QRectF(picture.rect()), picture)
        painter.restore()
        painter.setPen(QPen(QColor("white"), 2 * px))
        painter.drawLine(QPointF(x, 0), QPointF(x, picture.height()))
        painter.setBrush(QColor("white"))
        painter.drawEllipse(QPointF(x, picture.height() / 2), 6 * px, 6 * px)

    def _paint_outlines(self, painter: QPainter, px: float) -> None:
        if not self.show_contour.isChecked():
            wanted: tuple[str, ...] = ()
        else:
            wanted = ("start", "predicted") if self.show_before.isChecked() else ("predicted",)
        if self.show_truth.isChecked():
            wanted = ("truth", *wanted)
        for name in wanted:
            rendering = self._renderings.get(name)
            if rendering is None:
                continue
            for pose, outlines in zip(rendering.poses, rendering.outlines, strict=True):
                painter.setPen(self._pen(name, pose, px))
                for outline in outlines:
                    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in outline.tolist()]))

    def _paint_boxes(self, painter: QPainter, px: float) -> None:
        if not self.show_box.isChecked() or self.frame is None:
            return
        for name in ("truth", "predicted"):
            rendering = self._renderings.get(name)
            if rendering is None or (name == "truth" and not self.show_truth.isChecked()):
                continue
            for pose in rendering.poses:
                model = self.models.get(pose.object_id)
                if model is None:
                    continue
                corners = compose.project(compose.box_corners(model), pose, self.frame.K)
                painter.setPen(self._pen(name, pose, px))
                for a, b in compose.BOX_EDGES:
                    if np.isfinite(corners[[a, b]]).all():
                        painter.drawLine(QPointF(*corners[a]), QPointF(*corners[b]))

    def _pen(self, name: str, pose: PoseData, px: float) -> QPen:
        colour = QColor({"predicted": PREDICTED, "start": START, "truth": TRUTH}[name])
        chosen = self.selected_object in (None, pose.object_id)
        pen = QPen(colour, (2.2 if chosen else 1.2) * px)
        pen.setStyle(Qt.PenStyle.DashLine if name == "truth" else Qt.PenStyle.SolidLine)
        if not chosen:
            colour.setAlpha(150)
            pen.setColor(colour)
        return pen

    def _read_out(self, at: tuple[int, int] | None) -> None:
        self.hovered.emit(at)
        if at is None or self.frame is None:
            self.readout.setText(self.frame.name if self.frame else "")
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
        x = canvas.to_widget_point(QPointF(self._view._wipe_at * image.width(), 0)).x()
        self._held = abs(event.position().x() - x) < 12
        return self._held

    def move(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        if not self._held or canvas.image is None:
            return False
        at = canvas.to_image_point(event.position()).x() / canvas.image.width()
        self._view._wipe_at = min(max(at, 0.0), 1.0)
        canvas.update()
        return True

    def release(self, canvas: ImageCanvas, event: QMouseEvent) -> bool:
        held, self._held = self._held, False
        return held
