"""A still scene from poses of single images: where objects are in the image says how far away.

All cameras and one pose of each object are solved together (bundle adjustment with objects for
points): sideways positions, which single images know well, over many directions fix the
arrangement up to its size, and the mean log-distance fixes that. An object whose distances are all
off by one share keeps that as its bias. Cauchy's loss, from a wide to the measured noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from self6d.tracking.still.arrangement import Rigid, Seen, Thing
from self6d.tracking.still.bundle import AT_LAST, Bundle
from self6d.tracking.still.start import Layout, first_layouts
from self6d.tracking.still.views import NOISE, Noise, Views

SUPPORT = 0.35  # of an object's frames that have to agree: else it does not stand still
LIKE_OTHERS = 0.65  # of the share that the median object has, likewise
SUSPECT = 0.9  # of that share, below which an object is tried against cameras of the others alone
FEWEST = 2  # frames that have to agree
WITNESSES = 2  # objects of a frame that have to agree: one says nothing of the camera but its own


@dataclass(frozen=True)
class StillScene:
    """What the poses of single images say together.

    Attributes:
        poses: (frame, item) -> R (3, 3) and t (3,), metres: what stands still in frames in which
            `WITNESSES` of it agree.
        agrees: (N,) bool, of the poses given, those that agree with it.
        pieces: frames of each stretch in which things stand as they do, in order.
        moving: (piece, item) of which too few poses agree with one place.
        bias: item -> log-distance by which its single images are too far.
        noise: of single images, as measured.
    """

    poses: dict[tuple[int, int], Rigid]
    agrees: np.ndarray
    pieces: list[list[int]]
    moving: frozenset[tuple[int, int]]
    bias: dict[int, float]
    noise: Noise


def solve_still(things: Mapping[int, Thing], seen: Sequence[Seen]) -> StillScene:
    """Arrangements of a recording in which for stretches nothing but the camera moves.

    The stretches are found: a frame that the arrangement so far does not explain begins another.

    Args:
        things: by item. seen: poses of single images, frames counted in time; several of one item
            in a frame are rivals, and those of another instance or thing then do not agree.
    """
    items = sorted(things)
    numbered = [Seen(s.frame, items.index(s.item), s.R, s.t, s.confidence) for s in seen]
    views = Views.of(numbered, {k: things[i] for k, i in enumerate(items)})
    pieces: list[Layout] = []
    moving: set[tuple[int, int]] = set()
    for layout in first_layouts(views):
        piece = _piece(views, layout)
        moving |= {(len(pieces), items[k]) for k in set(layout.place) - set(piece.place)}
        pieces.append(piece)
    if not any(piece.place for piece in pieces):
        frames = [sorted(piece.camera) for piece in pieces]
        nothing = np.zeros(len(seen), bool)
        return StillScene({}, nothing, frames, frozenset(moving), {}, NOISE)
    whole = Bundle(views, pieces)
    whole.solve(AT_LAST)
    agrees = whole.agrees(whole.state)
    poses: dict[tuple[int, int], Rigid] = {}
    pieces = whole.layouts()
    for piece in pieces:
        poses |= _poses(views, agrees, piece)
    return StillScene(
        {(f, items[k]): pose for (f, k), pose in poses.items()},
        agrees,
        [sorted(piece.camera) for piece in pieces],
        frozenset(moving),
        {items[k]: value for k, value in whole.bias().items()},
        whole.noise,
    )


def _piece(views: Views, layout: Layout) -> Layout:
    """A stretch solved by itself, without what moves in it."""
    rows = np.nonzero(np.isin(views.frame, list(layout.camera)))[0]
    own, items = views[rows], set(layout.place)
    while items:
        bundle = Bundle(own, [Layout(layout.camera, {k: layout.place[k] for k in items})])
        bundle.solve()
        agrees = bundle.agrees(bundle.state)
        share = {k: _support(own, agrees, k) for k in items}
        usual = float(np.median(list(share.values())))
        for k in items:
            if 0 < share[k] < SUSPECT * usual and len(items) > WITNESSES:
                # cameras follow what moves: the others' may not
                apart = bundle.agrees(bundle.without(k))
                share[k] = min(share[k], _support(own, apart, k))
        least = min(sorted(share), key=lambda k: share[k])
        if share[least] >= max(SUPPORT, LIKE_OTHERS * usual):
            return bundle.layouts()[0]
        items = items - {least}  # one at a time: it may have misled the rest
    return Layout(layout.camera, {})


def _support(views: Views, agrees: np.ndarray, item: int) -> float:
    """Share of an item's frames in which a pose of it agrees; 0 if they are too few."""
    rows = views.item == item
    good = len(np.unique(views.frame[rows & agrees]))
    return good / len(np.unique(views.frame[rows])) if good >= FEWEST else 0.0


def _poses(views: Views, agrees: np.ndarray, layout: Layout) -> dict[tuple[int, int], Rigid]:
    poses = {}
    for frame, (R, t) in layout.camera.items():
        here = agrees & (views.frame == frame)
        if len(np.unique(views.item[here])) < WITNESSES:
            continue
        for item, (own, middle) in layout.place.items():
            turned = R @ own
            poses[frame, item] = turned, R @ middle + t - turned @ views.things[item].centre
    return poses
