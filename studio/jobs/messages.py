"""Between a busy job and the window: events are gathered and handed over at a bearable rate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Signal

from self6d.events import Event, Preparing, Preview, Progress, Scalars

SCALARS_MS = 100
PREVIEWS_MS = 200


@dataclass(frozen=True)
class Status:
    """What run.json says the run is doing: "running", "paused", ... (see `RunFolder.status`)."""

    text: str


class Mailbox(QObject):
    """Any thread may `put` events; the window's thread gets them in batches.

    Scalars and progress come at most 10 times a second, previews at most 5 times. Of several
    previews with one name, and of several progress reports, the newest wins. Everything else is
    delivered in order with the next batch.
    """

    scalars = Signal(list)
    preview = Signal(object)
    progress = Signal(object)
    preparing = Signal(object)
    other = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = threading.Lock()
        self._scalars: list[Scalars] = []
        self._progress: Progress | None = None
        self._preparing: Preparing | None = None
        self._others: list[Event | Status] = []
        self._previews: dict[str, Preview] = {}
        self.wants_preview: Callable[[str], bool] = lambda name: True
        self._fast = QTimer(self, interval=SCALARS_MS)
        self._fast.timeout.connect(self._deliver)
        self._slow = QTimer(self, interval=PREVIEWS_MS)
        self._slow.timeout.connect(self._deliver_previews)

    def put(self, event: Event | Status) -> None:
        """From any thread."""
        with self._lock:
            if isinstance(event, Scalars):
                self._scalars.append(event)
            elif isinstance(event, Progress):
                self._progress, self._preparing = event, None
            elif isinstance(event, Preparing):
                self._preparing = event
            elif isinstance(event, Preview):
                self._previews[event.name] = event
            else:
                self._others.append(event)

    def open(self) -> None:
        self._fast.start()
        self._slow.start()

    def close(self) -> None:
        """Deliver what is left, then stop the timers."""
        self._fast.stop()
        self._slow.stop()
        self._deliver_previews()
        self._deliver()

    def _deliver(self) -> None:
        with self._lock:
            scalars, self._scalars = self._scalars, []
            progress, self._progress = self._progress, None
            preparing, self._preparing = self._preparing, None
            others, self._others = self._others, []
        if scalars:
            self.scalars.emit(scalars)
        if progress is not None:
            self.progress.emit(progress)
        if preparing is not None:
            self.preparing.emit(preparing)
        for event in others:
            self.other.emit(event)

    def _deliver_previews(self) -> None:
        with self._lock:
            previews, self._previews = self._previews, {}
        for preview in previews.values():
            if self.wants_preview(preview.name):
                self.preview.emit(preview)
