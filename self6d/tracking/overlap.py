"""Things that a track has in one and the same place, where two solids cannot be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from self6d.datasets.pose_track import TrackedPose
from self6d.events import counted
from self6d.scene import ObjectModel

WITHIN = 0.2  # of the smaller one's diameter, between their middles


def in_one_place(
    poses: Sequence[TrackedPose], models: Sequence[ObjectModel], *, sure: float
) -> list[str]:
    """In words, which things lie within one another, and in how many images.

    Two CAD models that look alike both find the one thing that is there.

    Args:
        sure: confidence from which on a pose counts.
    """
    by_id = {model.object_id: model for model in models}
    frames = defaultdict(list)
    for row in poses:
        if row.pose is not None and row.confidence >= sure:
            frames[row.key].append(row)
    met: dict[tuple[tuple[int, int], tuple[int, int]], int] = defaultdict(int)
    for rows in frames.values():
        for a, b in combinations(sorted(rows, key=lambda r: (r.object_id, r.instance)), 2):
            apart = np.linalg.norm(_middle(a, by_id) - _middle(b, by_id))
            smaller = min(by_id[row.object_id].diameter for row in (a, b))
            if apart < WITHIN * smaller:
                met[(a.object_id, a.instance), (b.object_id, b.instance)] += 1
    return [
        f"{_named(a, by_id)} and {_named(b, by_id)} lie in one and the same place in "
        f"{counted(count, 'image', 'images')}: one of them is taken for the other. Follow the one "
        "that is there alone (--object), or give each a start pose (--init)"
        for (a, b), count in sorted(met.items())
    ]


def _middle(row: TrackedPose, models: dict[int, ObjectModel]) -> np.ndarray:
    """(3,), metres, in the camera's frame."""
    assert row.pose is not None
    return row.pose.R_m2c @ models[row.object_id].extents.mean(0) + row.pose.t_m2c


def _named(thing: tuple[int, int], models: dict[int, ObjectModel]) -> str:
    object_id, instance = thing
    name = f"{models[object_id].name} (object {object_id}"
    return f"{name}, no. {instance + 1})" if instance else f"{name})"
