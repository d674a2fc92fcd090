"""Layers of poses painted over a frame: the picture in the window, and each frame of a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

from studio.engine import compose
from studio.engine.types import FrameData, ModelCard, PoseData, RenderData
from studio.model.layers import TRUTH, Layer
from studio.views.canvas import to_image

DEPTH_LIMIT_M = 0.02
Pair = tuple[Layer | None, Layer | None]


@dataclass(frozen=True)
class Look:
    """How layers are put together.

    Attributes:
        mode: "photo", "overlay", "wipe", "flicker" or "depth".
        wipe_at: where the line stands, in shares of the width.
        turn: whose turn it is while they flicker: 0 the lower, 1 the upper of the pair.
    """

    mode: str = "overlay"
    contour: bool = True
    box: bool = False
    mask: bool = False
    wipe_at: float = 0.5
    turn: int = 0


class LayerPainter:
    """Holds a frame with its renderings, and the pictures made of them."""

    def __init__(self) -> None:
        self.frame: FrameData | None = None
        self.models: dict[int, ModelCard] = {}
        self.selected_object: int | None = None
        self.renderings: dict[str, RenderData] = {}
        self.shown: Sequence[Layer] = ()
        self.pair: Pair = (None, None)
        self.look = Look()
        self.difference_mm: float | None = None
        self._pictures: dict[tuple[str, str], QImage] = {}
        self._depths: dict[str, tuple[QImage, float | None]] = {}

    def set_frame(self, frame: FrameData | None) -> None:
        """Another frame; what was drawn for the old one goes."""
        self.frame = frame
        self.renderings.clear()
        self._pictures.clear()
        self._depths.clear()

    def set_rendering(self, key: str, rendering: RenderData | None) -> None:
        """A layer's rendering. One of another size is not this frame's."""
        if rendering is None or self.frame is None or rendering.owner.shape != self.frame.size:
            self.renderings.pop(key, None)
        else:
            self.renderings[key] = rendering
        self._depths.pop(key, None)
        for known in [k for k in self._pictures if k[0] == key]:
            del self._pictures[known]

    def arrange(self, shown: Sequence[Layer], pair: Pair, look: Look) -> None:
        """Which layers are shown (lowest first), which two are compared, and how."""
        self.shown, self.pair, self.look = shown, pair, look
        self.difference_mm = None
        top = self.uppermost()
        if look.mode == "depth" and top is not None:
            self._depth(top)

    def visible(self) -> list[Layer]:
        """Layers in the picture at this moment."""
        if self.look.mode == "flicker":
            one = self.pair[self.look.turn]
            return [] if one is None else [one]
        if self.look.mode == "wipe" and self.pair[1] is not None:
            return [layer for layer in self.pair if layer is not None]
        return list(self.shown)

    def uppermost(self) -> Layer | None:
        """The uppermost visible layer that has something to show here."""
        return next((la for la in reversed(self.visible()) if la.key in self.renderings), None)

    def base(self) -> QImage | None:
        """What lies below all layers."""
        frame = self.frame
        if frame is None:
            return None
        rgb = frame.rgb
        if self.look.mode == "depth" and frame.depth_m is not None:
            bare = self.uppermost() is None
            rgb = compose.depth_picture(frame.depth_m)[0] if bare else rgb // 3
        return to_image(rgb)

    def paint(self, painter: QPainter, px: float) -> None:
        """In image coordinates.

        Args:
            px: length of one screen pixel.
        """
        mode = self.look.mode
        if mode == "depth":
            top = self.uppermost()
            if top is not None:
                self._draw(painter, self._depth(top))
        if mode == "wipe":
            self._paint_wipe(painter, px)
            return
        floor = max((la.opacity for la in self.pair if la), default=0) if mode == "flicker" else 0.0
        for layer in self.visible():
            strong = max(layer.opacity, floor) if mode in ("overlay", "flicker") else 0.0
            self._paint_layer(painter, px, layer, strong)

    def _paint_wipe(self, painter: QPainter, px: float) -> None:
        if self.frame is None or self.pair[0] is None:
            return
        height, width = self.frame.size
        x = self.look.wipe_at * width
        left, right = self.pair
        for layer, area in ((left, QRectF(0, 0, x, height)),
                            (right, QRectF(x, 0, width - x, height))):  # fmt: skip
            if layer is None:
                continue
            painter.save()
            painter.setClipRect(area, Qt.ClipOperation.IntersectClip)
            painter.fillRect(area, QColor(0, 0, 0, 90))
            self._paint_layer(painter, px, layer, 1.0)
            painter.restore()
        if left is not None and right is None:  # its outline helps on the bare image too
            self._paint_lines(painter, px, left)
        painter.setPen(QPen(QColor("white"), 2 * px))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))
        painter.setBrush(QColor("white"))
        painter.drawEllipse(QPointF(x, height / 2), 6 * px, 6 * px)

    def _paint_layer(self, painter: QPainter, px: float, layer: Layer, opacity: float) -> None:
        rendering = self.renderings.get(layer.key)
        if rendering is None:
            return
        if opacity > 0:
            painter.setOpacity(opacity)
            self._draw(painter, self._picture(layer, "rendered"))
            painter.setOpacity(1.0)
        if self.look.mask:
            self._draw(painter, self._picture(layer, f"mask {layer.colour}"))
        self._paint_lines(painter, px, layer)

    def _paint_lines(self, painter: QPainter, px: float, layer: Layer) -> None:
        rendering = self.renderings.get(layer.key)
        if rendering is None or self.frame is None:
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for pose, outlines in zip(rendering.poses, rendering.outlines, strict=True):
            painter.setPen(self._pen(layer, pose, px))
            if self.look.contour:
                for outline in outlines:
                    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in outline.tolist()]))
            model = self.models.get(pose.object_id)
            if self.look.box and model is not None:
                corners = compose.project(compose.box_corners(model), pose, self.frame.K)
                for a, b in compose.BOX_EDGES:
                    if np.isfinite(corners[[a, b]]).all():
                        painter.drawLine(QPointF(*corners[a]), QPointF(*corners[b]))

    def _pen(self, layer: Layer, pose: PoseData, px: float) -> QPen:
        colour = QColor(layer.colour)
        chosen = self.selected_object in (None, pose.object_id)
        if not chosen:
            colour.setAlpha(150)
        pen = QPen(colour, (2.2 if chosen else 1.2) * px)
        pen.setStyle(Qt.PenStyle.DashLine if layer.key == TRUTH else Qt.PenStyle.SolidLine)
        return pen

    def _draw(self, painter: QPainter, picture: QImage | None) -> None:
        if picture is not None:
            painter.drawImage(QRectF(picture.rect()), picture)

    def _picture(self, layer: Layer, kind: str) -> QImage:
        """Made once a rendering, not once a paint."""
        if (layer.key, kind) not in self._pictures:
            drawn = self.renderings[layer.key]
            if kind == "rendered":
                picture = compose.with_alpha(drawn.rgb, drawn.mask)
            else:
                tint = QColor(layer.colour)
                picture = compose.tinted(drawn.mask, (tint.red(), tint.green(), tint.blue()))
            self._pictures[layer.key, kind] = to_image(picture)
        return self._pictures[layer.key, kind]

    def _depth(self, layer: Layer) -> QImage | None:
        frame, drawn = self.frame, self.renderings[layer.key]
        if frame is None or frame.depth_m is None:
            return None
        if layer.key not in self._depths:
            pixels, median = compose.depth_difference(frame.depth_m, drawn.depth_m, DEPTH_LIMIT_M)
            self._depths[layer.key] = (to_image(pixels), None if median is None else median * 1000)
        picture, self.difference_mm = self._depths[layer.key]
        return picture
