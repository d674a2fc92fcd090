"""Which poses are shown over a frame: those at work, the truth, and networks' at checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

POSES, TRUTH = "predicted", "truth"
# They stay the same in both looks, because they are drawn over photographs.
BLUE, ORANGE, GREEN = "#2fb6ff", "#ffb020", "#3ddc84"
PALETTE = {
    BLUE: "blue", ORANGE: "orange", GREEN: "green", "#ff6fb5": "pink", "#c9a3ff": "violet",
    "#f4ef6b": "yellow", "#ff7a5c": "red", "#ffffff": "white",
}  # fmt: skip
NETWORK_COLOURS = (ORANGE, "#ff6fb5", "#c9a3ff", "#f4ef6b", "#ff7a5c")


@dataclass(frozen=True)
class Network:
    """A run's network.

    Attributes:
        step: of the checkpoint; None is the run's best.
    """

    run: Path
    step: int | None = None

    @property
    def name(self) -> str:
        return f"{self.run.name} at {'its best' if self.step is None else f'step {self.step}'}"


@dataclass(frozen=True)
class Layer:
    """Poses drawn in one colour.

    Attributes:
        key: `POSES`, `TRUTH`, or whatever tells networks apart.
        opacity: of the rendering, 0 to 1; at 0 the outline is drawn alone.
        shown: whether its eye is open.
        network: whose poses; None for those at work and the truth.
    """

    key: str
    name: str
    colour: str
    opacity: float = 0.0
    shown: bool = True
    network: Network | None = None

    @property
    def brief(self) -> str:
        """Its name where there is little room; what tells networks apart stands at the end."""
        if self.network is None:
            return self.name
        step = self.network.step
        return f"{self.network.run.name}, {'best' if step is None else f'step {step}'}"


class Layers(QObject):
    """From the lowest to the uppermost: truth, networks in the order they came, poses at work.

    Signals:
        changed: how layers are shown. listed: also which there are.
    """

    changed = Signal()
    listed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers: list[Layer] = []
        self.reset()

    def reset(self) -> None:
        """Poses at work, and the truth with its eye closed."""
        self._layers = [
            Layer(TRUTH, "truth (labels)", GREEN, shown=False),
            Layer(POSES, "current poses", BLUE, 0.6),
        ]
        self.listed.emit()
        self.changed.emit()

    def __iter__(self) -> Iterator[Layer]:
        return iter(tuple(self._layers))

    def __getitem__(self, key: str) -> Layer:
        return next(layer for layer in self._layers if layer.key == key)

    def shown(self) -> list[Layer]:
        return [layer for layer in self._layers if layer.shown]

    def pair(self) -> tuple[Layer | None, Layer | None]:
        """What wipe and flicker go between, the lower first: two networks, where two are shown.

        Else the two uppermost that are shown; with one alone the other side is the bare image,
        None.
        """
        shown = self.shown()
        networks = [layer for layer in shown if layer.network is not None]
        two = (networks if len(networks) > 1 else shown)[-2:]
        lower = two[0] if two else None
        return lower, two[1] if len(two) > 1 else None

    def networks(self) -> list[Network]:
        return [layer.network for layer in self._layers if layer.network is not None]

    def add(self, network: Network) -> str:
        """Show a network's poses over every frame; its layer's key."""
        key = f"{network.run} {network.step}"
        if any(layer.key == key for layer in self._layers):
            self.set(key, shown=True)
            return key
        used = {layer.colour for layer in self._layers}
        free = [c for c in NETWORK_COLOURS if c not in used] or list(NETWORK_COLOURS)
        self._layers.insert(-1, Layer(key, network.name, free[0], network=network))
        self.listed.emit()
        self.changed.emit()
        return key

    def remove(self, key: str) -> None:
        """Take a network's layer away; truth and poses at work stay."""
        self._layers = [la for la in self._layers if la.key != key or la.network is None]
        self.listed.emit()
        self.changed.emit()

    def set(self, key: str, **how: Any) -> None:
        """Change `shown`, `colour` or `opacity` of a layer."""
        before = self[key]
        after = replace(before, **how)
        if after != before:
            self._layers[self._layers.index(before)] = after
            self.changed.emit()

    def to_list(self) -> list[dict[str, Any]]:
        """All that a restart brings back, the lowest first."""
        return [
            {
                "key": la.key, "colour": la.colour, "opacity": la.opacity, "shown": la.shown,
                "run": None if la.network is None else str(la.network.run),
                "step": None if la.network is None else la.network.step,
            }
            for la in self._layers
        ]  # fmt: skip

    def restore(self, kept: Sequence[dict[str, Any]]) -> list[str]:
        """Layers of a saved workspace; the names of networks that are gone, and left out."""
        self.reset()
        gone = []
        for entry in kept:
            key = entry["key"]
            if entry.get("run") is not None:
                network = Network(Path(entry["run"]), entry.get("step"))
                if not network.run.exists():
                    gone.append(network.name)
                    continue
                key = self.add(network)
            how = {name: entry[name] for name in ("colour", "opacity", "shown")}
            self.set(key, **how)
        return gone
