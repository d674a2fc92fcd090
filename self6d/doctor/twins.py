"""CAD models that are alike: one file given twice, or two objects that no image tells apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from self6d.scene import ObjectModel
from self6d.scene.symmetry import COLOR_TOLERANCE, TOLERANCE, Surface, find_symmetry

ROUND = 0.05  # of the largest spread: axes that spread alike are no axes of the shape
STARTS = 2000  # turns looked at, 15 degrees from one to the next
PULLED = 20  # of them, the nearest

REMEDY = (
    "Leave one of them out if it is the same object (one model finds several instances of it), or "
    "colour them as they are"
)


@dataclass(frozen=True)
class Twins:
    """Two models of one shape.

    Attributes:
        first, second: the models, in the order they were given.
        looks: whether their colours are the same too.
    """

    first: ObjectModel
    second: ObjectModel
    looks: bool

    def __str__(self) -> str:
        a, b = (f"{m.name} (object {m.object_id})" for m in (self.first, self.second))
        if self.looks:
            return f"{a} and {b} are alike in shape and colour: one is taken for the other"
        return f"{a} and {b} are alike in shape: their colours alone tell them apart"


def twins(models: Sequence[ObjectModel]) -> list[Twins]:
    """Pairs of models whose surfaces are one and the same, wherever their origins lie.

    A surface counts as the same by the tolerances by which it counts as symmetric
    (`find_symmetry`). It is found as it stands, or turned onto the other's principal axes; a shape
    without any, such as a cube, is turned every way. A mirror image is another shape.

    Args:
        models: in metres.
    """
    surfaces: dict[int, Surface] = {}

    def surface(place: int) -> Surface:
        if place not in surfaces:
            surfaces[place] = Surface(models[place], probes=600, dense=12000, seed=0)
        return surfaces[place]

    found = []
    for i, j in combinations(range(len(models)), 2):
        a, b = models[i], models[j]
        limit = TOLERANCE * max(a.diameter, b.diameter)
        if abs(a.diameter - b.diameter) > limit:
            continue
        same = _same(surface(i), surface(j), _turns(surface(i), surface(j)), limit)
        if (not same or min(same) > COLOR_TOLERANCE) and _round(surface(i), surface(j)):
            same += _turned_every_way(a, surface(i), surface(j), limit)
        if same:
            found.append(Twins(a, b, min(same) <= COLOR_TOLERANCE))
    return found


def _same(a: Surface, b: Surface, turns: Iterable[np.ndarray], limit: float) -> list[float]:
    """Differences in colour under those turns that bring b onto a."""
    pairs = [_apart(a, b, turn, limit) for turn in turns]
    return [color for distance, color in pairs if distance <= limit]


def _apart(a: Surface, b: Surface, turn: np.ndarray, limit: float) -> tuple[float, float]:
    """Distance and difference in colour of two surfaces, either way: a part lies on its whole."""
    there = a.residual_of(b, turn)
    if there[0] > limit:
        return there
    back = b.residual_of(a, turn.T)
    return max(there[0], back[0]), max(there[1], back[1])


def _turns(a: Surface, b: Surface) -> list[np.ndarray]:
    """Rotations (3, 3) that may bring b onto a: none, and those between their principal axes."""
    u, v = a.principal().T, b.principal().T
    turns = [np.eye(3)]
    for signs in product((1.0, -1.0), repeat=3):
        turn = (u * signs) @ v.T
        if np.linalg.det(turn) > 0:
            turns.append(turn)
    return turns


def _round(a: Surface, b: Surface) -> bool:
    """Whether both spread alike, and as far along one principal axis as along another."""
    u, v = (np.linalg.eigvalsh(np.cov((s.dense - s.centre).T)) for s in (a, b))
    alike = bool((np.abs(u - v) < ROUND * u.max()).all())
    return alike and bool((np.diff(u) < ROUND * u.max()).any())


def _turned_every_way(model: ObjectModel, a: Surface, b: Surface, limit: float) -> list[float]:
    """`_same` of a turn that a search finds, and of that turn after each symmetry of the shape."""
    turns = Rotation.from_quat(np.random.default_rng(0).standard_normal((STARTS, 4))).as_matrix()
    few, coarse = b.probes[:80] - b.centre, cKDTree(a.dense[:3000] - a.centre)
    apart = coarse.query(np.einsum("sij,nj->sni", turns, few))[0].mean(1)
    for start in turns[np.argsort(apart)[:PULLED]]:
        turn = _pulled(a, b, start)
        if _apart(a, b, turn, limit)[0] <= limit:
            own = find_symmetry(model).shape.transforms()[:, :3, :3]
            return _same(a, b, own @ turn, limit)
    return []


def _pulled(a: Surface, b: Surface, turn: np.ndarray) -> np.ndarray:
    """A turn that brings b near a, after ICP."""
    there = b.probes - b.centre
    for _ in range(15):
        nearest = a.dense[a.tree.query(there @ turn.T + a.centre)[1]] - a.centre
        turn = Rotation.align_vectors(nearest, there)[0].as_matrix()
    return turn
