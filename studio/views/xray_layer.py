"""Draws an X-ray over the frame: the pixels behind a term's pull, and every term's arrow."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

from studio.engine import compose
from studio.engine.types import Xray
from studio.toolkit.theme import TERM_COLOURS, theme
from studio.toolkit.words import word
from studio.views.canvas import to_image

LONGEST_PX = 70.0
PERCENTILE = 99.0
BLUR = 1.2  # single pixels spread a little, so that they can be seen


class XrayLayer:
    """Holds the X-ray of the shown pose, or nothing."""

    def __init__(self) -> None:
        self.xray: Xray | None = None
        self.term = "total"
        self._heat: QImage | None = None

    def set_xray(self, xray: Xray | None) -> None:
        self.xray = xray
        self._refresh()

    def choose(self, term: str) -> None:
        self.term = term
        self._refresh()

    @property
    def note(self) -> str:
        """What the colours mean; "" while nothing is painted."""
        if self.xray is None or self.term not in self.xray.terms:
            return ""
        return f"X-ray of {word(self.term)}: red pixels pull along, blue ones against"

    def paint(self, painter: QPainter, px: float, K: np.ndarray) -> None:
        """In image coordinates; `px` is one screen pixel."""
        xray = self.xray
        if xray is None or self.term not in xray.terms:
            return
        x0, y0, x1, y1 = (float(v) for v in xray.box)
        if self._heat is not None:
            painter.drawImage(QRectF(x0, y0, x1 - x0, y1 - y0), self._heat)
        painter.setPen(QPen(theme.colour("faint"), px, Qt.PenStyle.DotLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(x0, y0, x1 - x0, y1 - y0))
        scale = max(
            (float(np.linalg.norm(t.translation)) for t in xray.terms.values()), default=0.0
        )
        if scale == 0:
            return
        start = K @ (xray.centre / xray.centre[2])
        at = QPointF(start[0], start[1])
        for name, pull in xray.terms.items():
            way = compressed(pull.translation, scale)
            # the image motion of a step along the pull, at the object's distance
            dx = way[0] - xray.centre[0] / xray.centre[2] * way[2]
            dy = way[1] - xray.centre[1] / xray.centre[2] * way[2]
            tip = QPointF(at.x() + dx * LONGEST_PX * px, at.y() + dy * LONGEST_PX * px)
            width = (3.0 if name == self.term else 1.6) * px
            arrow(painter, at, tip, QColor(on_photo(name)), width)

    def _refresh(self) -> None:
        self._heat = None
        if self.xray is None or self.term not in self.xray.terms:
            return
        self._heat = to_image(heat_picture(self.xray.terms[self.term].share))


def compressed(pull: np.ndarray, scale: float) -> np.ndarray:
    """A pull whose length is the square root of its share of `scale`: weak terms stay visible."""
    length = float(np.linalg.norm(pull)) / scale
    return pull / scale / math.sqrt(length) if length > 0 else np.zeros_like(pull)


def on_photo(term: str) -> str:
    """A term's colour bright enough to lie on a photograph."""
    return TERM_COLOURS.get(term, ("", "#ffffff"))[1]


def heat_picture(share: np.ndarray) -> np.ndarray:
    """(h, w) signed shares -> (h, w, 4) uint8: red along the pull, blue against it."""
    share = cv2.GaussianBlur(share, (0, 0), BLUR)
    size = np.abs(share)
    strong = size[size > 0]
    out = np.zeros((*share.shape, 4), np.uint8)
    if not len(strong):
        return out
    limit = float(np.percentile(strong, PERCENTILE)) or 1.0
    level = np.clip(share / limit, -1, 1)
    out[..., :3] = compose.colour_table()[((level + 1) / 2 * 255).astype(np.uint8)]
    out[..., 3] = (np.sqrt(np.abs(level)) * 235).astype(np.uint8)
    return out


def arrow(painter: QPainter, start: QPointF, tip: QPointF, colour: QColor, width: float) -> None:
    """A line with a head; a short arrow is all head."""
    dx, dy = tip.x() - start.x(), tip.y() - start.y()
    length = math.hypot(dx, dy)
    if length < 1e-6:
        return
    ux, uy = dx / length, dy / length
    size = min(4.0 * width, length)
    base = QPointF(tip.x() - size * ux, tip.y() - size * uy)
    painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawLine(start, base)
    half = 0.5 * size
    left = QPointF(base.x() + half * uy, base.y() - half * ux)
    right = QPointF(base.x() - half * uy, base.y() + half * ux)
    painter.setBrush(colour)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawPolygon(QPolygonF([tip, left, right]))
