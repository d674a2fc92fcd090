"""Faces of more than three corners, cut into triangles that cover what the polygon covers.

A fan from the first corner, which parsers make, covers too much where a polygon is concave: the
notch of an L is closed. Convex polygons keep their fan; others are cut ear by ear (Meisters,
"Polygons have ears", American Mathematical Monthly, 1975).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def triangulated(
    polygons: Sequence[np.ndarray], vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of polygons, in the polygons' order and winding.

    Args:
        polygons: of each its corners, positions in `vertices`; those of fewer than three are
            dropped.
        vertices: (V, 3) float64.

    Returns:
        (F, 3) int64 triangles; (F,) int64, the polygon each is of.
    """
    counts = np.array([len(p) for p in polygons], np.int64)
    faces, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for n in np.unique(counts[counts >= 3]).tolist():
        which = np.flatnonzero(counts == n)
        corners = np.stack([polygons[i] for i in which.tolist()]).astype(np.int64)
        fan = np.array([(0, k, k + 1) for k in range(1, n - 1)])
        cut = corners[:, fan]  # (P, n - 2, 3)
        for i in np.flatnonzero(concave(corners, vertices)).tolist():
            cut[i] = corners[i][ears(vertices[corners[i]])]
        faces.append(cut.reshape(-1, 3))
        owners.append(which.repeat(n - 2))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(faces)[order], owner[order]


def _normals(points: np.ndarray) -> np.ndarray:
    """Newell's normals of polygons (P, n, 3) -> (P, 3); their length is twice the area."""
    centred = points - points.mean(1, keepdims=True)
    return np.cross(centred, np.roll(centred, -1, axis=1)).sum(1)


def concave(corners: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Which polygons turn the other way at some corner, (P,) bool.

    Args:
        corners: (P, n) int, positions in `vertices` (V, 3). Polygons with corners that are not
            there, or not finite, are for others to find fault with.
    """
    out = ((corners >= 0) & (corners < len(vertices))).all(1) & (corners.shape[1] > 3)
    points = vertices[corners[out]]
    normal = _normals(points)
    ahead = np.roll(points, -1, axis=1) - points
    turn = np.einsum("pnj,pj->pn", np.cross(np.roll(ahead, 1, axis=1), ahead), normal)
    out[out] = (turn < -1e-6 * (normal * normal).sum(1)[:, None]).any(1)
    return out


def _flat(points: np.ndarray) -> np.ndarray:
    """A polygon (n, 3) in its own plane, counter-clockwise, (n, 2)."""
    normal = _normals(points[None])[0]
    drop = int(np.abs(normal).argmax())
    flat = np.delete(points, drop, axis=1)
    return flat[:, ::-1] if (normal[drop] < 0) != (drop == 1) else flat


def ears(polygon: np.ndarray) -> np.ndarray:
    """Triangles (n - 2, 3) int of a polygon (n, 3), positions of its corners."""
    points = _flat(polygon)
    left, out = list(range(len(points))), []
    while len(left) > 3:
        ring = points[left]
        before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
        turn = _turn(before, ring, after)
        best = 0
        for k in np.argsort(turn <= 0, kind="stable").tolist():  # corners that stick out first
            a, b, c = before[k], ring[k], after[k]
            within = (_turn(a, b, ring) >= 0) & (_turn(b, c, ring) >= 0) & (_turn(c, a, ring) >= 0)
            corner = (ring[:, None] == np.stack((a, b, c))).all(-1).any(1)
            if turn[k] <= 0 or not (within & ~corner).any():
                best = k
                break
        out.append((left[best - 1], left[best], left[(best + 1) % len(left)]))
        del left[best]
    return np.array([*out, tuple(left)])


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of triangles a b c (..., 2): positive if counter-clockwise."""
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
