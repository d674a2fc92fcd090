"""A film, and the camera file beside it: colour alone, frame by frame."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.intrinsics import Intrinsics, intrinsics_of
from self6d.datasets.recording import FrameSource, Recording, frame_of, models_beside
from self6d.errors import InputError
from self6d.files import note
from self6d.scene import Frame

FILM_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")


class FilmRecording(Recording):
    """The pictures of a film, upright as players show them; there is no depth."""

    kind = "film"

    def __init__(self, film: Film, intrinsics: Intrinsics, reason: str) -> None:
        self.intrinsics, self._film = intrinsics, film
        keys = [FrameKey(0, number) for number in range(film.count)]
        folder = film.path.parent
        super().__init__(film.path, keys, reason=reason, models_path=models_beside(folder, 0))

    @classmethod
    def open(cls, path: Path, *, camera: Intrinsics | None = None, reason: str = "") -> Self:
        """List the frames of a film.

        Args:
            camera: None: of the camera file in the film's folder.

        Raises:
            InputError: the camera is unknown, or the film cannot be read.
        """
        film = Film(path, upright=True)
        if not film.count:
            raise InputError("holds no pictures", path=path, remedy="Copy or record it again.")
        if camera is None:
            try:
                camera = intrinsics_of(path.parent)
            except InputError as error:
                remedy = "predict and live also take it with --camera FILE."
                raise InputError(
                    f"film's folder {error.what}", path=path, remedy=f"{error.remedy} {remedy}"
                ) from None
        return cls(film, camera, reason)

    def source(self, key: FrameKey) -> FrameSource:
        return FrameSource(f"{key.image_id:06d}", self._film.path, None, 0.001, self.intrinsics)

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        key = self.keys[index]
        rgb, name = self._film.picture(key.image_id), f"{key.image_id:06d}"
        return frame_of(
            key, name, rgb, None, self.intrinsics, checked=self.checked, image=self._film.path
        )


class Film:
    """Pictures of a film by their number.

    Args:
        upright: turned for display as the film says; else as they were taken.
    """

    def __init__(self, path: Path, *, upright: bool = False) -> None:
        self.path, self.upright = path, upright
        self._video: cv2.VideoCapture | None = None
        self._process = 0
        self._next = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {"path": self.path, "upright": self.upright}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"], upright=state["upright"])  # type: ignore[misc]

    @property
    def count(self) -> int:
        """Number of pictures that can be read; noted where the film states another."""
        stated = int(self._opened().get(cv2.CAP_PROP_FRAME_COUNT))
        try:
            if stated > 0:
                self.picture(stated - 1)
                return stated
        except InputError:
            pass
        with self._lock:  # it is cut off, or states a guess
            video = self._opened()
            video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found = 0
            while video.grab():
                found += 1
            self._next = -1
        note(self.path, f"the film states {max(stated, 0)} pictures; {found} of it can be read")
        return found

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        video = self._opened()
        width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
        return int(video.get(width)), int(video.get(height))

    def picture(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8, RGB.

        Raises:
            InputError: the film ends or breaks before it.
        """
        with self._lock:
            video = self._opened()
            if number != self._next:
                video.set(cv2.CAP_PROP_POS_FRAMES, number)
            good, image = video.read()
            self._next = number + 1
        if not good:
            self._next = -1
            raise InputError(
                f"picture {number} of the film cannot be read",
                path=self.path,
                remedy="Copy or record it again.",
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _opened(self) -> cv2.VideoCapture:
        if self._video is None or self._process != os.getpid():  # a fork shares the file's place
            self._video = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
            self._video.set(cv2.CAP_PROP_ORIENTATION_AUTO, float(self.upright))
            self._process, self._next = os.getpid(), 0
            if not self._video.isOpened():
                self._video = None
                raise InputError(
                    "film cannot be read", path=self.path, remedy="Copy or record it again."
                )
        return self._video
