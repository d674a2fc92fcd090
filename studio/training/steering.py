"""Loss weights on their way to a running job, and what is said of where they have no effect."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from self6d.losses.terms import LISTED, deaf

TITLES = {term.name: term.title for term in LISTED}
AT_ONCE = "Changes take effect at the next step of the running job."
AT_REFRESH = "Changes take effect when the running job refines its poses next."


class Steering(QObject):
    """A job follows the weights that are shown, whichever way they came: typed, undone, loaded.

    What changes within one turn of the event loop is compared once, so that loading settings
    piece by piece sends nothing in between.
    """

    liveWeight = Signal(str, float)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.preset = ""  # that the running job began with; "" without a job
        self._told: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._own = False
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self._compare)

    def begin(self, preset: str) -> None:
        """Another job, or none (""): what is shown next is what it has."""
        self.preset, self._told = preset, {}

    def show(self, weights: dict[str, float], preset: str) -> None:
        """These weights, of this preset, are on the screen now."""
        self._shown, self._own = weights, preset == self.preset
        if self._own and not self._told:
            self._told = dict(weights)
        if self.preset:
            self._soon.start()

    def _compare(self) -> None:
        if not self.preset or not self._own:
            return
        for term, weight in self._shown.items():
            if self._told.get(term) != weight:
                self._told[term] = weight
                self.liveWeight.emit(term, weight)


def weights_note(values: dict[str, Any], preset: str, running: str, *, poses: bool = False) -> str:
    """What a change of a weight does, and where it can do nothing.

    Args:
        values: settings by dotted key as they stand; empty before they are known.
        preset: chosen in the panel. running: that of the running job, "" without one.
        poses: those of a track are learned.
    """
    if running and preset != running:
        return f"For the next run: the running job began as {running} and keeps its weights."
    if poses:
        return "The weights have no effect: the poses of a track are learned, without L_self."
    if "adapt.self_weight" not in values:
        return AT_ONCE if running else ""
    if not running:  # poses are refined at the start at least
        values = {**values, "adapt.refresh_every": values["adapt.refresh_every"] or 1}
    names = ("self_weight", "pseudo", "pseudo_colour", "refresh_every")
    settings = {name: values[f"adapt.{name}"] for name in names}
    why_not = {term: deaf(term, **settings) for term in TITLES}
    reasons = list(dict.fromkeys(filter(None, why_not.values())))
    said = []
    if running and not all(why_not.values()):
        said.append(AT_ONCE if values["adapt.self_weight"] > 0 else AT_REFRESH)
    for reason in reasons:
        terms = [TITLES[term] for term, why in why_not.items() if why == reason]
        which = "The weights have" if len(terms) == len(TITLES) else f"{' and '.join(terms)} have"
        said.append(f"{which} no effect: {reason}.")
    return " ".join(said)
