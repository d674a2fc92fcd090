"""Loss X-ray: where each term pulls the pose, and which pixels that pull comes from."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QShowEvent
from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from self6d.losses.terms import TERMS
from studio.controllers.director import Director
from studio.engine import Engine, Failure
from studio.engine.types import TermPull, Xray
from studio.model.project import Project
from studio.toolkit.theme import small_font, theme
from studio.toolkit.widgets import button, column, label, row, scrolled
from studio.toolkit.words import word
from studio.views.xray_layer import arrow, compressed

ORDER = ("total", *TERMS)
SIDE = 56
REFRESH_MS = 500
EXPLAIN = (
    "Each row is one term at the present pose. Left: where it pulls the object in the image; the "
    "bar says nearer or farther. Right: how it turns the object's front; the arc is roll. Lengths "
    "grow with the square root of the pull, on one scale. "
    "Click a term to see the pixels behind its pull."
)


class XrayPanel(QWidget):
    """Asks for an X-ray when told to, or whenever the pose changes."""

    ready = Signal(object)
    termChosen = Signal(str)

    def __init__(self, project: Project, director: Director, engine: Engine) -> None:
        super().__init__()
        self.project, self.director, self.engine = project, director, engine
        self.xray: Xray | None = None
        self.term = "total"
        self.examine = button("Examine pose", self.ask, "primary")
        self.follow = QCheckBox("Follow it")
        self.follow.setToolTip("Examine again whenever the pose changes")
        self.follow.toggled.connect(lambda on: self.ask() if on else None)
        self.note = label(EXPLAIN, "small", wrap=True)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        self.glyphs: dict[str, TermRow] = {}
        content = QWidget()
        content.setLayout(column(row(self.examine, self.follow, 1), self._rows, self.note, 1,
                                 margin=12, gap=12))  # fmt: skip
        self.setLayout(column(scrolled(content, whole=True)))
        self._later = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._later.timeout.connect(self.ask)
        project.posesChanged.connect(self._on_pose)
        project.frameChanged.connect(lambda _: self.clear())
        project.objectChanged.connect(lambda _: self.clear())
        project.posesChanged.connect(self._dress)
        self._dress()

    def showEvent(self, event: QShowEvent) -> None:
        self.engine.start()  # torch takes seconds to load: begin before the button is pressed

    def ask(self) -> None:
        """Examine the selected object's pose on the selected frame."""
        pose, recording = self.project.pose(), self.project.recording
        if pose is None or recording is None:
            return
        self.examine.setEnabled(False)
        self.engine.request(
            "xray", recording.root, self.project.frame_index, self.project.model_files, pose,
            self._weights(), key="xray", done=self.show_xray,
            failed=self._on_failure,
        )  # fmt: skip

    def show_xray(self, xray: Xray) -> None:
        self.xray = xray
        self._dress()
        scale = max((_length(t) for n, t in xray.terms.items() if n != "total"), default=1.0)
        for name in ORDER:
            if name not in xray.terms:
                continue
            if name not in self.glyphs:
                self.glyphs[name] = TermRow(name)
                self.glyphs[name].chosen.connect(self.choose)
                self._rows.addWidget(self.glyphs[name])
            self.glyphs[name].show_pull(xray.terms[name], scale or 1.0)
            self.glyphs[name].setVisible(True)
        self.choose(self.term if self.term in xray.terms else "total")
        self.ready.emit(xray)

    def choose(self, term: str) -> None:
        """Show this term's pixels."""
        self.term = term
        for name, glyph in self.glyphs.items():
            glyph.set_chosen(name == term)
        self.termChosen.emit(term)

    def clear(self) -> None:
        """The pose examined is not the one shown any more."""
        self.xray = None
        for glyph in self.glyphs.values():
            glyph.hide()
        self._dress()
        self.ready.emit(None)

    def _weights(self) -> dict[str, float]:
        prefix = "adapt:set:loss."
        return {k.removeprefix(prefix): v for k, v in self.project.options.items()
                if k.startswith(prefix)}  # fmt: skip

    def _on_pose(self, index: int) -> None:
        if self.follow.isChecked() and self.isVisible():
            self._later.start()
        elif self.xray is not None and index == self.project.frame_index:
            self.clear()

    def _on_failure(self, failure: Failure) -> None:
        self._dress()
        self.director.failed.emit(failure)

    def _dress(self, *_: object) -> None:
        has_pose = self.project.pose() is not None
        self.examine.setEnabled(has_pose)
        explain = f"{self.xray.remark}\n\n{EXPLAIN}" if self.xray is not None else EXPLAIN
        self.note.setText(explain.strip() if has_pose else "Choose an object that has a pose on "
                          "this frame: predict one, or place it by hand.")  # fmt: skip


def _length(pull: TermPull) -> float:
    return float(max(np.linalg.norm(pull.rotation), np.linalg.norm(pull.translation)))


class TermRow(QWidget):
    """One term: name, value and two dials."""

    chosen = Signal(str)

    def __init__(self, term: str) -> None:
        super().__init__()
        self.term = term
        self.pull: TermPull | None = None
        self._scale = 1.0
        self._chosen = False
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFixedHeight(SIDE + 12)
        self.setAccessibleName(f"Pull of {word(term)}")
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(260, SIDE + 12)

    def show_pull(self, pull: TermPull, scale: float) -> None:
        self.pull, self._scale = pull, scale
        self.setToolTip(
            f"translation {_list(pull.translation)} per diameter\n"
            f"rotation {_list(pull.rotation)} per radian\nweight {pull.weight:g}"
        )
        self.update()

    def set_chosen(self, chosen: bool) -> None:
        self._chosen = chosen
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.chosen.emit(self.term)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self.chosen.emit(self.term)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(theme.colour("accent" if self._chosen or self.hasFocus() else "line"))
        painter.setBrush(theme.colour("surface"))
        painter.drawRoundedRect(area, 6, 6)
        if self.pull is None:
            return
        colour = QColor(theme.term_colour(self.term))
        painter.setPen(colour)
        painter.setFont(small_font(12, bold=True))
        painter.drawText(QRectF(10, 12, 124, 18), 0, word(self.term))
        painter.setPen(theme.colour("muted"))
        painter.setFont(small_font(11))
        painter.drawText(QRectF(10, 30, 110, 18), 0, f"{self.pull.value:.4g}")
        right = self.width() - SIDE - 10
        tx, ty, tz = compressed(self.pull.translation, self._scale)
        wx, wy, wz = compressed(self.pull.rotation, self._scale)
        self._dial(painter, QPointF(right - SIDE / 2 - 16, self.height() / 2), tx, ty, colour)
        self._bar(painter, right - 12, -tz, colour)
        centre = QPointF(right + SIDE / 2, self.height() / 2)
        self._dial(painter, centre, -wy, wx, colour)  # what the turn does to the object's front
        self._arc(painter, centre, wz, colour)

    def _dial(self, painter: QPainter, c: QPointF, x: float, y: float, colour: QColor) -> None:
        radius = SIDE / 2 - 6
        painter.setPen(QPen(theme.colour("line"), 1))
        painter.setBrush(theme.colour("ground"))
        painter.drawEllipse(c, radius, radius)
        length = math.hypot(x, y)
        if length < 0.01:
            painter.setBrush(colour)
            painter.drawEllipse(c, 2, 2)
            return
        reach = radius * min(max(length, 0.3), 1.0) / length
        tip = QPointF(c.x() + x * reach, c.y() + y * reach)
        arrow(painter, c, tip, colour, 2.0)

    def _bar(self, painter: QPainter, x: float, share: float, colour: QColor) -> None:
        """Up: nearer; down: farther."""
        middle, half = self.height() / 2, SIDE / 2 - 6
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("ground"))
        painter.drawRect(QRectF(x, middle - half, 5, 2 * half))
        painter.setBrush(colour)
        height = half * max(min(share, 1.0), -1.0)
        painter.drawRect(QRectF(x, middle - max(height, 0), 5, abs(height)))

    def _arc(self, painter: QPainter, c: QPointF, share: float, colour: QColor) -> None:
        radius = SIDE / 2 - 3
        painter.setPen(QPen(colour, 3))
        span = -max(min(share, 1.0), -1.0) * 180 * 16  # Qt's angles run the other way round
        painter.drawArc(QRectF(c.x() - radius, c.y() - radius, 2 * radius, 2 * radius), 90 * 16,
                        int(span))  # fmt: skip


def _list(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{v:.3g}" for v in values) + ")"
