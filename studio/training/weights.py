"""The weights of the self-supervised loss, each with a mute button."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QLineEdit, QWidget

from self6d.losses.terms import LISTED, TERMS
from studio.toolkit.dialogs import Question
from studio.toolkit.theme import theme
from studio.toolkit.widgets import IconButton, label
from studio.toolkit.words import meaning, word


class LossWeights(QWidget):
    """One row a term. `edited` carries (term, weight); a muted term has weight 0."""

    edited = Signal(str, float)

    def __init__(self) -> None:
        super().__init__()
        self._weights: dict[str, float] = {}
        self._before_mute: dict[str, float] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.mutes: dict[str, IconButton] = {}
        self.boxes: dict[str, QLineEdit] = {}
        self._dots: dict[str, QLabel] = {}
        for line, term in enumerate(TERMS):
            mute = IconButton("volume-2", f"Mute the {word(term)} term")
            mute.clicked.connect(lambda _=False, term=term: self._on_mute(term))
            box = QLineEdit()
            box.setFixedWidth(72)
            box.setAccessibleName(f"Weight of {word(term)}")
            box.editingFinished.connect(lambda term=term: self._on_edit(term))
            dot, title = QLabel("━"), label(word(term), wrap=True)
            title.setToolTip(meaning(term))
            self._dots[term], self.mutes[term], self.boxes[term] = dot, mute, box
            grid.addWidget(dot, line, 0)
            grid.addWidget(title, line, 1)
            grid.addWidget(box, line, 2)
            grid.addWidget(mute, line, 3)
        theme.changed.connect(self._dress)
        self._dress()

    def set_weights(self, weights: dict[str, float]) -> None:
        """Show weights without telling anyone."""
        self._weights.update(weights)
        for term, value in weights.items():
            self.boxes[term].setText(f"{value:g}")
            muted = value == 0
            self.mutes[term].set_icon_name("volume-x" if muted else "volume-2")
            self.mutes[term].setToolTip(f"{'Unmute' if muted else 'Mute'} the {word(term)} term")

    def weight(self, term: str) -> float:
        return self._weights.get(term, 0.0)

    def _on_edit(self, term: str) -> None:
        box = self.boxes[term]
        try:
            value = float(box.text())
            if not 0 <= value < 1e6:
                raise ValueError
        except ValueError:
            box.setText(f"{self._weights[term]:g}" if term in self._weights else "")
            return
        if value != self._weights.get(term):
            self._change(term, value)

    def _on_mute(self, term: str) -> None:
        now = self._weights.get(term, 0.0)
        if now > 0:
            self._before_mute[term] = now
            self._change(term, 0.0)
        else:
            self._change(term, self._before_mute.get(term, 1.0))

    def _change(self, term: str, value: float) -> None:
        if value == 0 and not self._confirm_mute(term):
            self.set_weights({term: self._weights[term]})
            return
        self.set_weights({term: value})
        self.edited.emit(term, value)

    def _confirm_mute(self, term: str) -> bool:
        without = next(t.without for t in LISTED if t.name == term)
        if not without:
            return True
        answer = Question.ask(
            self, f"Mute the {word(term)} term?",
            f"In the paper's ablation on LineMOD the mean recall falls from 58.9 % to "
            f"{without} without it: the other terms cannot hold the pose alone.",
            [("mute", f"Mute {word(term)}", "danger"), ("keep", "Keep it", "primary")],
        )  # fmt: skip
        return answer == "mute"

    def _dress(self) -> None:
        for term, dot in self._dots.items():
            dot.setStyleSheet(f"color: {theme.term_colour(term)}; font-weight: bold;")
