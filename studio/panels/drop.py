"""What one sees while something is dragged over the window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QMimeData, QObject, QRectF, Qt, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDropEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QWidget

from studio.controllers.opening import glance
from studio.toolkit.theme import small_font, theme

WORDS = {"recording": "recording", "model": "CAD model", "run": "run"}


def paths_of(mime: QMimeData) -> list[Path]:
    """Local files and folders of a drag."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]


def sentence(paths: list[Path]) -> tuple[bool, str]:
    """Whether a drop would be taken, and what to say about it."""
    if not paths:
        return False, "Only files and folders of this computer can be opened."
    kinds = [glance(p) for p in paths]
    if not any(kinds):
        name = paths[0].name
        return False, (f"{name} cannot be opened: drop an RGB-D folder, an image, "
                       "a PLY, OBJ, GLB or STL model, or a run folder.")  # fmt: skip
    if len(paths) == 1:
        return True, f"Open {paths[0].name} as a {WORDS[kinds[0]]}"
    return True, f"Open {sum(map(bool, kinds))} of {len(paths)} things"


def _take(event: QDropEvent) -> None:
    """Accept as a copy or a link: a move would let the other program delete what was dropped."""
    for action in (Qt.DropAction.CopyAction, Qt.DropAction.LinkAction):
        if event.possibleActions() & action:
            event.setDropAction(action)
            event.accept()
            return
    event.ignore()


class DropOverlay(QWidget):
    """Takes drags over the whole window: says what a drop would do, or why it is refused."""

    dropped = Signal(list)  # paths
    refused = Signal(str)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.text = ""
        self.welcome = True
        self.hide()
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, window: QObject, event: QEvent) -> bool:
        if isinstance(event, QDragEnterEvent):
            if not event.mimeData().hasUrls():
                return False
            self._show_for(paths_of(event.mimeData()))
            _take(event)
        elif isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop:
            self._on_drop(event)
        elif event.type() == QEvent.Type.DragLeave:
            self.hide()
        elif isinstance(event, QResizeEvent):
            self.resize(event.size())
        return False

    def _show_for(self, paths: list[Path]) -> None:
        self.welcome, self.text = sentence(paths)
        self.raise_()
        self.show()
        self.update()

    def _on_drop(self, event: QDropEvent) -> None:
        self.hide()
        paths = paths_of(event.mimeData())
        wanted, text = sentence(paths)
        _take(event)
        if wanted:
            self.dropped.emit(paths)
        else:
            self.refused.emit(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shade = theme.colour("ground")
        shade.setAlpha(215)
        painter.fillRect(self.rect(), shade)
        colour = theme.colour("accent" if self.welcome else "bad")
        painter.setPen(QPen(colour, 3, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(16, 16, -16, -16), 12, 12)
        painter.setPen(colour)
        painter.setFont(small_font(18, bold=True))
        area = self.rect().adjusted(64, 64, -64, -64)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(area, int(flags), self.text)
