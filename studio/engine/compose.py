"""Pictures made from a frame and a rendering: pure functions of arrays."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from studio.engine.types import ModelCard, PoseData

BOX_EDGES = (
    (0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7),
)  # fmt: skip


@lru_cache(maxsize=4)
def colour_table(name: str = "CET-D1") -> np.ndarray:
    """(256, 3) uint8 of a perceptually uniform map (Kovesi's CET maps, from pyqtgraph)."""
    import pyqtgraph as pg

    return pg.colormap.get(name).getLookupTable(0.0, 1.0, 256, alpha=False).astype(np.uint8)


def with_alpha(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 and (H, W) bool -> (H, W, 4) uint8, transparent outside the mask."""
    return np.dstack((rgb, np.where(mask, 255, 0).astype(np.uint8)))


def tinted(mask: np.ndarray, colour: tuple[int, int, int], alpha: int = 110) -> np.ndarray:
    """(H, W) bool -> (H, W, 4) uint8 in one colour."""
    out = np.zeros((*mask.shape, 4), np.uint8)
    out[mask] = (*colour, alpha)
    return out


def contours(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a mask as closed polygons (N, 2) float, image coordinates of pixel corners.

    The mask is doubled first, so that the outline runs along pixel borders, not through centres.
    """
    if not mask.any():
        return []
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, x0 = rows[0], columns[0]
    crop = mask[y0 : rows[-1] + 1, x0 : columns[-1] + 1].astype(np.uint8)
    doubled = np.kron(crop, np.ones((2, 2), np.uint8))
    found, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    return [c[:, 0].astype(float) / 2 + 0.25 + (x0, y0) for c in found if len(c) > 2]


def depth_difference(
    sensor_m: np.ndarray, rendered_m: np.ndarray, limit_m: float
) -> tuple[np.ndarray, float | None]:
    """Signed difference rendered - sensor where both are known, as a picture.

    Returns:
        (H, W, 4) uint8 (blue: the model lies in front of the sensor's surface, red: behind), and
        the median absolute difference in metres (None if nothing overlaps).
    """
    both = (sensor_m > 0) & (rendered_m > 0)
    out = np.zeros((*sensor_m.shape, 4), np.uint8)
    if not both.any():
        return out, None
    difference = rendered_m[both] - sensor_m[both]
    share = np.clip((difference / limit_m + 1) / 2, 0, 1)
    out[both, :3] = colour_table()[(share * 255).astype(np.uint8)]
    out[both, 3] = 230
    return out, float(np.median(np.abs(difference)))


def depth_picture(depth_m: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Depth as a picture (H, W, 3) uint8, unknown pixels dark, and its range in metres."""
    known = depth_m > 0
    if not known.any():
        return np.full((*depth_m.shape, 3), 40, np.uint8), 0.0, 1.0
    low, high = np.percentile(depth_m[known], (1, 99))
    share = np.clip((depth_m - low) / max(high - low, 1e-6), 0, 1)
    out = colour_table("CET-L9")[(share * 255).astype(np.uint8)]
    out[~known] = 40
    return out, float(low), float(high)


def project(points: np.ndarray, pose: PoseData, K: np.ndarray) -> np.ndarray:
    """Model points (N, 3) in metres -> (N, 2) pixels; points behind the camera become nan."""
    camera = points @ pose.R.T + pose.t
    z = np.where(camera[:, 2] > 1e-3, camera[:, 2], np.nan)
    uv = (camera / z[:, None]) @ K.T
    return uv[:, :2]


def box_corners(model: ModelCard) -> np.ndarray:
    """(8, 3) corners of the model's axis-aligned box, in the order of BOX_EDGES."""
    low, high = model.extents
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1])
                     for z in (low[2], high[2])])  # fmt: skip


def rotation_error_deg(A: np.ndarray, B: np.ndarray) -> float:
    """Angle between two rotations, degrees."""
    cosine = (np.trace(A.T @ B) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def rotate_about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """(3, 3) rotation about an axis (Rodrigues)."""
    vector = axis / np.linalg.norm(axis) * np.radians(degrees)
    return cv2.Rodrigues(vector)[0]
