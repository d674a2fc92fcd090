"""Solids for the sample: triangle meshes from distance functions and from lathe profiles.

Lengths are in millimetres here, as in CAD; the BOP model files keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Distance = Callable[[np.ndarray], np.ndarray]  # (N, 3) points -> (N,) signed distance, < 0 inside


def box(p: np.ndarray, centre: Sequence[float], size: Sequence[float], edge: float) -> np.ndarray:
    """Signed distance to a box whose edges are rounded with radius `edge`."""
    q = np.abs(p - np.asarray(centre)) - np.asarray(size) / 2 + edge
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0) - edge


def cylinder(
    p: np.ndarray, centre: Sequence[float], radius: float, length: float, axis: int, edge: float
) -> np.ndarray:
    """Signed distance to a cylinder along a coordinate axis, edges rounded with radius `edge`."""
    q = p - np.asarray(centre)
    across = np.linalg.norm(np.delete(q, axis, axis=-1), axis=-1) - radius + edge
    along = np.abs(q[..., axis]) - length / 2 + edge
    outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    return outside + np.minimum(np.maximum(across, along), 0) - edge


def ellipsoid(p: np.ndarray, centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """Approximate signed distance to an ellipsoid (exact sign, right slope at the surface)."""
    q = p - np.asarray(centre)
    r = np.asarray(radii)
    k0 = np.linalg.norm(q / r, axis=-1)
    k1 = np.maximum(np.linalg.norm(q / r**2, axis=-1), 1e-9)
    return k0 * (k0 - 1) / k1


def capsule(p: np.ndarray, a: Sequence[float], b: Sequence[float], radius: float) -> np.ndarray:
    """Signed distance to the segment a-b thickened by `radius`."""
    start, along = np.asarray(a), np.asarray(b) - np.asarray(a)
    h = np.clip((p - start) @ along / (along @ along), 0, 1)
    return np.linalg.norm(p - start - h[..., None] * along, axis=-1) - radius


def union(*parts: np.ndarray, blend: float = 0.0) -> np.ndarray:
    """Union of solids; `blend` rounds the inner corner where they meet."""
    out = parts[0]
    for part in parts[1:]:
        h = np.maximum(blend - np.abs(out - part), 0) / blend if blend else 0.0
        out = np.minimum(out, part) - h * h * blend / 4
    return out


def mesh_from_distance(
    distance: Distance, low: Sequence[float], high: Sequence[float], step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Surface of a solid by naive surface nets (Gibson, MICCAI 1998), vertices put on the surface.

    Args:
        distance: signed distance. low, high: corners of a box that holds the solid with room to
            spare. step: grid spacing, about the length of the edges that come out.

    Returns:
        vertices (V, 3) float64 and faces (F, 3) int32, watertight, normals outwards.
    """
    low_, high_ = np.asarray(low, float), np.asarray(high, float)
    counts = np.ceil((high_ - low_) / step).astype(int) + 1
    axes = [low_[a] + step * np.arange(counts[a]) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    value = distance(grid.reshape(-1, 3)).reshape(counts)
    cells = tuple(counts - 1)
    total, hits = np.zeros((*cells, 3)), np.zeros(cells)
    corner = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for a in corner:  # the 12 edges of every cell
        for along in np.flatnonzero(a == 0):
            b = a.copy()
            b[along] = 1
            va, vb = (
                value[tuple(slice(o, o + n) for o, n in zip(c, cells, strict=True))] for c in (a, b)
            )
            crosses = (va < 0) != (vb < 0)
            share = np.where(crosses, va / np.where(crosses, va - vb, 1), 0)
            point = a + share[..., None] * (b - a)
            total += np.where(crosses[..., None], point, 0)
            hits += crosses
    active = hits > 0
    index = np.full(cells, -1)
    index[active] = np.arange(active.sum())
    offset = np.argwhere(active)
    vertices = low_ + step * (offset + total[active] / hits[active, None])
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        inside = value < 0
        first = np.take(inside, range(counts[axis] - 1), axis)
        second = np.take(inside, range(1, counts[axis]), axis)
        for sign, edges in ((1, first & ~second), (-1, ~first & second)):
            e = np.argwhere(edges)
            e = e[(e[:, u] > 0) & (e[:, v] > 0)]
            ring = []
            for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0))[::sign]:
                c = e.copy()
                c[:, u] += du
                c[:, v] += dv
                ring.append(index[tuple(c.T)])
            quads.append(np.stack(ring, -1))
    quad = np.concatenate(quads)
    for _ in range(4):  # Newton steps along the gradient put the vertices on the surface
        eps = 1e-3 * step
        gradient = np.stack(
            [
                distance(vertices + eps * np.eye(3)[a]) - distance(vertices - eps * np.eye(3)[a])
                for a in range(3)
            ],
            -1,
        ) / (2 * eps)
        move = distance(vertices)[:, None] * gradient
        move /= np.maximum((gradient**2).sum(-1, keepdims=True), 0.25)
        vertices = vertices - np.clip(move, -step / 2, step / 2)
    faces = np.concatenate((quad[:, [0, 1, 2]], quad[:, [0, 2, 3]])).astype(np.int32)
    return vertices, faces


def lathe(profile: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Solid of revolution about z.

    Args:
        profile: (N, 2) radius and height, from the bottom pole to the top pole; both radii 0.
        segments: corners of each ring.

    Returns:
        vertices (V, 3) float64 and faces (F, 3) int32, watertight, normals outwards.
    """
    angle = 2 * np.pi * np.arange(segments) / segments
    rings = profile[1:-1]
    xy = np.stack((np.cos(angle), np.sin(angle)), -1)
    body = np.concatenate(
        (
            rings[:, None, :1] * xy,
            np.broadcast_to(rings[:, None, 1:], (len(rings), segments, 1)),
        ),
        -1,
    ).reshape(-1, 3)
    vertices = np.concatenate((body, [[0, 0, profile[0, 1]], [0, 0, profile[-1, 1]]]))
    here = np.arange(segments)
    after = (here + 1) % segments
    faces = [np.stack((after, here, np.full(segments, len(body))), -1)]
    for i in range(len(rings) - 1):
        a, b = i * segments, (i + 1) * segments
        faces += [
            np.stack((a + here, a + after, b + after), -1),
            np.stack((a + here, b + after, b + here), -1),
        ]
    top = (len(rings) - 1) * segments
    faces.append(np.stack((top + here, top + after, np.full(segments, len(body) + 1)), -1))
    return vertices, np.concatenate(faces).astype(np.int32)


def fillet(corners: np.ndarray, radius: float, steps: int = 4) -> np.ndarray:
    """Polyline (N, 2) with its inner corners cut by quadratic arcs of about `radius`."""
    out = [corners[0]]
    for before, here, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        la, lb = np.linalg.norm(before - here), np.linalg.norm(after - here)
        reach = min(radius, 0.45 * la, 0.45 * lb)
        a, b = here + (before - here) * reach / la, here + (after - here) * reach / lb
        for s in np.linspace(0, 1, steps):
            out.append((1 - s) ** 2 * a + 2 * s * (1 - s) * here + s**2 * b)
    return np.array([*out, corners[-1]])
