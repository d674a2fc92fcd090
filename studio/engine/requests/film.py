"""A film of a recording with the poses that runs predict, side by side, through OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import torch

from self6d.datasets import Dataset
from self6d.errors import InputError, StorageError
from self6d.evaluation.predictions import NetworkPredictor, Prediction
from self6d.jobs.pictures import draw_words
from self6d.rendering import pack_models, render
from self6d.runs.load_network import TrainedNetwork, load_network
from self6d.scene import Frame
from self6d.storage import whole_file

RATE = 12.0
SCORE = 0.3
COLOURS = ((255, 176, 32), (47, 182, 255))  # before, after; as in the window


def make_film(
    out: Path,
    dataset: Dataset,
    runs: Sequence[str],
    indices: Sequence[int],
    tell: Callable[[tuple[int, int]], None],
) -> None:
    """Write an MP4: each frame once a run, the rendering faint over it and its outline bright.

    Args:
        out: file to write; one that is there gives way to the whole film (the dialog has asked).
        runs: one or two run folders, such as before and after adaptation.
        indices: frames, in order.

    Raises:
        InputError: nothing to show.
        StorageError: it cannot be written.
    """
    if not runs or not indices:
        raise InputError("there is nothing to film", remedy="Choose a run and frames.")
    sides = [_Side(run, i if len(runs) > 1 else 1) for i, run in enumerate(runs)]
    writer: cv2.VideoWriter | None = None
    with whole_file(out) as part, ExitStack() as open_films:
        for done, index in enumerate(indices, 1):
            frame = dataset.frame(index)
            picture = np.hstack([side.draw(frame) for side in sides])
            picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if writer is None:
                size = (picture.shape[1], picture.shape[0])
                writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), RATE, size)
                if not writer.isOpened():
                    raise StorageError("cannot be written", path=out, remedy="Name another file.")
                open_films.callback(writer.release)
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
            tell((done, len(indices)))


class Films:
    """Films of pictures that come one by one."""

    def __init__(self) -> None:
        self._writers: dict[str, cv2.VideoWriter] = {}

    def add(self, out: str, picture: np.ndarray) -> None:
        """Append (H, W, 3) uint8 RGB; the first begins the film.

        Raises:
            StorageError: it cannot be written.
        """
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        if out not in self._writers:
            try:
                Path(out).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"cannot be written ({error.strerror})", path=out) from error
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(out, cv2.VideoWriter.fourcc(*"mp4v"), RATE, size)
            if not writer.isOpened():
                raise StorageError("cannot be written", path=out, remedy="Is its folder yours?")
            self._writers[out] = writer
        self._writers[out].write(np.ascontiguousarray(picture[..., ::-1]))

    def end(self, out: str, to: str) -> None:
        """Put a finished film in its place; nothing is overwritten.

        Raises:
            StorageError: there is a file already.
        """
        self._writers.pop(out).release()
        if Path(to).exists():
            Path(out).unlink()
            raise StorageError("exists already", path=to, remedy="Make the film once more.")
        Path(out).replace(to)

    def drop(self, out: str) -> None:
        """Leave nothing of it."""
        if out in self._writers:
            self._writers.pop(out).release()
            Path(out).unlink(missing_ok=True)


class _Side:
    """One run's half of the picture."""

    def __init__(self, run: str, place: int) -> None:
        self._trained: TrainedNetwork = load_network(run)
        self._packed = pack_models(self._trained.models)
        self._place = {m.object_id: i for i, m in enumerate(self._trained.models)}
        self._predict = NetworkPredictor(self._trained.network, score_threshold=SCORE, masks=False)
        self._name, self._colour = Path(run).name, COLOURS[place % 2]

    def draw(self, frame: Frame) -> np.ndarray:
        picture = frame.rgb.copy()
        for found in self._predict(frame):
            self._overlay(picture, frame, found)
        draw_words(picture, self._name, (9, 23), self._colour)
        return picture

    def _overlay(self, picture: np.ndarray, frame: Frame, found: Prediction) -> None:
        with torch.no_grad():
            drawn = render(
                torch.tensor(found.R, dtype=torch.float32)[None],
                torch.tensor(found.t, dtype=torch.float32)[None],
                torch.tensor(frame.camera.K, dtype=torch.float32),
                self._packed,
                frame.camera.size,
                object_index=torch.tensor([self._place[found.object_id]]),
                soft_mask=False,
            )
        covered = drawn.covered[0].numpy()
        colours = (drawn.rgb[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
        mixed = 0.5 * picture[covered] + 0.5 * colours[covered]
        picture[covered] = mixed.astype(np.uint8)
        border, _ = cv2.findContours(
            covered.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, border, -1, self._colour, 1, cv2.LINE_AA)
