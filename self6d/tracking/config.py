"""Settings of tracking, the section [track]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from self6d.config_fields import Checked, Limits


@dataclass
class TrackConfig(Checked, section="track"):
    """How poses are followed through a recording."""

    steps: Annotated[int, Limits(1, 1000)] = 25
    """Optimiser steps a frame."""
    region: Annotated[int, Limits(32, 512)] = 96
    """Side of the square image region that is rendered and compared, pixels."""
    padding: Annotated[float, Limits(1, 4)] = 1.4
    """Side of the region against the longer side of the object's box."""
    rotation_step: Annotated[float, Limits(0, 1)] = 0.02
    """First step size of the optimiser's turns, radians."""
    translation_step: Annotated[float, Limits(0, 1)] = 0.02
    """First step size of its shifts, diameters."""
    points: Annotated[int, Limits(32, 4096)] = 256
    """Surface points that the coarse searches hold against the depth."""
    candidates: Annotated[int, Limits(16, 100_000)] = 1000
    """Poses a round of the coarse search around the last pose; it has six rounds."""
    turn: Annotated[float, Limits(0, 3)] = 0.2
    """Standard deviation of its first round's turns, radians; rounds halve it."""
    shift: Annotated[float, Limits(0, 3)] = 0.15
    """Standard deviation of its first round's shifts, diameters."""
    widen: Annotated[float, Limits(1, 10)] = 2.0
    """How many times as far the search looks where the last pose explains little."""
    hypotheses: Annotated[int, Limits(1, 64)] = 4
    """Poses optimised side by side there."""
    weak: Annotated[float, Limits(0, 1)] = 0.8
    """Confidence below which more hypotheses are tried, and a pose counts as weak."""
    lost: Annotated[float, Limits(0, 1)] = 0.3
    """Confidence below which a pose is none: the object is lost."""
    found: Annotated[float, Limits(0, 1)] = 0.7
    """Confidence that a lost object needs to be found again."""
    views: Annotated[int, Limits(8, 4096)] = 200
    """Directions from which a search without a start pose looks at the model; each is turned in
    the image plane in steps as wide as the directions are apart."""
    search_every: Annotated[int, Limits(1, 10_000)] = 3
    """While an object is lost, every so many frames the whole image is searched for it; with a
    network that finds it (--from) that is asked in every frame instead."""
    looked_at: Annotated[int, Limits(1, 10_000)] = 96
    """Poses of a search of the whole image that the RGB refiner looks at."""
    keep: Annotated[int, Limits(1, 1000)] = 8
    """Poses of these that are optimised; as many of those that agree best by shape as well."""
    still: bool = False
    """Nothing but the camera moves: one arrangement is solved for all frames, and poses that
    disagree with it, and lost ones, are looked for again where it puts them."""
    close_gaps: bool = True
    """Follow objects into lost stretches from their far ends as well."""
    use_depth: bool = True
    """Hold poses against the depth; off, or where a recording has none, colours alone are followed,
    by the RGB refiner that ships."""
    looks: Annotated[int, Limits(2, 16)] = 3
    """Without depth: looks of the refiner from each start, the one that judges included."""
    starts: Annotated[int, Limits(1, 64)] = 3
    """Without depth: poses near the expected one that it looks from; how far apart they end says
    how sure the pose is, their mean is nearer than each."""
    distance: Annotated[float, Limits(0, 1)] = 0.05
    """Without depth: how far apart their distances are, as a share."""
    focal_error: Annotated[float, Limits(0, 0.5)] = 0.025
    """Without depth: how far focal lengths, or the CAD's size, may be off, as a share (standard
    deviation). Nothing in the images says so: the confidence falls with it, and with the distance
    in diameters."""
    glances: Annotated[int, Limits(1, 1000)] = 24
    """Without depth: places of a whole image that it glances at for a lost object."""
    smooth: bool = True
    """Without depth: take out of the distances what jumps to and fro from frame to frame, once all
    of them are done; confidences stay."""
    colours: bool = True
    """Where colours and depth lie beside each other, put the poses in the image where the colours
    have them, once all frames are done; the distance stays the depth's."""
