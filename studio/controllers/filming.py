"""A film of every frame as the picture shows it: the same painter, the same layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor, QImage, QPainter

from studio.controllers.director import TRUTH_TOLD, Director
from studio.engine import Engine, Failure
from studio.engine.types import FrameData, PoseData, RenderData
from studio.model.layers import POSES, Layer
from studio.views.captions import paint_note
from studio.views.layer_painter import LayerPainter, Look, Pair

FLICKER_FRAMES = 6  # of the film, a turn: half a second


class Filming(QObject):
    """One film at a time; frames come, are painted, and go to the writer one by one.

    Signals:
        progress: (frames done, all). ended: the file. failed: a Failure; nothing is left.
    """

    progress = Signal(int, int)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, director: Director, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.director, self.engine = director, engine
        self.out: Path | None = None
        director.project.left.connect(self.cancel)

    @property
    def busy(self) -> bool:
        return self.out is not None

    def start(self, out: Path, source: LayerPainter) -> None:
        """Film the open recording as `source` shows its frame.

        Args:
            out: file to write; must not exist.
        """
        project = self.director.project
        recording = project.recording
        if self.busy or recording is None:
            return
        self.out, self._root, self._count = out, recording.root, len(recording)
        self._part = out.with_name(f".{out.stem}.part{out.suffix}")
        self._files = project.model_files
        self._look, self._pair = source.look, source.pair
        self._shown: list[Layer] = list(source.shown)
        self._painter = LayerPainter()
        self._painter.models, self._painter.selected_object = source.models, source.selected_object
        self._at_work = {i: project.frame_poses(i) for i in range(self._count)}
        self._told = {i: project.told_by(i) for i in range(self._count)}
        self.progress.emit(0, self._count)
        self._ask_frame(0)

    def cancel(self) -> None:
        """End it; what was written of it goes."""
        if self.out is not None:
            self.out = None
            self.engine.request("film_drop", str(self._part), failed=lambda failure: None)
            self.progress.emit(0, 0)

    def close(self) -> None:
        """The window goes, and the writer with it."""
        if self.out is not None:
            self.out = None
            self._part.unlink(missing_ok=True)

    def _ask(self, method: str, *args: object, done: Callable[[Any], object]) -> None:
        out = self.out

        def arrived(answer: object) -> None:
            if self.out == out:
                done(answer)

        def failed(failure: Failure) -> None:
            if self.out == out:
                self.cancel()
                self.failed.emit(failure)

        self.engine.request(method, *args, done=arrived, failed=failed)

    def _ask_frame(self, index: int) -> None:
        if index == self._count:
            self._ask("film_end", str(self._part), str(self.out), done=self._on_end)
            return
        self._ask("frame", self._root, index, done=self._on_frame)

    def _on_end(self, _: object) -> None:
        out, self.out = self.out, None
        self.progress.emit(0, 0)
        self.ended.emit(out)

    def _on_frame(self, frame: FrameData) -> None:
        self._painter.set_frame(frame)
        self._draw(frame, list(self._shown))

    def _draw(self, frame: FrameData, left: list[Layer]) -> None:
        """Poses of the layers that are left, one after the other; then the picture."""
        if not left:
            self._write(frame)
            return
        layer, *rest = left

        def drawn(rendering: RenderData | None) -> None:
            self._painter.set_rendering(layer.key, rendering)
            self._draw(frame, rest)

        def found(poses: list[PoseData]) -> None:
            if poses and self._files.paths:
                self._ask("render", self._files, poses, frame.K, frame.size, done=drawn)
            else:
                drawn(None)

        if layer.network is None:
            found(self._at_work[frame.index] if layer.key == POSES else list(frame.truth))
            return
        known = self.director.predictions.poses(layer.network, frame.index)
        if known is not None:
            found(known)
            return
        network = layer.network

        def predicted(answer: tuple[int, list[PoseData]]) -> None:
            self.director.predictions.put(network, answer[0], frame.index, answer[1])
            found(answer[1])

        self._ask("predict", str(network.run), self._root, frame.index, network.step,
                  done=predicted)  # fmt: skip

    def _write(self, frame: FrameData) -> None:
        turn = frame.index // FLICKER_FRAMES % 2 if self._look.mode == "flicker" else 0
        notes = [(self._note(layer, frame.index), layer.colour) for layer in reversed(self._shown)]
        picture = paint(self._painter, self._shown, self._pair, self._look, turn, notes)
        self._ask("film_frame", str(self._part), picture, done=lambda _: self._next(frame.index))

    def _note(self, layer: Layer, index: int) -> str:
        if layer.network is not None:
            return self.director.predictions.told(layer.network)
        return self._told[index] if layer.key == POSES else TRUTH_TOLD

    def _next(self, index: int) -> None:
        self.progress.emit(index + 1, self._count)
        self._ask_frame(index + 1)


def paint(
    painter: LayerPainter,
    shown: list[Layer],
    pair: Pair,
    look: Look,
    turn: int,
    notes: Sequence[tuple[str, str]],
) -> np.ndarray:
    """(H, W, 3) uint8: the frame that `painter` holds, as the window shows it, with its notes."""
    painter.arrange(shown, pair, replace(look, turn=turn))
    base = painter.base()
    assert base is not None
    image = base.convertToFormat(QImage.Format.Format_RGB888)
    brush = QPainter(image)
    brush.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.paint(brush, 1.0)
    for line, (text, colour) in enumerate((text, colour) for text, colour in notes if text):
        paint_note(brush, text, QColor(colour).name(), line)
    brush.end()
    wide = image.bytesPerLine()
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), wide)
    return pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
