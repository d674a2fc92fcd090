"""Whoever cannot see the window hears what each of its controls is for, and Tab finds them."""

from __future__ import annotations

import pytest
from hands import click
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QScrollArea, QTabBar, QWidget

from studio.engine.types import BagTopics
from studio.panels.header import STEPS
from studio.panels.help import HelpDialog
from studio.panels.topics_dialog import TopicsDialog
from studio.shell.palette import CommandPalette
from studio.toolkit.widgets import Segments

pytestmark = pytest.mark.gui


def nameless(root: QWidget) -> set[str]:
    """Widgets that take the keyboard and have no name, as a screen reader asks for it: their own,
    their text or that of their label."""

    def path(one: QWidget | None) -> str:
        return "" if one is None else f"{type(one).__name__} < {path(one.parentWidget())}"

    return {
        path(one)
        for one in root.findChildren(QWidget)
        if one.focusPolicy() & (Qt.FocusPolicy.TabFocus | Qt.FocusPolicy.ClickFocus)
        and one.focusProxy() is None
        and not isinstance(one, QScrollArea | QLabel)  # nothing is done on them
        and not (
            isinstance(one, QAbstractButton | QTabBar) and not one.isVisibleTo(root)
        )  # theirs come with use
        and not QAccessible.queryAccessibleInterface(one).text(QAccessible.Text.Name).strip()
    }


def test_every_control_of_every_page_has_a_name(opened, wait):
    window, space = opened, opened.workspace
    forms = {"synthetic": space.train_panel.form, "selfsup": space.adapt_panel.form}
    for key, _, _ in STEPS:
        click(window.header.buttons[key])
        form = forms.get(key)
        wait(lambda form=form: form is None or form.ready)
        for tabs in (space.inspector, space.bottom):
            for index in range(tabs.count()):
                tabs.setCurrentIndex(index)
                assert nameless(window) == set()
        for page in space.stage.tabs.offered:
            space.stage.show_page(page)
            assert nameless(window) == set()
    space.show_track()
    assert nameless(window) == set()
    offer = BagTopics("/a/b.bag", ("/c",), ("/d",), ("/i",), "/c", "/d", "/i")
    palette = CommandPalette(window.actions_registry, window)
    for dialog in (HelpDialog(window, "data"), TopicsDialog(window, offer), palette):
        assert nameless(dialog) == set()
        dialog.deleteLater()


def test_tab_enters_a_row_at_the_button_that_is_down(opened):
    """It landed on "1 Data" whatever the step, and Space then left the page."""
    window = opened
    for key in ("selfsup", "export", "data"):
        click(window.header.buttons[key])
        takes = [k for k, one in window.header.buttons.items()
                 if one.focusPolicy() & Qt.FocusPolicy.TabFocus]  # fmt: skip
        assert takes == [key]
        window.header.buttons[key].setFocus()
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        assert QApplication.focusWidget() not in window.header.buttons.values()
    window.header.buttons["data"].setFocus()
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Right)  # arrows go from one to the next
    assert QApplication.focusWidget() is window.header.buttons["synthetic"]
    for row in window.findChildren(Segments):
        down = [one for one in row.findChildren(QAbstractButton)
                if one.focusPolicy() & Qt.FocusPolicy.TabFocus]  # fmt: skip
        assert [one.isChecked() for one in down] == [True]
