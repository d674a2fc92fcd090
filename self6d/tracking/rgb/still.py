"""A scene in which the camera alone moves, from colours: one arrangement for all frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from self6d.tracking.still.arrangement import Arrangement, Seen, Thing
from self6d.tracking.still.parallax import solve_still


def solve_colours(things: Mapping[int, Thing], seen: Sequence[Seen]) -> Arrangement:
    """As `still.arrangement.solve`, where there is no depth to say how the camera moved.

    The objects say it, so that it takes two of them in a frame. Each distance comes from all
    directions in which an object is seen.

    Args:
        things: by item. seen: poses of single images, frames counted in time.
    """
    solved = solve_still(things, seen)
    placed = {item for _, item in solved.poses}
    return Arrangement(solved.poses, frozenset(set(things) - placed))
