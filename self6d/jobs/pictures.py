"""Poses drawn over images, and pictures written to disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from self6d.evaluation.predictions import (
    Prediction,
)
from self6d.files import write_file
from self6d.geometry import Camera
from self6d.scene import ObjectModel


def draw_poses(
    rgb: np.ndarray,
    camera: Camera,
    predictions: Sequence[Prediction],
    models: Sequence[ObjectModel],
) -> np.ndarray:
    """Each predicted object's bounding box and axes (x red, y green, z blue) over the image.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    picture = rgb.copy()
    by_id = {model.object_id: model for model in models}
    for p in predictions:
        low, high = by_id[p.object_id].extents
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        points = np.where(corners, high, low)
        centre = (low + high) / 2
        ends = centre + np.diag(high - low) / 2
        xyz = np.concatenate((points, centre[None], ends)) @ p.R.T + p.t
        if (xyz[:, 2] <= 0.01).any():
            continue
        uv = xyz @ camera.K.T
        pixels = np.round(uv[:, :2] / uv[:, 2:] - 0.5).astype(int).tolist()
        for a in range(8):
            for b in range(a + 1, 8):
                if np.abs(corners[a] - corners[b]).sum() == 1:
                    cv2.line(picture, pixels[a], pixels[b], (255, 210, 60), 1, cv2.LINE_AA)
        for axis, end in enumerate(pixels[9:]):
            colour = [int(255 * (axis == i)) for i in range(3)]
            cv2.line(picture, pixels[8], end, colour, 2, cv2.LINE_AA)
    return picture


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG.

    Raises:
        StorageError: it cannot be written.
    """
    _, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    write_file(path, data.tobytes())


def draw_words(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    colour: tuple[int, int, int],
    scale: float = 0.5,
) -> None:
    """Write on a dark plate; an outline of heavier letters would be wider than the letters.

    Args:
        picture: (H, W, 3) uint8, RGB, changed. at: x and y of the baseline's beginning, pixels.
    """
    (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    corners = (at[0] - 3, at[1] - high - 2), (at[0] + wide + 3, at[1] + below)
    cv2.rectangle(picture, *corners, (25, 25, 25), cv2.FILLED)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
