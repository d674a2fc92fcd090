"""What a user's hands do to the window: clicks, keys, drops. Nothing here calls the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QLineEdit,
    QListWidget,
    QScrollArea,
    QTableWidget,
    QTreeWidget,
    QWidget,
)

NONE = Qt.KeyboardModifier.NoModifier


def click(widget: QWidget) -> None:
    """Click the middle of a widget that can be seen and used; scrolls to it as a user would."""
    area = widget.parentWidget()
    while area is not None and not isinstance(area, QScrollArea):
        area = area.parentWidget()
    if area is not None:
        area.ensureWidgetVisible(widget)
    assert widget.isVisible(), f"{widget.objectName()} {widget} cannot be seen"
    assert widget.isEnabled(), f"{widget.objectName()} {widget} is disabled"
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def click_item(view: QListWidget, row: int) -> None:
    place = view.visualItemRect(view.item(row)).center()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, NONE, place)


def click_cell(table: QTableWidget, line: int, column: int) -> None:
    table.scrollToItem(table.item(line, column))
    place = table.visualItemRect(table.item(line, column)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, NONE, place)


def click_line(tree: QTreeWidget, line: int) -> None:
    place = tree.visualItemRect(tree.topLevelItem(line)).center()
    QTest.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, NONE, place)


def fill(box: QWidget, text: str) -> None:
    """Replace what a text box holds and press Enter."""
    click(box)
    QTest.keyClick(box, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(box, text)
    QTest.keyClick(box, Qt.Key.Key_Return)


def drag_over(window: QWidget, paths: list[Path]) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    middle = QPoint(window.width() // 2, window.height() // 2)
    QApplication.sendEvent(window, QDragEnterEvent(
        middle, Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, NONE,
    ))  # fmt: skip
    return mime


def drop(window: QWidget, *paths: Path) -> None:
    """Drag files over the window and let go."""
    mime = drag_over(window, list(paths))
    middle = QPointF(window.width() / 2, window.height() / 2)
    QApplication.sendEvent(window, QDropEvent(
        middle, Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, NONE,
    ))  # fmt: skip


def answer(key: str, seen: Callable[[str], object] = lambda text: None) -> None:
    """Click this button of the question that is about to come up."""
    from studio.toolkit.dialogs import Question

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, Question):
            seen(dialog.windowTitle())
            QTest.mouseClick(dialog.buttons[key], Qt.MouseButton.LeftButton)
        else:
            QTimer.singleShot(20, look)

    QTimer.singleShot(0, look)


def name_file(path: Path, seen: Callable[[QFileDialog], object] = lambda dialog: None) -> None:
    """Type a path into the file dialog that is about to come up, and press Enter."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QFileDialog):
            seen(dialog)
            edit = dialog.findChild(QLineEdit, "fileNameEdit")
            edit.setText(str(path))  # typed, its list of proposals would take the Enter
            QTest.keyClick(edit, Qt.Key.Key_Return)
        else:
            QTimer.singleShot(20, look)

    QTimer.singleShot(0, look)
