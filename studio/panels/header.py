"""The five steps along the top, each with its state."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QToolButton

from studio.toolkit.focus import tab_to_checked
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import IconButton

STEPS = (
    ("data", "1  Data", "Recording and CAD models"),
    ("synthetic", "2  Synthetic", "Stage 1: train on rendered images"),
    ("selfsup", "3  Self-supervise", "Stage 2: adapt to the recording, no labels"),
    ("evaluate", "4  Evaluate", "Tables: before, after, upper bound"),
    ("export", "5  Export", "Checkpoint, ONNX, report, video"),
)
TIPS = {key: tip for key, _, tip in STEPS}
STATE_ICONS = {
    "": None,
    "ok": ("circle-check", "good"),
    "warn": ("triangle-alert", "warn"),
    "bad": ("circle-alert", "bad"),
    "busy": ("circle-dot", "accent"),
}


class ThemeSwitch(IconButton):
    """Goes from light to dark and back; shows where it would go."""

    def __init__(self, wear: Callable[[str], object]) -> None:
        super().__init__("moon", "Light or dark", lambda: wear("light" if theme.dark else "dark"))

    def _dress(self) -> None:
        self._icon_name = "sun" if theme.dark else "moon"
        super()._dress()


class StepHeader(QFrame):
    """Buttons of the steps; tools are added at the right end."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("header")
        self._states: dict[str, str] = {}
        self.buttons: dict[str, QToolButton] = {}
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(4)
        for key, text, tip in STEPS:
            one = QToolButton()
            one.setObjectName("step")
            one.setText(text)
            one.setToolTip(tip)
            one.setCheckable(True)
            tab_to_checked(one)
            one.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            one.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the state follows the text
            one.setIconSize(QSize(16, 16))
            one.clicked.connect(lambda _=False, key=key: self.chosen.emit(key))
            self._group.addButton(one)
            self.buttons[key] = one
            layout.addWidget(one)
        layout.addStretch(1)
        self.tools = layout
        theme.changed.connect(self._dress)
        self._dress()

    def choose(self, key: str) -> None:
        self.buttons[key].setChecked(True)

    def set_state(self, key: str, state: str, tip: str = "") -> None:
        """ "", "ok", "warn", "bad" or "busy", with the reason for the tool tip."""
        self._states[key] = state
        self.buttons[key].setToolTip(tip or TIPS[key])
        self._dress()

    def state(self, key: str) -> str:
        return self._states.get(key, "")

    def _dress(self) -> None:
        for key, one in self.buttons.items():
            mark = STATE_ICONS[self._states.get(key, "")]
            if mark is None:
                one.setIcon(icon("circle-dashed", "faint"))
            else:
                one.setIcon(icon(*mark))
