"""The command palette: type a few letters of what you want to do."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QPainterPath, QRegion, QResizeEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from studio.shell.actions import Actions, Entry
from studio.toolkit.widgets import label

ROW_HEIGHT = 32
RADIUS = 8  # pixels, as in the style sheet


def match(query: str, text: str) -> int | None:
    """How well letters of `query` occur in `text` in order; lower is better, None is not at all.

    Letters at the start of words are free, gaps cost.
    """
    at, cost = -1, 0
    low = text.lower()
    for letter in query.lower():
        if letter == " ":
            continue
        found = low.find(letter, at + 1)
        if found < 0:
            return None
        starts_word = found == 0 or not low[found - 1].isalnum()
        cost += 0 if found == at + 1 or starts_word else found - at
        at = found
    return cost + len(text) // 16


class CommandPalette(QDialog):
    """Opens over the window; arrow keys choose, Enter runs, Escape leaves."""

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._actions = actions
        self.search = QLineEdit()
        self.search.setAccessibleName("Command to look for")
        self.search.setPlaceholderText("What do you want to do?")
        self.search.textChanged.connect(self._fill)
        self.search.installEventFilter(self)
        self.list = QListWidget()
        self.list.setAccessibleName("Commands found")
        self.list.itemActivated.connect(self._run)
        self.list.itemClicked.connect(self._run)
        frame = QFrame()
        frame.setObjectName("palette")
        inner = QVBoxLayout(frame)
        inner.setContentsMargins(8, 8, 8, 8)
        inner.addWidget(self.search)
        self.nothing = label("No command has these letters.", "muted")
        inner.addWidget(self.nothing)
        inner.addWidget(self.list, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(frame)
        self.resize(min(560, parent.width() - 64), 380)
        corner = parent.mapToGlobal(parent.rect().topLeft())
        self.move(corner.x() + (parent.width() - self.width()) // 2, corner.y() + 72)
        self._fill("")
        self.search.setFocus()

    def _fill(self, query: str) -> None:
        self.list.clear()
        scored = []
        for entry in self._actions.searchable():
            cost = match(query, _title(entry))
            if cost is not None:
                scored.append((cost, _title(entry), entry))
        if query:  # without one, the order of the menus
            scored.sort(key=lambda s: s[:2])
        for _, _, entry in scored:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, entry.name)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, _title(entry))
            line = _line(entry)
            item.setSizeHint(QSize(0, ROW_HEIGHT))
            self.list.addItem(item)
            self.list.setItemWidget(item, line)
        self.list.setCurrentRow(0)
        self.nothing.setVisible(not scored)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Round corners; a translucent window has black ones where nothing composes the screen."""
        outline = QPainterPath()
        outline.addRoundedRect(self.rect(), RADIUS, RADIUS)
        self.setMask(QRegion(outline.toFillPolygon().toPolygon()))

    def _run(self, item: QListWidgetItem | None) -> None:
        if item is None:
            return
        action = self._actions[item.data(Qt.ItemDataRole.UserRole)]
        self.close()
        action.trigger()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            row = self.list.currentRow()
            if event.key() == Qt.Key.Key_Down:
                self.list.setCurrentRow(min(row + 1, self.list.count() - 1))
                return True
            if event.key() == Qt.Key.Key_Up:
                self.list.setCurrentRow(max(row - 1, 0))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run(self.list.currentItem())
                return True
        return super().eventFilter(watched, event)


def _title(entry: Entry) -> str:
    text = entry.action.text().replace("&", "")
    return f"{entry.menu}: {text}" if entry.menu else text


def _line(entry: Entry) -> QWidget:
    line = QWidget()
    layout = QHBoxLayout(line)
    layout.setContentsMargins(8, 0, 8, 0)
    mark = QLabel()
    mark.setFixedWidth(20)
    if entry.icon:
        mark.setPixmap(entry.action.icon().pixmap(16, 16))
    layout.addWidget(mark)
    layout.addWidget(QLabel(entry.action.text().replace("&", "")))
    layout.addWidget(label(entry.menu, "small"))
    layout.addStretch(1)
    keys = entry.action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    layout.addWidget(label(keys, "small"))
    return line
