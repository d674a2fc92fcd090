"""Coarse searches by points: around given poses, and over a whole image without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from self6d.geometry import axis_angle_to_matrix
from self6d.tracking.planes import before_planes
from self6d.tracking.points import (
    ModelPoints,
    View,
    even_directions,
    looking_along,
    score_poses,
)

TWIST = 0.3  # what turning an object over takes off, against shifting it by its diameter
NICHE = 0.5  # radians
PART = 0.4  # diameters, side of the cubes of space that share a search
EACH = 8  # poses that one of them gives
NEARER = (  # steps of angle, diameters and margins of each round; how many times as many are kept
    (0.5, 0.1, 2.0, 16), (0.4, 0.07, 1.5, 8), (0.4, 0.05, 1.5, 6), (0.3, 0.05, 1.25, 4),
    (0.3, 0.04, 1.0, 4), (0.2, 0.03, 1.0, 4), (0.15, 0.03, 1.0, 4), (0.1, 0.02, 1.0, 4),
)  # fmt: skip
BEHIND_M = 100.0  # where large planes are put


@dataclass(frozen=True)
class Candidates:
    """N poses, best first.

    Attributes:
        R: (N, 3, 3) float32. t: (N, 3) float32, metres. score: (N,), see `score_poses`.
    """

    R: np.ndarray
    t: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def best(self, count: int) -> Candidates:
        """The best `count` of them."""
        order = np.argsort(-self.score, kind="stable")[:count]
        return self[order]

    def __getitem__(self, index: np.ndarray | slice) -> Candidates:
        return Candidates(self.R[index], self.t[index], self.score[index])

    @classmethod
    def unscored(cls, R: np.ndarray, t: np.ndarray) -> Candidates:
        """Poses (N, 3, 3) and (N, 3), metres, in the order given."""
        R, t = np.asarray(R, np.float32), np.asarray(t, np.float32)
        return cls(R.reshape(-1, 3, 3), t.reshape(-1, 3), np.zeros(len(t), np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of them, in the order given."""
        return cls(
            np.concatenate([p.R for p in parts]),
            np.concatenate([p.t for p in parts]),
            np.concatenate([p.score for p in parts]),
        )

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """R and t on a device."""
        return torch.from_numpy(self.R).to(device), torch.from_numpy(self.t).to(device)


@dataclass(frozen=True)
class Home:
    """Where an object is expected. One half hidden by a hand scores less than what is whole and
    much like it elsewhere, so that poses far off have to agree better.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres: poses expected.
        pull: what a shift by the diameter takes off a score; turns take off less, see `TWIST`.
    """

    model: ModelPoints
    R: np.ndarray
    t: np.ndarray
    diameter: float
    pull: float

    def away(self, R: np.ndarray, t: np.ndarray) -> np.ndarray:
        """What is taken off scores of poses (M, 3, 3) and (M, 3): (M,) float32."""
        place, least = R @ self.model.centre + t, np.full(len(R), np.inf, np.float32)
        for own_R, own_t in zip(self.R, self.t, strict=True):
            shift = np.linalg.norm(place - (own_R @ self.model.centre + own_t), axis=1)
            turn = (1 - self.model.turn_between(R, own_R)) / 2
            least = np.minimum(least, shift / self.diameter + TWIST * turn)
        return (self.pull * least).astype(np.float32)


def search_near(
    model: ModelPoints,
    view: View,
    R: np.ndarray,
    t: np.ndarray,
    rng: np.random.Generator,
    *,
    candidates: int,
    turn: float,
    shift_m: float,
    margin_m: float,
    parents: int = 24,
    rounds: int = 6,
    niches: int = 0,
    apart_m: float = 0.0,
    home: Home | None = None,
) -> Candidates:
    """Poses near given ones that agree best with an image.

    Args:
        R: (N, 3, 3). t: (N, 3), metres: where to look. candidates: poses a round.
        turn: standard deviation of the first round's turns, radians; each round looks half as far
            around the best poses of the one before. shift_m: likewise, metres.
        parents: poses kept from round to round.
        niches: kept of each round are the best of so many surroundings, `apart_m` and `NICHE`
            wide, instead of the best of all: else what looks most like the model at first, a can
            beside the bottle, leaves nothing of the rest. The last round's are one of each.
        home: where poses are likelier; what it takes off is in the scores returned.
    """
    R, t = np.asarray(R, np.float32), np.asarray(t, np.float32)
    off = home.away if home is not None else lambda R, t: 0.0
    found = Candidates(R, t, score_poses(model, view, R, t, margin_m=2 * margin_m) - off(R, t))
    for level in range(rounds):
        each = max(parents // max(niches, 1), 1)
        found = _spread(model, found, niches, each, apart_m) if niches else found.best(parents)
        count = candidates * (3 if level == 0 else 1)
        parent = np.arange(count) % len(found)
        noise = rng.standard_normal((count, 6), np.float32)
        noise[: len(found)] = 0
        turned = _turned(found.R[parent], noise[:, :3] * (turn / 2**level))
        centre = found.R[parent] @ model.centre + found.t[parent]
        moved = centre + noise[:, 3:] * (shift_m / 2**level) - turned @ model.centre
        margin = margin_m * max(2.0 / 2**level, 1.0)
        few = len(model) // (2 if level < 2 else 1)
        moved = moved.astype(np.float32)
        score = score_poses(model, view, turned, moved, margin_m=margin, points=few)
        found = Candidates(turned, moved, score - off(turned, moved))
    return _spread(model, found, niches, 1, apart_m) if niches else found.best(parents)


def _spread(
    model: ModelPoints, found: Candidates, niches: int, each: int, apart_m: float
) -> Candidates:
    """The best few of each of several surroundings, the best surroundings first."""
    place, left = found.R @ model.centre + found.t, np.ones(len(found), bool)
    chosen: list[np.ndarray] = []
    while left.any() and len(chosen) < niches:
        top = np.where(left, found.score, -np.inf).argmax()
        own = left & (np.linalg.norm(place - place[top], axis=1) < apart_m)
        own &= model.turn_between(found.R, found.R[top]) > np.cos(NICHE)
        own[top] = True
        rows = np.nonzero(own)[0]
        chosen.append(rows[np.argsort(-found.score[rows], kind="stable")[:each]])
        left &= ~own
    return found[np.concatenate(chosen)] if chosen else found.best(1)


def distinct(model: ModelPoints, found: Candidates, angle: float, apart_m: float) -> Candidates:
    """Best first, without poses that are near a better one both in place and in angle (radians).

    Turns that leave the model as it is are none.
    """
    found = found.best(len(found))
    place = found.R @ model.centre + found.t
    chosen: list[int] = []
    for i in range(len(found)):
        if chosen:
            cosine = model.turn_between(found.R[chosen], found.R[i])
            far = np.linalg.norm(place[chosen] - place[i], axis=1) > apart_m
            if not (far | (cosine < np.cos(angle))).all():
                continue
        chosen.append(i)
    return found[np.array(chosen)]


def search_everywhere(
    model: ModelPoints,
    view: View,
    rng: np.random.Generator,
    *,
    views: int,
    margin_m: float,
    diameter: float,
    keep: int,
    near: np.ndarray | None = None,
) -> Candidates:
    """Poses anywhere in an image that agree best with it: views times places on its surfaces.

    A place is a pixel with depth, where the model's anchor from that side may lie. Large planes are
    no places, and count as empty: an object lies flat on the middle of a table as well as anywhere.
    Each part of the space gives a few poses, for a thing of another kind may have more of them that
    agree than the object itself.

    Args:
        views: directions from which the model is looked at.
        diameter: of the model, metres. keep: poses returned, all distinct.
        near: (h, w) bool, pixels that may show the model's anchor; None: all.
    """
    directions = even_directions(views)
    step = float(np.sqrt(4 * np.pi / views))
    rolls = max(4, round(2 * np.pi / step))
    looks = _rolled(looking_along(directions), rolls).astype(np.float32)
    nearest = (directions @ model.directions.T).argmax(1)
    anchor = np.repeat(model.anchor[nearest], rolls, axis=0)
    view, points = _places(view, diameter, near, rng)
    if len(points) == 0:
        empty = np.zeros(0, np.float32)
        return Candidates(empty.reshape(0, 3, 3), empty.reshape(0, 3), empty)
    kept: list[Candidates] = []
    few = max(32, len(model) // 4)
    for place in points:
        R = (_facing(place) @ looks).astype(np.float32)
        t = (place - np.einsum("nij,nj->ni", R, anchor)).astype(np.float32)
        score = score_poses(model, view, R, t, margin_m=3 * margin_m, points=few)
        kept.append(Candidates(R, t, score).best(8))

    def shared(found: Candidates, count: int, each: int) -> Candidates:
        return _few_a_place(found, model.centre, PART * diameter, each).best(count)

    found = shared(Candidates.joined(kept), 40 * keep, 20 * EACH)
    # every one of many starts a little nearer, then the best of them as near as points lead
    for turn, shift, margin, left in NEARER:
        parent = np.repeat(np.arange(len(found)), 12)
        noise = rng.standard_normal((len(parent), 6), np.float32)
        noise[::12] = 0
        R = _turned(found.R[parent], noise[:, :3] * turn * step)
        centre = found.R[parent] @ model.centre + found.t[parent]
        t = (centre + noise[:, 3:] * shift * diameter - R @ model.centre).astype(np.float32)
        score = score_poses(model, view, R, t, margin_m=margin * margin_m)
        group = score.reshape(-1, 12).argmax(1) + 12 * np.arange(len(found))
        found = shared(Candidates(R, t, score)[group], left * keep, left * EACH)
    return shared(distinct(model, found, 0.35, 0.1 * diameter), keep, EACH)


def _few_a_place(found: Candidates, centre: np.ndarray, apart_m: float, each: int) -> Candidates:
    """Best first, at most `each` of those whose model's centre lies in the same cube of space."""
    found = found.best(len(found))
    cell = np.floor((found.R @ centre + found.t) / apart_m).astype(np.int64)
    own = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], np.arange(own.max(initial=0) + 1))
    rank = np.empty(len(own), np.int64)
    rank[order] = np.arange(len(own)) - first[own[order]]
    return found[rank < each]


def _turned(R: np.ndarray, axis_angle: np.ndarray) -> np.ndarray:
    return (axis_angle_to_matrix(torch.from_numpy(axis_angle)).numpy() @ R).astype(np.float32)


def _rolled(R: np.ndarray, rolls: int) -> np.ndarray:
    """(V, 3, 3) -> (V rolls, 3, 3), turned in the image plane."""
    angle = 2 * np.pi * np.arange(rolls) / rolls
    c, s = np.cos(angle), np.sin(angle)
    roll = np.zeros((rolls, 3, 3))
    roll[:, 0, 0], roll[:, 0, 1], roll[:, 1, 0], roll[:, 1, 1] = c, -s, s, c
    roll[:, 2, 2] = 1
    return (roll[None] @ R[:, None]).reshape(-1, 3, 3)


def _facing(ray: np.ndarray) -> np.ndarray:
    """Smallest rotation of the optical axis to a ray, (3, 3)."""
    z = ray / np.linalg.norm(ray)
    v = np.array([-z[1], z[0], 0.0])
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + z[2])


def _places(
    view: View, diameter: float, near: np.ndarray | None, rng: np.random.Generator
) -> tuple[View, np.ndarray]:
    """Points that a model's anchors may be, an eighth of its diameter apart: (N, 3), metres.

    First comes the view with large planes put behind everything.
    """
    rows, columns = np.nonzero(view.depth_m > 0)
    z = view.depth_m[rows, columns]
    y = (rows + 0.5 - view.K[1, 2]) / view.K[1, 1] * z
    x = (columns + 0.5 - view.K[0, 2]) / view.K[0, 0] * z - view.K[0, 1] / view.K[0, 0] * y
    points = np.stack((x, y, z), 1)
    free = before_planes(points, diameter, rng)
    if free is not None and free.any():
        depth = view.depth_m.copy()
        depth[rows[~free], columns[~free]] = BEHIND_M
        view = replace(view, depth_m=depth)
    else:
        free = np.ones(len(points), bool)
    if near is not None:
        free &= near[rows, columns]
    rows, columns, points = rows[free], columns[free], points[free]
    cell = np.floor(points / (diameter / 8)).astype(np.int64)
    _, inverse, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    # the pixel nearest to the middle of those in its cell
    middle = np.stack([np.bincount(inverse, v) / count for v in (rows, columns)], 1)
    off = np.square(np.stack((rows, columns), 1) - middle[inverse]).sum(1)
    order = np.lexsort((off, inverse))
    return view, points[order[np.searchsorted(inverse[order], np.arange(len(count)))]]
