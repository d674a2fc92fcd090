"""Work of the second helper process that writes one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices

from studio.engine import Failure
from studio.shell.window import StudioWindow


class OneAtATime(QObject):
    """Asks for it, shows how far it is, and says how it ended.

    Args:
        what: is being written, as the question at closing names it.
        progress: what the job bar says meanwhile.
        busy: what is said where another one is asked for.
    """

    def __init__(
        self, window: StudioWindow, what: str, progress: str, busy: str, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.window = window
        self._what, self._progress, self._said = what, progress, busy
        self._busy = False

    def unfinished(self) -> list[str]:
        """Work that ends with the window."""
        return [self._what] if self._busy else []

    def free(self) -> bool:
        """Whether nothing is being written; says so otherwise."""
        if self._busy:
            self.window.say("warn", self._said)
        return not self._busy

    def start(self, request: str, *arguments: Any, done: Callable[[Any], None]) -> None:
        """Write it in the background; `done` gets the answer."""
        self._busy = True
        self.window.worker.request(
            request, *arguments,
            partial=lambda got: self.window.job_bar.show_task(self._progress, *got),
            done=lambda answer: self._end(lambda: done(answer)), failed=self._on_failed,
        )  # fmt: skip

    def tell(self, text: str, folder: Path, *, stays: bool = False) -> None:
        """Say where it is, with a button that shows the folder."""
        self.window.banner.say(
            "good", text, action="Show folder", stays=stays,
            on_action=lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))),
        )  # fmt: skip

    def _end(self, then: Callable[[], None]) -> None:
        self._busy = False
        self.window.job_bar.show_task("", 0, 0)
        then()

    def _on_failed(self, failure: Failure) -> None:
        self._end(lambda: self.window.show_error(failure))
