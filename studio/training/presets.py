"""The presets a run can begin with, each with the time that it would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal

from studio.toolkit.widgets import Choice, label


class PresetBox(Choice):
    """Offers presets; `told` is the sentence under it about the chosen one."""

    picked = Signal(str)

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("Preset")
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

    def shown(self) -> str:
        """Closed, it shows the name alone; the sentence under it says the time."""
        return self.chosen
