"""CAD models that are alike: one file given twice, or two objects that no image tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from self6d.scene import ObjectModel
from self6d.scene.symmetry import COLOR_TOLERANCE, TOLERANCE, Surface

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
    (`find_symmetry`). It is found as it stands, or turned onto the other's principal axes: a
    shape without any, such as a cube, is not found where its copy was turned. A mirror image is
    another shape.

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
        same = [
            color
            for turn in _turns(surface(i), surface(j))
            for distance, color in [_apart(surface(i), surface(j), turn, limit)]
            if distance <= limit
        ]
        if same:
            found.append(Twins(a, b, min(same) <= COLOR_TOLERANCE))
    return found


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
