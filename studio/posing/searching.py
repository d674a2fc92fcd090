"""The search of a frame for an object: its buttons, and what is said while it is under way."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, QTimer, Signal

from studio.toolkit.widgets import button, duration

USUALLY = "usually 8 to 15 s"


class Searching(QObject):
    """One search at a time.

    Signals:
        wanted, cancelled: by the buttons. changed: it began, goes on, or is over.
    """

    wanted = Signal()
    cancelled = Signal()
    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._sought, self._began, self._took = "", 0.0, 0.0
        self._tick = QTimer(self, interval=1000)
        self._tick.timeout.connect(self.changed)
        self.button = button("Search", self.wanted.emit)
        self.cancel = button("Cancel", self.cancelled.emit, "", "End the search")
        self.cancel.hide()

    @property
    def under_way(self) -> bool:
        return bool(self._sought)

    @property
    def told(self) -> str:
        """What is being searched for, since when, and how long that takes; "" if nothing is."""
        if not self._sought:
            return ""
        takes = f"the last search took {duration(self._took)}" if self._took else USUALLY
        return f"{self._sought}, for {duration(time.monotonic() - self._began)} so far; {takes}."

    def begin(self, what: str) -> None:
        """Say that something, and where, is searched for."""
        self._sought, self._began = what, time.monotonic()
        self._tick.start()
        self._dress()

    def end(self, *, cancelled: bool = False) -> None:
        """It is over."""
        if not cancelled:
            self._took = time.monotonic() - self._began
        self._sought = ""
        self._tick.stop()
        self._dress()

    def _dress(self) -> None:
        self.button.setText("Searching…" if self.under_way else "Search")
        self.cancel.setVisible(self.under_way)
        self.changed.emit()
