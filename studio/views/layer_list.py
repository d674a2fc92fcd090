"""The layers over the picture: eye, colour, opacity; networks are added from the runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QMenu, QSlider, QToolButton, QWidget

from studio.model.layers import GREEN, PALETTE, TRUTH, Layer, Layers, Network
from studio.toolkit.progress import Bar
from studio.toolkit.theme import theme
from studio.toolkit.widgets import (
    Choice,
    ElidedLabel,
    IconButton,
    button,
    clear,
    column,
    duration,
    label,
    row,
    scrolled,
)

NEITHER = "Open the eyes of two layers to wipe or flicker between them."


class LayerRow(QWidget):
    """One layer: its eye, colour, name and opacity."""

    def __init__(self, layer: Layer, layers: Layers) -> None:
        super().__init__()
        self.setObjectName("plain")
        self.key, self._layers = layer.key, layers
        self.eye = IconButton("eye", "Show or hide", checkable=True)
        self.eye.clicked.connect(lambda on: layers.set(self.key, shown=on))
        self.colour = QToolButton()
        self.colour.setToolTip("Colour")
        self.colour.setAccessibleName(f"Colour of {layer.name}")
        self.colour.setIconSize(QSize(14, 14))
        self.colour.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.colour)
        for one, named in PALETTE.items():
            if one != GREEN or layer.key == TRUTH:  # green says truth
                menu.addAction(swatch(one), named).triggered.connect(
                    lambda _=False, one=one: layers.set(self.key, colour=one)
                )
        self.colour.setMenu(menu)
        # runs of a recording and checkpoints of a run differ at their end
        where = Qt.TextElideMode.ElideLeft if layer.network else Qt.TextElideMode.ElideRight
        self.name = ElidedLabel(layer.brief, elide=where)
        self.name.setToolTip(layer.name)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setAccessibleName(f"Opacity of {layer.name}")
        self.opacity.setRange(0, 100)
        self.opacity.setFixedWidth(52)
        self.opacity.setToolTip("Opacity of the rendering; at 0 the outline stands alone")
        self.opacity.valueChanged.connect(lambda v: layers.set(self.key, opacity=v / 100))
        self.remove = IconButton("x", "Take this layer away", lambda: layers.remove(self.key))
        self.remove.setVisible(layer.network is not None)
        line = row(self.eye, self.colour, self.name, self.opacity, self.remove, gap=4)
        line.setStretch(2, 1)
        self.setLayout(line)
        self.refresh(layer)

    def refresh(self, layer: Layer) -> None:
        self.eye.setChecked(layer.shown)
        self.eye.set_icon_name("eye" if layer.shown else "eye-off")
        self.colour.setIcon(swatch(layer.colour))
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(100 * layer.opacity))
        self.opacity.blockSignals(False)


class LayerList(QWidget):
    """The uppermost layer first, as it lies in the picture."""

    filmWanted = Signal()

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers
        self.rows: dict[str, LayerRow] = {}
        self._lines = column(gap=4)
        self.pair = label("", "small", wrap=True)
        self.run = Choice("Run")
        self.run.setToolTip("A run's network: its poses on every frame")
        self.step = Choice("Checkpoint")
        self.step.setToolTip("At which checkpoint")
        self.run.currentIndexChanged.connect(self._fill_steps)
        self.add = button("Add as layer", self._on_add)
        self.film = button("Film of this view", self.filmWanted.emit, "",
                           "Every frame as the picture shows it now, as an MP4 in the folder of "
                           "runs")  # fmt: skip
        self._film_began = 0.0
        self.film_told = label("", "small")
        self.progress = Bar()
        self.progress.hide()
        self.film_told.hide()
        choice = row(self.run, self.step, gap=4)
        choice.setStretch(0, 1)
        content = QWidget()
        content.setLayout(column(
            self._lines, self.pair, label("ANOTHER NETWORK", "section"), choice,
            row(self.add, 1), label("FILM", "section"), row(self.film, 1), self.film_told,
            self.progress, 1, margin=8,
        ))  # fmt: skip
        self.setLayout(column(scrolled(content, whole=True)))
        self._steps: dict[Path, list[int]] = {}
        layers.listed.connect(self._fill)
        layers.changed.connect(self._refresh)
        self._fill()
        self.offer([])

    def offer(self, runs: Sequence[tuple[Path, list[int]]]) -> None:
        """Runs to choose from: folder and checkpoints' steps."""
        chosen = self.run.currentData()
        self._steps = dict(runs)
        self.run.blockSignals(True)
        self.run.clear()
        for path, _ in runs:
            self.run.addItem(path.name, path)
            self.run.setItemData(self.run.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole)
        self.run.setCurrentIndex(max(self.run.findData(chosen), 0))
        self.run.blockSignals(False)
        self._fill_steps()
        able = self.run.count() > 0
        for widget in (self.run, self.step, self.add):
            widget.setEnabled(able)
        self.add.setToolTip("" if able else "There is no run with a network of these objects yet.")

    def show_progress(self, done: int, total: int) -> None:
        """Of the film that is being made; no total: none is."""
        self.progress.setVisible(total > 0)
        self.progress.setRange(0, max(total, 1))
        self.progress.setValue(done)
        self.film.setText("Cancel the film" if total else "Film of this view")
        now = time.monotonic()
        if done == 0:
            self._film_began = now
        left = duration((now - self._film_began) / done * (total - done) if done else None)
        self.film_told.setText(f"{done} of {total} frames, {left} left")
        self.film_told.setVisible(total > 0)

    def _fill_steps(self, *_: object) -> None:
        chosen = self.step.currentData()
        self.step.clear()
        self.step.addItem("best", None)
        for step in sorted(self._steps.get(self.run.currentData(), ()), reverse=True):
            self.step.addItem(f"step {step}", step)
        self.step.setCurrentIndex(max(self.step.findData(chosen), 0))

    def _on_add(self) -> None:
        if self.run.currentData() is not None:
            self.layers.add(Network(self.run.currentData(), self.step.currentData()))

    def _fill(self) -> None:
        clear(self._lines)
        self.rows = {la.key: LayerRow(la, self.layers) for la in reversed(list(self.layers))}
        for line in self.rows.values():
            self._lines.addWidget(line)
        self._refresh()

    def _refresh(self) -> None:
        for layer in self.layers:
            if layer.key in self.rows:
                self.rows[layer.key].refresh(layer)
        lower, upper = self.layers.pair()
        if lower is not None and upper is not None:
            self.pair.setText(f"Wipe and flicker: {lower.name} | {upper.name}")
        else:
            self.pair.setText(NEITHER)


def swatch(colour: str) -> QIcon:
    picture = QPixmap(14, 14)
    picture.fill(QColor(colour))
    painter = QPainter(picture)
    painter.setPen(theme.colour("faint"))  # white is seen on white, too
    painter.drawRect(0, 0, 13, 13)
    painter.end()
    return QIcon(picture)
