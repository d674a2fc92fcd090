"""What a user is told of objects that nothing was placed for, or that were not surely found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from self6d.datasets.pose_track import TrackedPose
from self6d.scene import ObjectModel
from self6d.tracking.work import Start

Way = Literal["init", "from", "search"]

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
