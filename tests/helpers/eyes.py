"""Runs `self6d-studio` and tells, over a socket, what can be seen in its window. It only looks.

    EYES=<number of an open socket> python eyes.py launch [DATA]

With WARM=<number of the socket of `Warm`> its helpers and jobs are forks, see `warm_processes`.
A request is a line with a Python expression, evaluated between two events of the window with the
names below; its answer is a line of JSON: {"seen": value} or {"wrong": text}.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from PySide6.QtCore import QPoint, QSocketNotifier
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QCheckBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QTabBar,
    QWidget,
)


def window() -> Any:
    """The studio's window, None before it is shown."""
    tops = QApplication.topLevelWidgets()
    return next((w for w in tops if w.objectName() == "studio" and w.isVisible()), None)


def text_of(widget: QWidget) -> str:
    """What a widget says, with its tool tip where it shows an icon alone."""
    told = getattr(widget, "full_text", None) or getattr(widget, "text", None)
    text = told() if callable(told) else ""
    return str(text).replace("&", "") or widget.toolTip()


def place(widget: QWidget) -> tuple[int, int] | None:
    """Where on the screen the mouse would hit a widget: nothing covers it there."""
    area = widget.visibleRegion().boundingRect()
    middle = area.center()
    if isinstance(widget, QCheckBox):  # it takes clicks on its box and words alone
        middle.setX(area.left() + 8)
    if not widget.isVisible() or widget.visibleRegion().isEmpty():
        return None
    at = widget.mapToGlobal(middle)
    hit = QApplication.widgetAt(at)
    if hit is None or not (hit is widget or widget.isAncestorOf(hit)):
        return None
    return at.x(), at.y()


def scroller(widget: QWidget) -> tuple[int, int] | None:
    """Where the mouse wheel scrolls what a widget is in: beside its left edge."""
    area = widget.parentWidget()
    while area is not None and not isinstance(area, QScrollArea):
        area = area.parentWidget()
    if area is None:
        return None
    at = area.viewport().mapToGlobal(QPoint(5, area.viewport().height() // 2))
    return at.x(), at.y()


def button(text: str) -> tuple[int, int] | None:
    """Where the enabled button of this text, or beginning with it, can be clicked."""
    for top in QApplication.topLevelWidgets():
        for one in top.findChildren(QAbstractButton):
            if text_of(one).startswith(text) and one.isEnabled():
                at = place(one)
                if at is not None:
                    return at
    return None


def tab(text: str) -> tuple[int, int] | None:
    """Where the tab of this title can be clicked."""
    for bar in window().findChildren(QTabBar):
        for i in range(bar.count()):
            if bar.isVisible() and bar.tabText(i) == text:
                at = bar.mapToGlobal(bar.tabRect(i).center())
                return at.x(), at.y()
    return None


def beside(caption: str) -> tuple[int, int] | None:
    """Where the text box behind a caption can be clicked."""
    for caption_label in window().findChildren(QLabel):
        if caption_label.text() == caption and caption_label.isVisible():
            row = caption_label.mapToGlobal(QPoint(0, caption_label.height() // 2)).y()
            for box in window().findChildren(QLineEdit):
                at = place(box)
                if at is not None and abs(at[1] - row) < 12:
                    return at
    return None


def says(text: str) -> bool:
    """Whether some label or button in sight says this."""
    return any(
        text in text_of(w)
        for top in QApplication.topLevelWidgets()
        for kind in (QLabel, QAbstractButton)
        for w in top.findChildren(kind)
        if w.isVisible() and not w.visibleRegion().isEmpty()
    )


def dialog() -> str:
    """Title of the dialog in front; empty if there is none."""
    front = QApplication.activeModalWidget()
    return front.windowTitle() if front is not None else ""


def main() -> None:
    from studio.shell.app import make_application

    app = make_application()
    asked = socket.socket(fileno=int(os.environ.pop("EYES")))
    lines = asked.makefile("rb")
    notifier = QSocketNotifier(asked.fileno(), QSocketNotifier.Type.Read, app)

    def look() -> None:
        line = lines.readline()
        if not line:
            notifier.setEnabled(False)
            return
        try:
            answer = {"seen": eval(line.decode(), globals())}
        except Exception as error:
            answer = {"wrong": f"{type(error).__name__}: {error}"}
        asked.sendall(json.dumps(answer, default=str).encode() + b"\n")

    notifier.activated.connect(look)
    if "WARM" in os.environ:
        from warm_processes import Joined

        import studio.engine.client
        import studio.jobs.process_runner

        warm = Joined(socket.socket(fileno=int(os.environ.pop("WARM"))))
        studio.engine.client.launch = warm.helper
        studio.jobs.process_runner.launch = warm.job
    from self6d.cli import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
