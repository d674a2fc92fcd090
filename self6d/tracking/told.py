"""What a user is told of objects: begun without a start, not surely found, or two in one place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from self6d.datasets.pose_track import TrackedPose
from self6d.doctor.twins import REMEDY, twins
from self6d.events import counted
from self6d.scene import ObjectModel
from self6d.tracking.work import Start

Way = Literal["init", "from", "search"]

WITHIN = 0.2  # of the smaller diameter, between their middles: two solids cannot be so near

_PLACE = "place it in one frame and start from that pose (--init POSE.json)"
_CHECK = "see whether the CAD's unit, the depth scale and the camera are right (doctor --models)"
REMEDIES: dict[Way, str] = {
    "init": f"Look at the start pose, and {_CHECK}",
    "from": f"Adapt the network to this recording (adapt), or {_PLACE}; or {_CHECK}",
    "search": f"{_PLACE[0].upper()}{_PLACE[1:]}, or let a trained network find it (--from RUN); "
    f"or {_CHECK}",
}


def looked_for(
    models: Sequence[ObjectModel], starts: Collection[Start], sought: Collection[int]
) -> list[str]:
    """In words, which objects are searched for beside those that a start was given for.

    Args:
        sought: positions among the models of what is looked for.
    """
    placed = sorted({start.target.model for start in starts})
    if not placed:
        return []
    own = models[placed[0]].object_id
    alone = f"--object {own} follows that one alone" if len(placed) == 1 else "--object follows one"
    return [
        f"object {model.object_id} ({model.name}) has no start: it is looked for; {alone}"
        for i, model in enumerate(models)
        if i in sought and i not in placed
    ]


def told_of_twins(models: Sequence[ObjectModel]) -> list[tuple[Literal["info", "warning"], str]]:
    """What the doctor says of models that are alike, before hours are spent on both."""
    return [
        ("warning", f"{pair}. {REMEDY}; --object follows one alone")
        for pair in twins(models)
        if pair.looks
    ]


def not_sure(
    poses: Iterable[TrackedPose], models: Sequence[ObjectModel], *, weak: float, way: Way
) -> list[str]:
    """In words, which objects were found nowhere, or surely in no frame, and what to do.

    Args:
        poses: of the whole track. weak: confidence below which a pose counts as weak.
        way: how the objects were begun with.
    """
    surest: dict[int, float] = {}
    for p in poses:
        if p.pose is not None:
            surest[p.object_id] = max(p.confidence, surest.get(p.object_id, 0.0))
    texts = []
    for model in models:
        best = surest.get(model.object_id)
        if best is None:
            texts.append(f"{model.name} was found in no frame. {REMEDIES[way]}")
        elif best < weak:
            texts.append(
                f"{model.name}: no pose is surer than {best:.2f}, and {weak:g} counts as sure: "
                f"look whether they are right. {REMEDIES[way]}"
            )
    return texts


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
