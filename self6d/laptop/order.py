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


STAGE_1, STAGE_2, STAGE_2_GPU = "tiny", "laptop", "tracked"
"""Presets of both trainings."""


def stage_2_of(*, given: bool, on_gpu: bool) -> str:
    """The preset that learns from a track.

    Args:
        given: the network was there already; else `STAGE_1` made it, for two CPU cores.
    """
    return STAGE_2_GPU if given and on_gpu else STAGE_2


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
