"""ScanNet as its SensReader unpacks it: color/, depth/ (mm), intrinsic/*.txt, pose/.

Source: https://github.com/ScanNet/ScanNet/tree/master/SensReader
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from self6d.datasets.intrinsics import Intrinsics, read_intrinsics
from self6d.datasets.pairing import paired
from self6d.datasets.readers.folder import FolderRecording, list_images
from self6d.datasets.recording import models_beside
from self6d.datasets.registration import DepthCamera
from self6d.errors import InputError
from self6d.files import note, read_text

_UNIT_M = 0.001  # depthShift 1000


class ScanNetRecording(FolderRecording):
    """One scan. Depth has a camera of its own, which sees from where colour's does."""

    kind = "scannet"

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames.

        Raises:
            InputError: no colour images, or no colour intrinsics.
        """
        rgb, depth = list_images(path)
        if not rgb:
            raise InputError(
                "holds no colour images", path=path, remedy="Unpack them with ScanNet's SensReader."
            )
        colour = read_intrinsics(path / "intrinsic" / "intrinsic_color.txt")
        recording = cls(
            path,
            paired(rgb, depth, path),
            colour,
            _UNIT_M,
            reason=reason,
            models_path=models_beside(path, up=0),
        )
        recording.depth_camera = _depth_camera(path / "intrinsic", colour) if depth else None
        return recording


def _depth_camera(folder: Path, colour: Intrinsics) -> DepthCamera | None:
    path = folder / "intrinsic_depth.txt"
    if not path.is_file():
        note(folder, "states no depth camera; depth is taken as registered to colour")
        return None
    own = read_intrinsics(path)
    if np.allclose(own.K, colour.K, atol=1e-3):
        return None
    stands = [_extrinsic(folder / f"extrinsic_{which}.txt") for which in ("color", "depth")]
    if not np.allclose(stands[0], stands[1], atol=1e-3):
        note(folder, "colour's and depth's extrinsics differ; they were left out, as both cameras "
                     "of a ScanNet scan are taken to stand in one place")  # fmt: skip
    return DepthCamera(own, np.eye(3), np.zeros(3))


def _extrinsic(path: Path) -> np.ndarray:
    if not path.is_file():
        return np.eye(4)
    try:
        return np.array(read_text(path, "extrinsics").split(), np.float64).reshape(4, 4)
    except ValueError:
        raise InputError(
            "extrinsics are no 4x4 matrix", path=path, remedy="Unpack the scan again."
        ) from None


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    stated = (path / "intrinsic" / "intrinsic_color.txt").is_file() and (path / "color").is_dir()
    return "color/ and intrinsic/intrinsic_color.txt: ScanNet layout" if stated else ""
