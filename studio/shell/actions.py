"""One registry of all that can be done; menus, toolbar, shortcuts and palette read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QWidget

from studio.toolkit.theme import icon, theme

MENUS = ("File", "Edit", "View", "Data", "Run", "Tools", "Help")


@dataclass(frozen=True)
class Entry:
    """An action and where it appears.

    Attributes:
        name: stable name, such as "file.open".
        menu: top menu, or "" for the palette alone.
        group: actions of a menu are separated between groups.
    """

    name: str
    menu: str
    group: int
    icon: str
    action: QAction


class Actions(QObject):
    """The registry."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.entries: dict[str, Entry] = {}
        self._menus: dict[str, QMenu] = {}
        theme.changed.connect(self._dress)

    def add(
        self,
        name: str,
        text: str,
        on_trigger: Callable[..., object],
        *,
        menu: str = "",
        group: int = 0,
        shortcut: str = "",
        icon_name: str = "",
        tip: str = "",
        checkable: bool = False,
        checked: bool = False,
    ) -> QAction:
        """Register an action; a checkable one passes its state on."""
        action = QAction(text, self._window)
        action.setObjectName(name)
        if shortcut:
            action.setShortcuts([QKeySequence(s) for s in shortcut.split(" | ")])
        if tip:
            action.setStatusTip(tip)
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        plain = text.replace("&", "").rstrip("…")
        action.setToolTip(f"{tip or plain} ({keys})" if keys else tip or plain)
        action.setCheckable(checkable)
        action.setChecked(checked)
        if checkable:
            action.toggled.connect(lambda on: on_trigger(on))
        else:
            action.triggered.connect(lambda: on_trigger())
        self.adopt(name, action, menu=menu, group=group, icon_name=icon_name)
        return action

    def adopt(
        self, name: str, action: QAction, *, menu: str = "", group: int = 0, icon_name: str = ""
    ) -> None:
        """Register an action that something else made (undo, dock switches)."""
        self._window.addAction(action)
        self.entries[name] = Entry(name, menu, group, icon_name, action)
        if icon_name:
            action.setIcon(icon(icon_name))

    def __getitem__(self, name: str) -> QAction:
        return self.entries[name].action

    def fill(self, bar: QMenuBar) -> None:
        """Make the menus, or make them anew after more actions were added."""
        for title in MENUS:
            if title not in self._menus:
                self._menus[title] = bar.addMenu(title)
            menu = self._menus[title]
            menu.clear()
            group = None
            entries = [e for e in self.entries.values() if e.menu == title]
            for entry in sorted(entries, key=lambda e: e.group):
                if group is not None and entry.group != group:
                    menu.addSeparator()
                group = entry.group
                menu.addAction(entry.action)
            menu.menuAction().setVisible(bool(entries))

    def searchable(self) -> list[Entry]:
        """What the palette offers now."""
        return [
            e for e in self.entries.values()
            if e.action.isEnabled() and e.action.isVisible() and e.action.menu() is None
        ]  # fmt: skip

    def _dress(self) -> None:
        for entry in self.entries.values():
            if entry.icon:
                entry.action.setIcon(icon(entry.icon))
