"""Boxes for numbers: what is typed is what is taken, and scrolling changes nothing."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QLocale, Qt
from PySide6.QtGui import QValidator, QWheelEvent
from PySide6.QtWidgets import QDoubleSpinBox, QSpinBox


class NotByWheel:
    """A box whose value the wheel leaves alone: what is scrolled runs under the pointer.

    A preset, a seed or a pose would be another one, with nothing to show for it.
    """

    def __init__(self: Any) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self: Any, event: QWheelEvent) -> None:
        event.ignore()  # the panel around it takes it


class Spin(NotByWheel, QSpinBox):
    """A box for a whole number."""


class RealSpin(NotByWheel, QDoubleSpinBox):
    """A box for a number. A comma is a decimal point: 12,5 was taken as 125."""

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(QLocale.c())

    def validate(self, text: str, place: int) -> tuple[QValidator.State, str, int]:
        return super().validate(text.replace(",", "."), place)

    def valueFromText(self, text: str) -> float:
        return super().valueFromText(text.replace(",", "."))


def spin(name: str, low: int, high: int, value: int, suffix: str = "") -> QSpinBox:
    """A box for a whole number that may be as narrow as its place.

    Args:
        name: of the number, for who cannot see the label beside it.
    """
    box = Spin()
    box.setAccessibleName(name)
    box.setRange(low, high)
    box.setValue(value)
    box.setSuffix(suffix)
    box.setMinimumWidth(56)
    box.lineEdit().setTextMargins(4, 0, 0, 0)
    return box
