"""Questions and errors, readable and copyable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QDialog, QFrame, QGridLayout, QLabel, QPlainTextEdit, QWidget

from studio.engine import Failure
from studio.toolkit.long_words import WrappedLabel
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import IconButton, button, column, label, row, scrolled
from studio.toolkit.words import in_window

BANNER_MS = 8000
COPY_DETAILS = "Copy details"
BANNER_WIDTH, BANNER_GAP, BANNER_TOP = 760, 16, 52  # pixels


def copy_text(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


class Question(QDialog):
    """A question with named answers; Enter gives the primary one, never "danger"; Escape "".

    Args:
        answers: (key, text, look) with look "", "primary" or "danger".
    """

    def __init__(
        self, parent: QWidget, title: str, text: str, answers: list[tuple[str, str, str]]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setModal(True)
        self.setMinimumWidth(420)
        self.answer = ""
        self.buttons = {}
        line: list[Any] = [1]
        for key, caption, look in answers:
            one = button(caption, partial(self._choose, key), look)
            self.buttons[key] = one
            line.append(one)
        usual = [key for key, _, look in answers if look == "primary"]
        usual += [key for key, _, look in reversed(answers) if look != "danger"]
        self.buttons[usual[0]].setDefault(True)
        self.buttons[usual[0]].setFocus()
        self.setLayout(column(
            label(title, "subheading", wrap=True), label(text, wrap=True), row(*line),
            margin=20, gap=16,
        ))  # fmt: skip

    def _choose(self, key: str) -> None:
        self.answer = key
        self.accept()

    @classmethod
    def ask(
        cls, parent: QWidget, title: str, text: str, answers: list[tuple[str, str, str]]
    ) -> str:
        dialog = cls(parent, title, text, answers)
        dialog.exec()
        answer = dialog.answer
        dialog.deleteLater()
        return answer


class Facts(QDialog):
    """Names and values to read and copy."""

    def __init__(self, parent: QWidget, title: str, facts: list[tuple[str, str]]) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(640, 480)
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        for line, (name, value) in enumerate(facts):
            grid.addWidget(label(name, "muted"), line, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label(value, wrap=True, select=True), line, 1)
        grid.setColumnStretch(1, 1)
        inside = QWidget()
        inside.setLayout(column(grid, 1))
        self._text = "\n".join(f"{name}: {value}" for name, value in facts)
        self.copy = button("Copy", self._on_copy)
        shut = button("Close", self.close, "primary")
        self.setLayout(column(label(title, "subheading"), scrolled(inside),
                              row(1, self.copy, shut), margin=20, gap=16))  # fmt: skip

    def _on_copy(self) -> None:
        copy_text(self._text)
        self.copy.setText("Copied")


class Banner(QFrame):
    """What happened, what to do, Copy details, one action, close.

    It floats over the page, which stays where it is.

    Args:
        page: what it floats over.
        names: of what is open, to be shortened where they are long.
    """

    closed = Signal()

    def __init__(self, page: QWidget, names: Callable[[], Iterable[str]] = tuple) -> None:
        super().__init__(page)
        self._page, self._names = page, names
        page.installEventFilter(self)
        self._mark = QLabel()
        self._level = "good"
        theme.changed.connect(self._dress)
        self.text = WrappedLabel()
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setMinimumSize(10, 18)  # a long message must not make the window grow
        self.details = QPlainTextEdit()
        self.details.setAccessibleName("Details")
        self.details.setReadOnly(True)
        self.details.setMaximumHeight(160)
        self.details.hide()
        self.action = button("", self._on_action)
        self.show_details = button("Details", self._on_details)
        self.copy = button(COPY_DETAILS, self._on_copy)
        shut = IconButton("x", "Close", self.dismiss)
        first = row(self._mark, self.text, self.action, self.show_details, self.copy, shut)
        first.setStretch(1, 1)
        self._lines = column(first, self.details, margin=8)
        self.setLayout(self._lines)
        self._on_click: Callable[[], object] = lambda: None
        self._copyable = ""
        self._about: object = None
        self._timer = QTimer(self, singleShot=True, interval=BANNER_MS)
        self._timer.timeout.connect(self.dismiss)
        self.hide()

    def say(
        self,
        level: str,
        text: str,
        *,
        details: str = "",
        action: str = "",
        on_action: Callable[[], object] | None = None,
        about: object = None,
        stays: bool = False,
        names: Iterable[str] = (),
    ) -> None:
        """Show a message, its flags as buttons; "good" ones leave by themselves unless it `stays`.

        Args:
            level: "good", "warn" or "bad".
            about: what it holds for, see `retract`.
            names: long ones besides those of what is open.
        """
        self._about = about
        self.setObjectName(f"banner_{level}")
        self.setStyleSheet("")  # the look follows the object's name
        self.style().unpolish(self)
        self.style().polish(self)
        self._level = level
        self._dress()
        self.text.setText(in_window(text), [*self._names(), *names])
        self._copyable = f"{text}\n\n{details}".strip()
        self.details.setPlainText(details)
        self.details.hide()
        self.show_details.setVisible(bool(details))
        self.copy.setVisible(level != "good")
        self.copy.setText(COPY_DETAILS)
        self.action.setVisible(bool(action))
        self.action.setText(action)
        self._on_click = on_action or (lambda: None)
        if level == "good" and not stays:
            self._timer.start()
        else:
            self._timer.stop()
        self._place()
        self.show()
        self.raise_()

    def say_failure(
        self,
        failure: Failure,
        *,
        action: str = "",
        on_action: Callable[[], object] | None = None,
    ) -> None:
        self.say("bad", failure.one_line(), details=failure.trace, action=action,
                 on_action=on_action, names=[failure.path] if failure.path else [])  # fmt: skip

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        """Centred under the page's title line, as high as its text asks for."""
        width = min(self._page.width() - 2 * BANNER_GAP, BANNER_WIDTH)
        layout = self._lines
        layout.activate()
        height = max(layout.totalHeightForWidth(width), layout.totalMinimumSize().height())
        self.setGeometry((self._page.width() - width) // 2, BANNER_TOP, width, height)

    def says_of(self, about: object) -> bool:
        """Whether what was said of something is still there."""
        return self.isVisible() and self._about is not None and self._about == about

    def retract(self, about: object) -> None:
        """Take back what was said of something, if it is still there: it holds no more."""
        if self.says_of(about):
            self.dismiss()

    def _dress(self) -> None:
        name = {"good": "circle-check", "warn": "triangle-alert", "bad": "circle-alert"}
        self._mark.setPixmap(icon(name[self._level], self._level).pixmap(20, 20))

    def dismiss(self) -> None:
        self._timer.stop()
        self.hide()
        self.closed.emit()

    def _on_details(self) -> None:
        self.details.setVisible(not self.details.isVisible())
        self._place()

    def _on_copy(self) -> None:
        copy_text(self._copyable)
        self.copy.setText("Copied")

    def _on_action(self) -> None:
        self.hide()
        self._on_click()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.dismiss()
        else:
            super().keyPressEvent(event)
