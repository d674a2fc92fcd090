"""An image file and a camera as a user names them, brought to what a network takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from self6d.datasets.distortion import distortion
from self6d.datasets.images import read_rgb
from self6d.datasets.intrinsics import Intrinsics, read_intrinsics
from self6d.datasets.recording import pinhole_images
from self6d.errors import InputError

_REMEDY = "Give IMAGE CAMERA_FILE, or IMAGE FX FY CX CY and the distortion K1 K2 P1 P2 if any."


def photograph(
    image: str | Path | None = None, *camera: str | float
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image file and its K, as the readers of recordings give them.

    Args:
        image: file of any kind that recordings may hold.
        camera: one camera file, or fx, fy, cx, cy (pixels, pixel centres at whole numbers) and,
            where the lens distorts, OpenCV's coefficients k1, k2, p1, p2, ...

    Returns:
        (H, W, 3) uint8 RGB, upright and without distortion, and K (3, 3) float64 of OpenCV.

    Raises:
        InputError: no image, no camera, or one that no such image has.
    """
    if image is None or not camera:
        raise InputError("an image and its camera are needed", remedy=_REMEDY)
    rgb = read_rgb(image)
    stated = _stated(camera)
    height, width = rgb.shape[:2]
    view = stated.camera(width, height)
    return pinhole_images(stated, view, rgb, None)[0], view.K_opencv


def _stated(words: tuple[str | float, ...]) -> Intrinsics:
    if len(words) == 1:
        return read_intrinsics(str(words[0]))
    try:
        fx, fy, cx, cy, *bent = (float(word) for word in words)
    except (TypeError, ValueError):
        text = " ".join(map(str, words))
        raise InputError(f"'{text}' is no camera", remedy=_REMEDY) from None
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    return Intrinsics(K, distortion=distortion(bent) if bent else None)
