"""The presets a run can begin with, each with the time that it would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

from studio.toolkit.widgets import label, short

WIDTH = 270  # of the list, pixels: a name and its time


class PresetBox(QComboBox):
    """Offers presets; `told` is the sentence under it about the chosen one."""

    picked = Signal(str)

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        short(self)
        self.view().setMinimumWidth(WIDTH)
        for name in names:
            self.addItem(name, name)
        self.told = label("", "small", wrap=True)
        self.activated.connect(lambda i: self.picked.emit(self.itemData(i)))

    @property
    def chosen(self) -> str:
        return str(self.currentData())

    def show_times(self, chosen: str, time_of: Callable[[str], tuple[str, str]]) -> None:
        """Show which is chosen, and how long each takes: in few words, and in a sentence."""
        if self.findData(chosen) < 0:
            self.addItem(chosen, chosen)
        for i in range(self.count()):
            words, sentence = time_of(self.itemData(i))
            self.setItemText(i, ", ".join(filter(None, (self.itemData(i), words))))
            self.setItemData(i, sentence, Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(self.findData(chosen))
        self.told.setText(time_of(chosen)[1])

    def paintEvent(self, event: QPaintEvent) -> None:
        """Closed, it shows the name alone; the sentence under it says the time."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.chosen  # type: ignore[attr-defined]
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
