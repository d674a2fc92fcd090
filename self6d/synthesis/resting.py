"""Poses in which a rigid thing lies still on a plane."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError


def stable_rotations(
    vertices: np.ndarray, limit: int = 48
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations that lay a face of the convex hull on the plane z = 0 with the centre above it.

    A face is stable if the centre of mass (taken as the hull's) projects into it; it is as likely
    as the solid angle it fills seen from that centre (Goldberg et al., Part pose statistics, IJRR
    1999, without tumbling).

    Args:
        vertices: (V, 3), any unit, model frame.
        limit: at most so many rotations, the likeliest.

    Returns:
        (S, 3, 3) float64 rotations, model to a frame with z up; (S,) probabilities, sum 1; (S,)
        lowest z of the rotated vertices. A flat or degenerate mesh gives the identity alone.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    try:
        hull = ConvexHull(vertices)
    except QhullError:
        return np.eye(3)[None], np.ones(1), vertices[:, 2].min()[None]
    corners = vertices[hull.simplices]
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    centre = _centre_of_mass(corners, vertices[hull.vertices].mean(0))

    angle = _solid_angles(corners - centre)
    foot = centre - (normals @ centre + offsets)[:, None] * normals
    stable = _inside(corners, normals, foot)
    # triangles of one flat facet: a stable one speaks for all of them
    key = np.unique(np.round(normals, 2), axis=0, return_inverse=True)[1].reshape(-1)
    weight = np.bincount(key, weights=angle)[key]
    rows = np.flatnonzero(stable)
    if len(rows) == 0:
        rows = np.array([np.argmax(weight)])
    rows = rows[np.unique(key[rows], return_index=True)[1]]
    rows = rows[np.argsort(-weight[rows], kind="stable")[:limit]]

    R = np.stack([_rotation_between(normals[i], np.array([0.0, 0.0, -1.0])) for i in rows])
    hull_points = vertices[hull.vertices]
    lowest = (hull_points @ R.transpose(0, 2, 1))[..., 2].min(axis=1)
    return R, weight[rows] / weight[rows].sum(), lowest


def _centre_of_mass(corners: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Of the solid hull: volume-weighted mean of the tetrahedra towards an inner point."""
    a, b, c = (corners - inner).transpose(1, 0, 2)
    volume = np.abs(np.einsum("ij,ij->i", a, np.cross(b, c)))
    return inner + (volume[:, None] * (a + b + c)).sum(0) / (4 * volume.sum())


def _solid_angles(corners: np.ndarray) -> np.ndarray:
    """Of triangles (F, 3, 3) seen from the origin (van Oosterom and Strackee, 1983)."""
    length = np.linalg.norm(corners, axis=2)
    a, b, c = corners.transpose(1, 0, 2)
    la, lb, lc = length.T
    top = np.abs(np.einsum("ij,ij->i", a, np.cross(b, c)))
    bottom = la * lb * lc + lc * (a * b).sum(1) + lb * (a * c).sum(1) + la * (b * c).sum(1)
    return np.abs(2 * np.arctan2(top, bottom))


def _inside(corners: np.ndarray, normals: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points (F, 3) on the planes of triangles lie in those triangles (F, 3, 3)."""
    nxt = np.roll(corners, -1, axis=1)
    side = np.einsum("fej,fj->fe", np.cross(nxt - corners, points[:, None] - corners), normals)
    # Qhull does not orient its triangles
    return np.asarray((side >= -1e-12).all(axis=1) | (side <= 1e-12).all(axis=1))


def _rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest rotation that takes unit vector a to unit vector b."""
    c = float(a @ b)
    if c < -1 + 1e-9:
        axis = np.eye(3)[np.argmin(np.abs(a))]
        axis = axis - (axis @ a) * a
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    v = np.cross(a, b)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)
