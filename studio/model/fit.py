"""Whether a network is about the objects that are open: by their geometry, not by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from self6d.scene import of_one_size
from studio.engine.types import ModelCard


def misfit(
    theirs: Sequence[ModelCard], ours: Sequence[ModelCard], *, all_of_them: bool = False
) -> str:
    """Why a network that knows `theirs` cannot speak of `ours`; "" where it can.

    A network may know more objects than are open, or only some of them. Its numbers count: poses
    it gives to its object 3 are drawn with the open object 3.

    Args:
        all_of_them: it must know those that are open and no other, as stage 1 that goes on from it.
    """
    known = {model.object_id: model for model in theirs}
    shared = [model for model in ours if model.object_id in known]
    for model in shared:
        other = known[model.object_id]
        if not of_one_size(model, other):
            return (
                f"its object {model.object_id} is {other.name}, {1000 * other.diameter:.0f} mm; "
                f"the open one is {model.name}, {1000 * model.diameter:.0f} mm"
            )
    if all_of_them and ours and theirs and not len(ours) == len(theirs) == len(shared):
        numbers, here = (", ".join(str(m.object_id) for m in part) for part in (theirs, ours))
        return f"it knows {numbers}, open are {here}"
    if ours and theirs and not shared:
        numbers = ", ".join(str(number) for number in sorted(known))
        return f"it knows object {numbers} alone"
    return ""
