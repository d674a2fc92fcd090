"""Names and paths too long for a line: shortened in the middle, whole in the tool tip."""

from __future__ import annotations

import re
from collections.abc import Iterable

from PySide6.QtGui import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy

LONGEST = 28  # letters; a longer word makes a panel wider or leaves it, and hides its sentence
_WORD = re.compile(rf"\S{{{LONGEST + 1},}}")
_DOTS = "…"


def shortened(text: str, names: Iterable[str] = ()) -> str:
    """A text whose overlong words have lost their middle.

    Args:
        names: of files, objects and runs that it may hold; those are shortened although they
            consist of several words.
    """
    for name in sorted({n for n in names if len(n) > LONGEST}, key=len, reverse=True):
        text = text.replace(name, shortened_name(name))
    return _WORD.sub(lambda found: shortened_name(found[0]), text)


def shortened_name(word: str) -> str:
    """A name without its middle where it is too long, spaces or not.

    More is left of the end, which tells a file from those beside it.
    """
    if len(word) <= LONGEST:
        return word
    end = 2 * LONGEST // 3
    return f"{word[: LONGEST - end - 1].rstrip()}{_DOTS}{word[-end:].lstrip()}"


class WrappedLabel(QLabel):
    """Breaks its lines; what `shortened` takes out of its text is in the tool tip.

    `text` gives the whole text, as it was set.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._whole, self._tip = "", ""
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setText(text)

    def setText(self, text: str, names: Iterable[str] = ()) -> None:
        """`names` as in `shortened`."""
        self._whole = text
        super().setText(text if Qt.mightBeRichText(text) else shortened(text, names))
        self._show_tip()

    def text(self) -> str:
        return self._whole

    def drawn(self) -> str:
        """What is in sight."""
        return super().text()

    def setToolTip(self, tip: str) -> None:
        """Shown where nothing was shortened."""
        self._tip = tip
        self._show_tip()

    def _show_tip(self) -> None:
        super().setToolTip(self._tip if self.drawn() == self._whole else self._whole)
