"""Tables, walls and floors in a depth image: what an object stands before, and never is itself."""

from __future__ import annotations

import numpy as np

TRIES = 300  # planes drawn
SAMPLE = 3000  # points that vote
SHARE = 0.12  # of a frame's depth that a plane must hold
FEWEST = 50  # points that are a plane
PLANES = 3  # at most looked for
NEAR_M = 0.005  # off a plane at `DISTANCE_M`, in proportion beyond it: sensors' errors grow
DISTANCE_M = 0.8
WIDE = 1.5  # diameters that a plane is wide, each way: smaller ones may be the object's own


def before_planes(
    points: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Points that lie on this side of every large plane, on none of them.

    Planes are found one after the other by RANSAC (Fischler and Bolles, 1981).

    Args:
        points: (N, 3), metres, camera frame, of one depth image.
        diameter: of the object that is looked for, metres.

    Returns:
        (N,) bool; None where there is no such plane.
    """
    before = np.ones(len(points), bool)
    voters = points[rng.permutation(len(points))[:SAMPLE]].astype(np.float64)
    least, found = max(SHARE * len(voters), FEWEST), False
    for _ in range(PLANES):
        if len(voters) < least:
            break
        normal, offset, own = _plane(voters, rng)
        if own.sum() < least:
            break
        if _width(voters[own]) >= WIDE * diameter:
            found = True
            before &= points @ normal - offset < -_tolerance(points)
        voters = voters[~own]
    return before if found else None


def _tolerance(points: np.ndarray) -> np.ndarray:
    return NEAR_M * np.maximum(1.0, points[:, 2] / DISTANCE_M)


def _plane(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray]:
    """The plane with most points: unit normal away from the camera, offset, who is on it."""
    a, b, c = points[rng.integers(len(points), size=(TRIES, 3))].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    with np.errstate(invalid="ignore"):  # one point drawn twice: no plane, and no number near it
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    apart = np.abs(points @ normals.T - (normals * a).sum(1))
    limit = _tolerance(points)
    close = apart < limit[:, None]
    own = close[:, close.sum(0).argmax()]
    normal, offset = np.zeros(3), 0.0
    for _ in range(3):
        if not own.any():
            break
        middle = points[own].mean(0)
        normal = np.linalg.svd(points[own] - middle, full_matrices=False)[2][2]
        offset = float(normal @ middle)
        own = np.abs(points @ normal - offset) < limit
    return (normal, offset, own) if offset >= 0 else (-normal, -offset, own)


def _width(points: np.ndarray) -> float:
    """Extent of points on a plane along the shorter of its two main directions, metres."""
    around = points - points.mean(0)
    along = np.linalg.svd(around, full_matrices=False)[2][:2]
    return float(np.ptp(around @ along.T, axis=0).min())
