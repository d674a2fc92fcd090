"""Stray Scanner (iPhone, iPad): rgb.mp4, camera_matrix.csv, depth/ in mm, confidence/.

Source: https://github.com/strayrobots/scanner/blob/main/docs/format.md
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.camera_files import matrix
from self6d.datasets.images import decode, fit_depth, read_depth_raw, to_metres
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.readers.film import Film
from self6d.datasets.recording import FrameSource, Recording, frame_of, models_beside
from self6d.errors import InputError
from self6d.files import note, read_text
from self6d.scene import Frame

_UNIT_M = 0.001


class StrayRecording(Recording):
    """One take: colour is a film, depth is coarser than colour and registered to it."""

    kind = "stray"

    def __init__(self, root: Path, count: int, intrinsics: Intrinsics, reason: str) -> None:
        self.intrinsics = intrinsics
        self._film = Film(root / "rgb.mp4")
        keys = [FrameKey(0, i) for i in range(count)]
        super().__init__(root, keys, reason=reason, models_path=models_beside(root, up=0))

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames: those of the film that have depth.

        Raises:
            InputError: no camera matrix, or a film that cannot be read.
        """
        file = path / "camera_matrix.csv"
        text = read_text(file, "camera matrix")
        try:
            numbers = [float(w) for w in text.replace(",", " ").split()]
        except ValueError:
            raise InputError(
                "camera matrix is not nine numbers", path=file, remedy="Export the take again."
            ) from None
        film = Film(path / "rgb.mp4")
        intrinsics = Intrinsics(matrix(numbers, file), *film.size, source=file)
        pictures = film.count
        try:
            depth = {n for n in os.listdir(path / "depth") if n.endswith(".png") and n[0] != "."}
        except OSError:
            depth = set()
        count = min(pictures, len(depth)) if depth else pictures
        if depth and pictures != len(depth):
            note(path, f"the film has {pictures} pictures and depth {len(depth)}; the first "
                       f"{count} of both are used")  # fmt: skip
        return cls(path, count, intrinsics, reason)

    def source(self, key: FrameKey) -> FrameSource:
        depth = self.root / "depth" / f"{key.image_id:06d}.png"
        has_depth = depth.parent.is_dir()
        return FrameSource(
            f"{key.image_id:06d}",
            self.root / "rgb.mp4",
            depth if has_depth else None,
            _UNIT_M,
            self.intrinsics,
        )

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        key = self.keys[index]
        source = self.source(key)
        rgb = self._film.picture(key.image_id)
        metres = None
        if depth and source.depth is not None:
            metres = to_metres(read_depth_raw(source.depth), _UNIT_M, source.depth)
            metres = fit_depth(self._trusted(metres, key), rgb.shape[:2], source.depth)
        return frame_of(key, source.name, rgb, metres, self.intrinsics, checked=self.checked)

    def _trusted(self, depth: np.ndarray, key: FrameKey) -> np.ndarray:
        """Depth without the pixels of low confidence, 0 of 0, 1, 2."""
        path = self.root / "confidence" / f"{key.image_id:06d}.png"
        if not path.is_file():
            return depth
        trust = decode(path, "confidence")
        if trust.shape != depth.shape:
            note(path, "confidence left out: its size is not depth's")
            return depth
        if (trust == 0).any():
            note(path, "depth of low confidence was set to 0 (unknown)")
        return np.where(trust == 0, np.float32(0), depth)


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    stated = (path / "camera_matrix.csv").is_file() and (path / "rgb.mp4").is_file()
    return "rgb.mp4 and camera_matrix.csv: Stray Scanner layout" if stated else ""
