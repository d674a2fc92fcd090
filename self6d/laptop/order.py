"""What `quick` does one after another; the window's learning from a track is its middle."""

from __future__ import annotations

TRACK, COLOURS, BEFORE, AFTER, PACKAGE = "track", "colours", "stage1", "adapted", "package"
ORDER = (TRACK, COLOURS, BEFORE, AFTER, PACKAGE)
TITLES = {
    TRACK: "following the objects",
    COLOURS: "the recording's colours onto the models",
    BEFORE: "stage 1, synthetic images",
    AFTER: "learning from the track",
}


def parts_of(*, network: bool) -> tuple[str, ...]:
    """What `quick` does, in order.

    Args:
        network: there is one to begin with.
    """
    return tuple(name for name in ORDER if not (network and name in (COLOURS, BEFORE)))


def phases_of_learning(*, colours: bool, network: bool) -> tuple[str, ...]:
    """What is left to do between a track and a network that has learned it, in order.

    Args:
        colours: the recording's are still to be taken. network: there is one to begin with.
    """
    left_out = {TRACK, PACKAGE}
    if not colours:
        left_out.add(COLOURS)
    if network:
        left_out.add(BEFORE)
    return tuple(name for name in ORDER if name not in left_out)
