"""The log: notes of jobs and of the window, newest last."""

from __future__ import annotations

import time

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from studio.toolkit.dialogs import copy_text
from studio.toolkit.theme import theme
from studio.toolkit.widgets import IconButton, row

MAX_LINES = 5000


class LogPanel(QWidget):
    """Bounded, so that a run of days does not fill the memory."""

    said = Signal(str, str)  # level, text

    def __init__(self) -> None:
        super().__init__()
        self.text = QPlainTextEdit()
        self.text.setAccessibleName("Log")
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(MAX_LINES)
        self.text.setPlaceholderText("What jobs and the window have to say appears here.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.setSpacing(4)
        self.copy = IconButton("copy", "Copy the log", self._on_copy)
        layout.addLayout(row(1, self.copy))
        layout.addWidget(self.text)

    def _on_copy(self) -> None:
        copy_text(self.text.toPlainText())
        self.said.emit("good", "In the clipboard: the log.")

    def add(self, level: str, text: str, source: str = "") -> None:
        """Append a line; `level` is "info", "warning" or "error"."""
        token = {"warning": "warn", "error": "bad"}.get(level, "text")
        look = QTextCharFormat()
        look.setForeground(QColor(getattr(theme.tokens, token)))
        cursor = self.text.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.End)
        if not self.text.document().isEmpty():
            cursor.insertText("\n")
        head = time.strftime("%H:%M:%S") + (f"  {source}" if source else "")
        cursor.insertText(f"{head}  {text}", look)
        self.text.verticalScrollBar().setValue(self.text.verticalScrollBar().maximum())
