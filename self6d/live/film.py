"""A video with the poses drawn in, their states, and the rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from self6d.datasets.pose_track import TrackState
from self6d.errors import InputError, StorageError
from self6d.evaluation.predictions import Prediction
from self6d.files import check_new
from self6d.jobs.pictures import draw_poses, draw_words
from self6d.live.follow import Seen
from self6d.live.sources import Shot
from self6d.scene import ObjectModel

RATE = 15.0  # of the video
COLOURS = {
    TrackState.TRACKED: (90, 220, 120),
    TrackState.FOUND_AGAIN: (90, 200, 255),
    TrackState.WEAK: (255, 190, 60),
    TrackState.LOST: (255, 90, 90),
}


class Film:
    """A video file being written (MPEG-4); whole once it is closed.

    Args:
        path: new, ending in .mp4. models: the objects.

    Raises:
        InputError: it exists, or does not end so.
    """

    def __init__(self, path: Path, models: Sequence[ObjectModel]) -> None:
        check_new(path)
        if path.suffix.lower() != ".mp4":
            raise InputError("is no name of a film", path=path, remedy="End it in .mp4.")
        self.path, self.models = path, models
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def close(self) -> None:
        """The film is whole."""
        if self._writer is not None:
            self._writer.release()

    def add(self, shot: Shot, seen: Sequence[Seen], rate: float) -> None:
        """One image; its size is the first one's from then on.

        Raises:
            StorageError: the file cannot be written.
        """
        picture = drawn(shot, seen, self.models, rate)
        if self._writer is None:
            self._size = picture.shape[1], picture.shape[0]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.path), code, RATE, self._size)
            if not self._writer.isOpened():
                raise StorageError("cannot be written", path=self.path, remedy="Name another file.")
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def drawn(
    shot: Shot, seen: Sequence[Seen], models: Sequence[ObjectModel], rate: float
) -> np.ndarray:
    """The image with boxes, axes and words, (H, W, 3) uint8."""
    placed = [
        Prediction(0, 0, s.object_id, s.confidence, s.R, s.t)
        for s in seen
        if s.R is not None and s.t is not None
    ]
    picture = draw_poses(shot.rgb, shot.camera, placed, models)
    lines = [(f"{rate:.1f} images/s", (235, 235, 235))]
    lines += [(f"{s.name} {s.state.value} {s.confidence:.2f}", COLOURS[s.state]) for s in seen]
    for i, (text, colour) in enumerate(lines):
        draw_words(picture, text, (6, 16 + 16 * i), colour, 0.45)
    return picture
