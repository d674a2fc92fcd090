"""That an object is being put onto a pixel: said at once where nothing else answers a click."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

SHORTLY_MS = 200  # what takes no longer is an answer itself, and words would only flicker


class Placing(QObject):
    """One object at a time.

    Signals:
        changed: there is something else to say.
    """

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.told = ""
        """What is under way, and how long that may take; "" if there is nothing to say."""
        self._renderer = False  # whether it is loaded, as far as is known here
        self._what = ""
        self._soon = QTimer(self, singleShot=True, interval=SHORTLY_MS)
        self._soon.timeout.connect(self._say)

    def begin(self, what: str, *, seen: bool) -> None:
        """Say what is being put where.

        Args:
            seen: the picture shows the object already: words come only if it takes long.
        """
        self._what = what
        if seen:
            self._soon.start()
        else:
            self._soon.stop()
            self._say()

    def end(self, *, arrived: bool) -> None:
        """It is over.

        Args:
            arrived: the helper process has rendered.
        """
        self._renderer = self._renderer or arrived
        self._soon.stop()
        self.told = ""
        self.changed.emit()

    def _say(self) -> None:
        first = "" if self._renderer else " The first one loads the renderer: some seconds."
        self.told = f"{self._what}…{first}"
        self.changed.emit()
