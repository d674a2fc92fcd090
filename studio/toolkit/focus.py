"""Where the keyboard is: on something useful of what is in view, never nowhere."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QPushButton,
    QScrollArea,
    QTabBar,
    QToolButton,
    QWidget,
)

# they take Tab, but nothing is done on them
PASSED_BY = (QScrollArea, QTabBar)
ROW = 12  # pixels; what differs less stands side by side


def first_control(page: QWidget) -> QWidget | None:
    """The uppermost, then leftmost, control inside `page` that can be used now, if there is one."""
    # not by nextInFocusChain: PySide takes what it returns for a child, and ends it with its parent
    found = [one for one in page.findChildren(QWidget)
             if usable(one) and not isinstance(one, PASSED_BY)]  # fmt: skip
    places = [one.mapTo(page, QPoint(0, one.height() // 2)) for one in found]
    order = sorted(range(len(found)), key=lambda i: (places[i].y() // ROW, places[i].x()))
    return found[order[0]] if order else None


def usable(widget: QWidget | None) -> bool:
    """Whether keys typed on it do something."""
    return (
        widget is not None and widget.isVisible() and widget.isEnabled()
        and bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
    )  # fmt: skip


def tab_to_checked(one: QAbstractButton) -> None:
    """Tab enters a row of which one is down at that one; arrows go on from there.

    Qt does so once the row has had the keyboard; before, Tab found its first button.
    """
    policy = {True: Qt.FocusPolicy.TabFocus, False: Qt.FocusPolicy.NoFocus}
    one.setFocusPolicy(policy[one.isChecked()])
    one.toggled.connect(lambda on: one.setFocusPolicy(policy[on]))


def land(page: QWidget) -> None:
    """Give the keyboard to the first control of a page, or to the page, from which Tab finds it."""
    (first_control(page) or page).setFocus(Qt.FocusReason.OtherFocusReason)


class KeepsPlace:
    """A button that goes off, or away, hands its focus to no other, which Space would press.

    What holds the button keeps the place for Tab; once it can be used again, it has the focus back.
    """

    _went_off = False

    def focusNextPrevChild(self: Any, forward: bool) -> bool:
        if self.isEnabled() and self.isVisible():
            return super().focusNextPrevChild(forward)  # type: ignore[misc]
        holder = self.parentWidget()
        if holder is None or not holder.isVisible() or not holder.isEnabled():
            return False
        self._went_off = not self.isEnabled()
        holder.setFocus(Qt.FocusReason.OtherFocusReason)
        return True

    def changeEvent(self: Any, event: QEvent) -> None:
        super().changeEvent(event)  # type: ignore[misc]
        if event.type() == QEvent.Type.EnabledChange and self.isEnabled() and self._went_off:
            self._went_off = False
            if QApplication.focusWidget() is self.parentWidget():
                self.setFocus(Qt.FocusReason.OtherFocusReason)


class EnterPresses:
    """A window in which Enter presses the button that has the keyboard.

    Buttons take Space alone, and leave Enter to what they are in.
    """

    def keyPressEvent(self: Any, event: QKeyEvent) -> None:
        one = QApplication.focusWidget()
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat()
        if not enter or not isinstance(one, QPushButton | QToolButton):
            super().keyPressEvent(event)  # type: ignore[misc]
        elif isinstance(one, QToolButton) and one.menu() is not None:
            one.showMenu()
        else:
            one.click()
