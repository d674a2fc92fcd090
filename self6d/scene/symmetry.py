"""Rotational symmetry of a mesh, found from its surface: no label, no annotation.

A rotation is a symmetry when it moves the surface onto itself. Candidates turn about axes through
the centroid (every symmetry fixes it): the principal axes and an even spread of directions, by
the orders 2, 3 and 5, of which any other order has a multiple. Each is pulled onto the surface by
ICP, then measured as BOP defines symmetry, by the distance between the surface and its image
(Hodan et al., BOP challenge 2020), with colour beside it, which BOP leaves to the eye.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from self6d.scene.appearance import surface_points
from self6d.scene.mesh import ObjectModel, Symmetry

_PRIMES = (2, 3, 5)
_ODD_ANGLES = np.deg2rad([17.0, 41.0, 73.0, 101.0, 137.0])  # of no small order
_MAX_ORDER = 12
_SAME_START = np.cos(np.deg2rad(5.0))
_SAME_AXIS = np.cos(np.deg2rad(12.0))  # closer than any two axes of an order up to 12
_SLACK = 0.4  # of the tolerance: how much worse than its best turn a turn of an axis may be


@dataclass(frozen=True)
class FoundSymmetry:
    """What `find_symmetry` saw.

    Attributes:
        shape: symmetries of the bare shape.
        looks: those of them that also keep the colours; what a camera cannot tell apart.
    """

    shape: Symmetry
    looks: Symmetry


@dataclass(frozen=True)
class _Axis:
    direction: np.ndarray
    point: np.ndarray
    order: int  # 0 = continuous


TOLERANCE = 0.015
COLOR_TOLERANCE = 0.05

_known: dict[bytes, FoundSymmetry] = {}  # of this process: some axes a model, and 0.6 s to find


class Surface:
    """Points spread evenly over a mesh, and a tree over many more of them."""

    def __init__(self, model: ObjectModel, probes: int, dense: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        points, colors = surface_points(model, dense + probes, rng)
        self.probes, self.probe_colors = points[:probes], colors[:probes]
        self.dense, self.dense_colors = points[probes:], colors[probes:]
        self.tree = cKDTree(self.dense)
        self.centre = self.dense.mean(0)
        distance, index = self.tree.query(self.probes)
        self.floor = float(np.percentile(distance, 95))  # of the surface against itself
        self.color_floor = float(np.abs(self.dense_colors[index] - self.probe_colors).mean())

    def residual(self, R: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
        """Distance (95th percentile) and colour difference (mean) after a turn, floors removed."""
        return self._from((self.probes - centre) @ R.T + centre, self.probe_colors)

    def residual_of(self, other: Surface, R: np.ndarray) -> tuple[float, float]:
        """The same of another's points, turned by R (3, 3) and moved centre onto centre."""
        return self._from((other.probes - other.centre) @ R.T + self.centre, other.probe_colors)

    def principal(self) -> np.ndarray:
        """(3, 3), a row an axis, least spread first; their signs mean nothing."""
        return np.linalg.eigh(np.cov((self.dense - self.centre).T))[1].T

    def _from(self, points: np.ndarray, colors: np.ndarray) -> tuple[float, float]:
        distance, index = self.tree.query(points)
        color = float(np.abs(self.dense_colors[index] - colors).mean())
        return (
            max(0.0, float(np.percentile(distance, 95)) - self.floor),
            max(0.0, color - self.color_floor),
        )


def find_symmetry(
    model: ObjectModel,
    *,
    tolerance: float = TOLERANCE,
    color_tolerance: float = COLOR_TOLERANCE,
    seed: int = 0,
) -> FoundSymmetry:
    """Discrete and continuous rotational symmetries of a model.

    Args:
        model: in metres.
        tolerance: how far, in diameters, 95 % of the surface may stay from its turned self.
        color_tolerance: mean difference of sRGB values in [0, 1] that still looks the same.
        seed: of the surface samples; the result is the same for the same seed.

    Returns:
        Symmetries of the shape, and of shape and colour together, in metres. A mesh that was asked
        about before is not searched again.
    """
    key = _key(model, tolerance, color_tolerance, seed)
    if key not in _known:
        _known[key] = _search(model, tolerance, color_tolerance, seed)
    return _known[key]


def _key(model: ObjectModel, *how: float) -> bytes:
    """Digest of all that the search depends on."""
    digest = hashlib.blake2b(repr((model.diameter, *how)).encode(), digest_size=16)
    for part in (model.vertices, model.faces, model.colors, model.uv, model.texture):
        if part is not None:
            digest.update(repr((part.shape, part.dtype)).encode())
            digest.update(np.ascontiguousarray(part).data)
    return digest.digest()


def _search(
    model: ObjectModel, tolerance: float, color_tolerance: float, seed: int
) -> FoundSymmetry:
    surface = Surface(model, probes=600, dense=12000, seed=seed)
    limit = tolerance * model.diameter
    axes = [_classify(surface, d, p, limit) for d, p in _axes(surface, model.diameter, limit)]
    found = [axis for axis in axes if axis is not None]
    looks = [
        kept for axis in found if (kept := _kept(surface, axis, limit, color_tolerance)) is not None
    ]
    return FoundSymmetry(_as_symmetry(found), _as_symmetry(looks))


def _axes(surface: Surface, diameter: float, limit: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Axes, each a direction and a point on it, about which some turn keeps the surface."""
    cap = 0.1 * diameter  # a search that may stop there is many times faster
    few = surface.probes[:80] - surface.centre
    coarse = cKDTree(surface.dense[:3000] - surface.centre)
    starts = [(order, d) for d in (*surface.principal(), *_hemisphere(400)) for order in _PRIMES]
    turns = np.stack([_turn(direction, 2 * np.pi / order) for order, direction in starts])
    moved = np.einsum("sij,nj->sni", turns, few)
    distances = np.minimum(coarse.query(moved, distance_upper_bound=cap)[0], cap).mean(1)
    candidates = [(float(d), *start) for d, start in zip(distances, starts, strict=True)]
    candidates.sort(key=lambda c: c[0])
    accepted: list[tuple[float, np.ndarray, np.ndarray]] = []
    tried: list[tuple[int, np.ndarray]] = []
    for distance, order, direction in candidates:
        if distance > 0.055 * diameter or len(tried) >= 60:
            break
        if any(o == order and abs(d @ direction) > _SAME_START for o, d in tried):
            continue
        tried.append((order, direction))
        motion = _icp(surface, direction, order, cap)
        if motion is None:
            continue
        axis, point = _axis_of(*motion, surface.centre)
        residual = surface.residual(_turn(axis, 2 * np.pi / order), point)[0]
        if residual <= limit:
            accepted.append((residual, axis, point))
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for _, axis, point in sorted(accepted, key=lambda a: a[0]):
        if not any(abs(axis @ d) > _SAME_AXIS for d, _ in kept):
            kept.append((axis, point))
    return kept


def _icp(
    surface: Surface, direction: np.ndarray, order: int, cap: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation and translation that bring the turned surface back onto the surface.

    None as soon as it is plain that they do not.
    """
    R = _turn(direction, 2 * np.pi / order)
    t = surface.centre - R @ surface.centre
    for step in range(10):
        points = surface.probes[:120] if step < 7 else surface.probes[:400]
        distance, index = surface.tree.query(points @ R.T + t, distance_upper_bound=cap)
        nearest = np.sort(distance)[: int(0.9 * len(points))]
        hopeless = {0: 1.0, 3: 0.45, 6: 0.3}.get(step)
        if hopeless is not None and not np.minimum(nearest, cap).mean() < hopeless * cap:
            return None
        near = distance <= min(nearest[-1], 0.999 * cap)
        a, b = points[near], surface.dense[index[near]]
        ca, cb = a.mean(0), b.mean(0)
        U, _, Vt = np.linalg.svd((a - ca).T @ (b - cb))
        flip = np.diag([1, 1, np.sign(np.linalg.det(Vt.T @ U.T))])
        R = Vt.T @ flip @ U.T
        t = cb - R @ ca
    return R, t


def _axis_of(R: np.ndarray, t: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direction of the axis a motion turns about, and its point nearest to `centre`."""
    axis = np.linalg.eigh((R + R.T) / 2)[1][:, -1]
    offset = np.linalg.pinv(np.eye(3) - R, rcond=1e-3) @ (t - centre + R @ centre)
    return axis, centre + offset - (offset @ axis) * axis


def _classify(
    surface: Surface, direction: np.ndarray, point: np.ndarray, limit: float
) -> _Axis | None:
    def residual(angle: float) -> float:
        return surface.residual(_turn(direction, angle), point)[0]

    by_order = {k: residual(2 * np.pi / k) for k in range(2, _MAX_ORDER + 1)}
    enough = min(limit, min(by_order.values()) + _SLACK * limit)
    if all(residual(angle) <= enough for angle in _ODD_ANGLES):
        return _Axis(direction, point, 0)
    order = max((k for k, value in by_order.items() if value <= enough), default=0)
    return _Axis(direction, point, order) if order else None


def _kept(surface: Surface, axis: _Axis, limit: float, color_tolerance: float) -> _Axis | None:
    """The part of an axis's symmetry that also keeps the colours."""

    def same(angle: float) -> bool:
        distance, color = surface.residual(_turn(axis.direction, angle), axis.point)
        return distance <= limit and color <= color_tolerance

    if axis.order == 0 and all(same(angle) for angle in _ODD_ANGLES):
        return axis
    orders = range(2, (axis.order or _MAX_ORDER) + 1)
    order = max((k for k in orders if same(2 * np.pi / k)), default=0)
    return _Axis(axis.direction, axis.point, order) if order else None


def _as_symmetry(axes: list[_Axis]) -> Symmetry:
    """As BOP lists it: continuous axes, and every discrete turn they do not already make."""
    round_axes = [a for a in axes if a.order == 0][:3]
    discrete: list[np.ndarray] = []
    for axis in axes:
        if axis.order == 0:
            continue
        if round_axes:
            across = abs(axis.direction @ round_axes[0].direction) < 0.1
            if discrete or not across or len(round_axes) > 1:
                continue  # one flip across a round axis stands for all of them
        for step in range(1, axis.order):
            m = np.eye(4)
            m[:3, :3] = _turn(axis.direction, 2 * np.pi * step / axis.order)
            m[:3, 3] = axis.point - m[:3, :3] @ axis.point
            discrete.append(m)
            if round_axes:
                break
    return Symmetry(
        np.array(discrete).reshape(-1, 4, 4),
        np.array([a.direction for a in round_axes]).reshape(-1, 3),
        np.array([a.point for a in round_axes]).reshape(-1, 3),
    )


def _hemisphere(count: int) -> np.ndarray:
    """Directions spread evenly over half a sphere (Fibonacci lattice), (count, 3)."""
    i = np.arange(count) + 0.5
    z = 1 - i / count
    angle = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    return np.stack((r * np.cos(angle), r * np.sin(angle), z), axis=1)


def _turn(axis: np.ndarray, angle: float) -> np.ndarray:
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
