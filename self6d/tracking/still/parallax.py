"""A still scene from poses of single images: where objects are in the image says how far away.

All cameras and one pose of each object are solved together (bundle adjustment with objects for
points): sideways positions, which single images know well, over many directions fix the
arrangement up to its size, and the mean log-distance fixes that. An object whose distances are all
off by one share keeps that as its bias. Cauchy's loss, from a wide to the measured noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from self6d.tracking.still.arrangement import Rigid, Seen, Thing
from self6d.tracking.still.bundle import AT_LAST, Bundle
from self6d.tracking.still.start import Layout, first_layouts
from self6d.tracking.still.stretches import Stretch, stretches
from self6d.tracking.still.views import NOISE, Noise, Views

SUPPORT = 0.35  # of an object's frames that have to agree: else it does not stand still
LIKE_OTHERS = 0.65  # of the share that the median object has, likewise
SUSPECT = 0.9  # of that share, below which an object is tried against cameras of the others alone
FEW = 5  # objects, at which each is tried so: any of them may have misled the rest
BETTER = 0.03  # more of the others' frames have to agree without it
MORE = 1.05  # times as many poses have to agree with several places than with one
SHORT = 8.0  # poses an object has to stand for, in the mean, if it is put elsewhere at times
FEWEST = 2  # frames that have to agree
WITNESSES = 2  # objects of a frame that have to agree: one says nothing of the camera but its own


@dataclass(frozen=True)
class StillScene:
    """What the poses of single images say together.

    Attributes:
        poses: (frame, item) -> R (3, 3) and t (3,), metres: what stands still in frames in which
            `WITNESSES` of it agree.
        agrees: (N,) bool, of the poses given, those that agree with it.
        pieces: frames of each piece in which most things stand as they do, in order.
        moving: (piece, item) that stands in several places, or in none for long.
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

    They are found: a frame that the arrangement so far does not explain begins another piece, and
    in each piece an object may be put elsewhere at times.

    Args:
        things: by item. seen: poses of single images, frames counted in time; several of one item
            in a frame are rivals, and those of another instance or thing then do not agree.
    """
    items = sorted(things)
    numbered = [Seen(s.frame, items.index(s.item), s.R, s.t, s.confidence) for s in seen]
    views = Views.of(numbered, {k: things[i] for k, i in enumerate(items)})
    pieces: list[Layout] = []
    stood: list[tuple[int, Stretch]] = []  # kind, and where for how long
    moving: set[tuple[int, int]] = set()
    item = np.full(len(views), -1)
    for layout in first_layouts(views):
        camera, still, bias = _cameras(views, layout)
        piece = Layout(camera)
        for kind in sorted(set(views.item[np.isin(views.frame, list(camera))].tolist())):
            rows = np.nonzero((views.item == kind) & np.isin(views.frame, list(camera)))[0]
            found = stretches(views[rows], camera, bias.get(kind, 0.0))
            if kind in still:
                place, agreeing = still[kind]
                if sum(stretch.agreeing for stretch in found) <= MORE * agreeing:
                    found = [
                        Stretch(min(camera), max(camera), *place, np.arange(len(rows)), agreeing)
                    ]
            elif len(found) > 1 + len(rows) / SHORT:  # it creeps on
                found = []
            for stretch in found:
                item[rows[stretch.rows]] = len(stood)
                piece.place[len(stood)] = stretch.R, stretch.middle
                stood.append((kind, stretch))
            if len(found) != 1 or kind not in still:
                moving.add((len(pieces), items[kind]))
        pieces.append(piece)
    frames = [sorted(piece.camera) for piece in pieces]
    if not stood:
        nothing = np.zeros(len(seen), bool)
        return StillScene({}, nothing, frames, frozenset(moving), {}, NOISE)
    placed = replace(views, item=item, things=[views.things[kind] for kind, _ in stood])
    rows = np.nonzero(item >= 0)[0]
    whole = Bundle(placed[rows], pieces)
    whole.solve(AT_LAST)
    agrees = np.zeros(len(seen), bool)
    agrees[rows] = whole.agrees(whole.state)
    poses: dict[tuple[int, int], Rigid] = {}
    for piece in whole.layouts():
        for (f, k), pose in _poses(placed, agrees, piece).items():
            kind, stretch = stood[k]
            if stretch.first <= f <= stretch.last:
                poses[f, items[kind]] = pose
    return StillScene(
        poses,
        agrees,
        frames,
        frozenset(moving),
        {items[k]: value for k, value in whole.bias().items()},
        whole.noise,
    )


def _cameras(
    views: Views, layout: Layout
) -> tuple[
    dict[int, tuple[np.ndarray, np.ndarray]],
    dict[int, tuple[tuple[np.ndarray, np.ndarray], int]],
    dict[int, float],
]:
    """A piece solved by itself, without what moves in it.

    Returns:
        cameras by frame; places of what stands still, and how many poses agree with each; biases.
    """
    rows = np.nonzero(np.isin(views.frame, list(layout.camera)))[0]
    own_views, items = views[rows], set(layout.place)
    while items:
        bundle = Bundle(own_views, [Layout(layout.camera, {k: layout.place[k] for k in items})])
        bundle.solve()
        agrees = bundle.agrees(bundle.state)
        share = {k: _support(own_views, agrees, k) for k in items}
        usual = float(np.median(list(share.values())))
        least, gain = min(sorted(share), key=lambda k: share[k]), 0.0
        lost = share[least] < max(SUPPORT, LIKE_OTHERS * usual)
        for k in sorted(items):
            if len(items) <= WITNESSES or (share[k] >= SUSPECT * usual and len(items) > FEW):
                continue
            # cameras follow what moves; those of the others alone do not, and these agree better
            apart = bundle.agrees(bundle.without(k))
            others = [_support(own_views, apart, i) for i in items - {k}]
            better = float(np.mean(others) - np.mean([share[i] for i in items - {k}]))
            alone = _support(own_views, apart, k) < max(SUPPORT, LIKE_OTHERS * np.median(others))
            if alone and better > max(gain, BETTER):
                least, gain, lost = k, better, True
        if not lost:
            solved = bundle.layouts()[0]
            count = {k: int(agrees[own_views.item == k].sum()) for k in items}
            still = {k: (solved.place[k], count[k]) for k in items}
            return solved.camera, still, bundle.bias()
        items = items - {least}  # one at a time: it may have misled the rest
    return layout.camera, {}, {}


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
