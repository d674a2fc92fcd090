"""Depth of one camera drawn into another."""

from __future__ import annotations

import numpy as np

from self6d.numba_tools import jit


@jit
def spread(
    depth: np.ndarray,
    A: np.ndarray,
    b: np.ndarray,
    half: tuple[float, float],
    height: int,
    width: int,
) -> np.ndarray:
    """Depth (h, w) float32 drawn as squares about A (u, v, 1) z + b, the nearest seen.

    A loop, as numpy takes 80 ms for a frame of 640x480.
    """
    found = np.zeros((height, width), np.float32)
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            if not z > 0:
                continue
            far = (A[2, 0] * u + A[2, 1] * v + A[2, 2]) * z + b[2]
            if far <= 1e-6:
                continue
            x = ((A[0, 0] * u + A[0, 1] * v + A[0, 2]) * z + b[0]) / far
            y = ((A[1, 0] * u + A[1, 1] * v + A[1, 2]) * z + b[1]) / far
            rx, ry = max(0.5, half[0] * z / far), max(0.5, half[1] * z / far)
            if not (-rx < x < width + rx and -ry < y < height + ry):
                continue
            for row in range(max(0, int(np.ceil(y - ry))), min(height, int(np.ceil(y + ry)))):
                for column in range(max(0, int(np.ceil(x - rx))), min(width, int(np.ceil(x + rx)))):
                    before = found[row, column]
                    if before == 0 or far < before:
                        found[row, column] = far
    return found
