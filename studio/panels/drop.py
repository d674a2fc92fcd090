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

from self6d.scene.mesh_names import KINDS
from studio.controllers.glance import glance
from studio.toolkit.theme import small_font, theme

PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".r3d")
MANY = 3  # names in a sentence
WORDS = {"recording": "recording", "model": "CAD model", "run": "run"}


def paths_of(mime: QMimeData) -> list[Path]:
    """Local files and folders of a drag."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]


def sentence(paths: list[Path]) -> tuple[bool, str]:
    """Whether a drop would be taken, and what to say about it."""
    if not paths:
        return False, "Only files and folders of this computer can be opened."
    kinds = [glance(p) for p in paths]
    packed = [p.name for p in paths if p.suffix.lower() in PACKED]
    if not any(kinds):
        name = paths[0].name
        if packed:
            return False, f"{packed[0]} is packed: unpack it, and drop what was in it."
        return False, (f"{name} cannot be opened: drop an RGB-D folder, an image, "
                       f"a CAD model ({KINDS}), or a run folder.")  # fmt: skip
    if len(paths) == 1:
        return True, f"Open {paths[0].name} as a {WORDS[kinds[0]]}"
    out = [p.name for p, kind in zip(paths, kinds, strict=True) if not kind]
    if not out:
        return True, f"Open these {len(paths)}"
    return True, f"Open {len(paths) - len(out)} of {len(paths)}; not {_named(out)}"


def _named(names: list[str]) -> str:
    """The first of them in words, and how many more."""
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


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
