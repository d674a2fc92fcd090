"""Is the depth scale right, is the CAD's unit? Sizes of things standing free against CAD sizes.

Label-free: every tolerance is relative to the depth, so a wrong scale changes only the sizes, all
by one factor. A factor is believed when many frames show something of the CAD models' size at
that factor, and next to none at the stated scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from self6d.geometry import backproject
from self6d.scene import Frame

UNITS = {1.0: "metres", 1e-3: "millimetres", 1e-4: "0.1 mm", 1 / 5000: "1/5000 m (TUM)"}
_BAND = (0.6, 1.08)  # visible extent of an object, in its diameter
_STEP = 0.025  # relative jump of depth between neighbours that parts two things
_MIN_PIXELS = 150
_WIDTH = 320
_TOGETHER = 15  # planes


@dataclass(frozen=True)
class ScaleCheck:
    """Result of `check_scale`.

    Attributes:
        metres_per_unit: the scale to read depth with; the stated one if that stands.
        share: of the frames, that show something of a CAD model's size at the stated scale.
        best_share: the same at `metres_per_unit`.
        frames: how many frames had anything standing free.
        mesh_unit, mesh_share: the CAD's unit that explains the sizes as well at the stated scale,
            and the share then; "" and 0 if none does.
    """

    metres_per_unit: float
    share: float
    best_share: float
    frames: int
    mesh_unit: str = ""
    mesh_share: float = 0.0


def check_scale(
    frames: Sequence[Frame],
    diameters_m: Sequence[float],
    stated: float,
    seed: int = 0,
    mesh_units: Mapping[str, float] | None = None,
) -> ScaleCheck:
    """Compare the extent of free-standing things with the diameters of the CAD models.

    Factors near two cannot be told from clutter; units as people mix them up lie farther apart.

    Args:
        frames: some frames of a recording, with depth, read at the stated scale.
        diameters_m: of the models, metres.
        stated: metres per depth unit the frames were read with.
        seed: of the plane search.
        mesh_units: other units the CAD may be in, each with the factor on `diameters_m`.
    """
    rng = np.random.default_rng(seed)
    sizes = [extents(f, rng) for f in frames]
    sizes = [s for s in sizes if len(s)]
    if len(sizes) < 3:
        return ScaleCheck(stated, 0.0, 0.0, len(sizes))
    diameters = np.asarray(diameters_m, dtype=np.float64)

    def share(factor: float) -> float:
        ratios = (factor * s[:, None] / diameters for s in sizes)
        return float(np.mean([((r > _BAND[0]) & (r < _BAND[1])).any() for r in ratios]))

    now = share(1.0)
    others = {unit: share(unit / stated) for unit in UNITS if not 0.4 < unit / stated < 2.5}
    best = max(others, key=lambda unit: others[unit], default=stated)

    def better(other: float) -> bool:
        return other >= 0.6 and now <= 0.35 and other - now >= 0.35

    meshes = {u: share(1 / f) for u, f in (mesh_units or {}).items() if not 0.4 < f < 2.5}
    unit = max(meshes, key=lambda u: meshes[u], default="")
    unit, mesh_share = (unit, meshes[unit]) if unit and better(meshes[unit]) else ("", 0.0)
    if better(others.get(best, 0.0)):
        return ScaleCheck(best, now, others[best], len(sizes), unit, mesh_share)
    return ScaleCheck(stated, now, now, len(sizes), unit, mesh_share)


def extents(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Extents (N,), metres, of the things a depth image shows whole and apart from any plane."""
    if frame.depth_m is None:
        return np.zeros(0)
    w = frame.camera.width
    step = max(1, w // _WIDTH)
    depth = torch.from_numpy(frame.depth_m).double()
    points = backproject(depth, torch.from_numpy(frame.camera.K))[::step, ::step].numpy()
    valid = points[..., 2] > 0
    free = valid & ~_edges(points[..., 2])
    for _ in range(2):  # a table and a wall
        plane = _plane(points[free], rng)
        if plane is None:
            break
        distance = np.abs(points @ plane[:3] + plane[3]) / np.maximum(points[..., 2], 1e-9)
        free &= distance > 0.012
    mask = free.astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    height, width = free.shape
    sizes = []
    for i in range(1, count):
        x, y, bw, bh, area = stats[i]
        at_border = x == 0 or y == 0 or x + bw == width or y + bh == height
        if area >= _MIN_PIXELS and not at_border:
            sizes.append(_extent(points[labels == i]))
    return np.array(sizes)


def _edges(z: np.ndarray) -> np.ndarray:
    """Pixels beside a jump of depth or beside an invalid pixel."""
    jump = np.zeros(z.shape, dtype=bool)
    for axis in (0, 1):
        a = np.moveaxis(z, axis, 0)
        step = np.abs(a[1:] - a[:-1]) > _STEP * np.minimum(a[1:], a[:-1])
        view = np.moveaxis(jump, axis, 0)
        view[1:] |= step
        view[:-1] |= step
    return jump


def _plane(points: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The plane (n, d) that holds most points, if it holds an eighth of them (RANSAC)."""
    if len(points) < 500:
        return None
    some = points[rng.choice(len(points), min(3000, len(points)), replace=False)]
    triples = some[rng.integers(0, len(some), (150, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    usable = length[:, 0] > 0
    normals, triples = normals[usable] / length[usable], triples[usable]
    if not len(normals):
        return None
    offsets = -(normals * triples[:, 0]).sum(1)
    columns = np.ascontiguousarray(some.T)

    def held(planes: slice) -> np.ndarray:
        away = np.abs(normals[planes] @ columns + offsets[planes, None]) / columns[2]
        return away < 0.008

    # few at a time: their distances stay in the cache
    parts = [slice(i, i + _TOGETHER) for i in range(0, len(normals), _TOGETHER)]
    counts = np.concatenate([np.count_nonzero(held(part), axis=1) for part in parts])
    best = int(counts.argmax())
    if counts[best] < 0.125 * len(some):
        return None
    near = some[held(slice(best, best + 1))[0]]
    centre = near.mean(0)
    normal = np.linalg.svd(near - centre, full_matrices=False)[2][-1]
    return np.append(normal, -normal @ centre)


def _extent(points: np.ndarray) -> float:
    """Largest of the widths along 60 directions, two per cent of the points left out each side."""
    i = np.arange(60) + 0.5
    z = 1 - i / 60
    a = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    directions = np.stack((r * np.cos(a), r * np.sin(a), z))
    points = points[:: max(1, len(points) // 600)]
    low, high = np.percentile(points @ directions, (2, 98), axis=0)
    return float((high - low).max())
