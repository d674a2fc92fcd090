"""How long an object stood where: places of one object, given the cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from self6d.tracking.still.views import NOISE, Noise, Views

NEAR = Noise(side=0.1, far=0.15, turn=0.45)  # within which a pose agrees with a place
GAP = 3  # poses in a row that do not, at which a stretch ends
FEWEST = 4  # poses that have to agree
CREPT = 25.0  # squared deviations between the places of both halves: no more, or it creeps on
PARTNERS = 3  # later poses that each is paired with to find a place


@dataclass(frozen=True)
class Stretch:
    """An object in one place.

    Attributes:
        first, last: frames. R: (3, 3), middle: (3,): of the object in the world, metres.
        rows: of the poses asked about, those from the first frame to the last.
        agreeing: how many of them agree.
    """

    first: int
    last: int
    R: np.ndarray
    middle: np.ndarray
    rows: np.ndarray
    agreeing: int


def stretches(
    views: Views, camera: Mapping[int, tuple[np.ndarray, np.ndarray]], bias: float
) -> list[Stretch]:
    """Places of the one item of N poses, all in frames with a camera, longest stretches first.

    A place is where the rays of two poses near in time meet, turned as the first is.

    Args:
        bias: log-distance by which the poses are too far.
    """
    if len(views) < FEWEST:
        return []
    R, t = (np.array(x) for x in zip(*[camera[f] for f in views.frame.tolist()], strict=True))
    back = R.transpose(0, 2, 1)
    middle = views.middle * np.exp(-bias)
    stand = back @ views.R
    at = np.einsum("nij,nj->ni", back, middle - t)
    far = np.linalg.norm(middle, axis=1)
    ray = np.einsum("nij,nj->ni", back, middle) / far[:, None]
    along = ray[:, :, None] * ray[:, None]
    size = views.diameter[0]
    weight = (np.eye(3) - along) / (NOISE.side * size) ** 2
    weight = weight + along / (NOISE.far * far[:, None, None]) ** 2
    time = np.argsort(views.frame, kind="stable")
    places: list[tuple[np.ndarray, np.ndarray, int]] = []
    for step in range(1, PARTNERS + 1):
        a, b = time[:-step], time[step:]
        both = np.linalg.solve(
            weight[a] + weight[b],
            (np.einsum("nij,nj->ni", weight[a], at[a]) + np.einsum("nij,nj->ni", weight[b], at[b]))[
                ..., None
            ],
        )[..., 0]
        for turn in (a, b):
            places += [(stand[n], both[k], int(n)) for k, n in enumerate(turn)]
    bias_of = np.full(len(views), bias)
    rows = []
    for own, centre, _ in places:
        off = views.off(R @ own, np.einsum("nij,j->ni", R, centre) + t, bias_of)
        rows.append(off.within(NEAR))
    near = np.array(rows)[:, time]
    rank = np.argsort(time)
    found: list[Stretch] = []
    waiting = [(0, len(views))]
    while waiting:
        low, high = waiting.pop()
        best, most = None, FEWEST - 1
        for k, (_, _, guide) in enumerate(places):
            if not low <= rank[guide] < high or not near[k, rank[guide]]:
                continue
            run = _run(near[k], int(rank[guide]), low, high)
            if len(run) > most:
                best, most = (k, run), len(run)
        if best is None:
            continue
        k, run = best
        first, last = run[0], run[-1]
        inside = time[first : last + 1]
        own, centre, _ = places[k]
        frames = views.frame[inside]
        if _crept(weight[time[run]], at[time[run]]) < CREPT:
            found.append(
                Stretch(int(frames.min()), int(frames.max()), own, centre, inside, len(run))
            )
        waiting += [(low, first), (last + 1, high)]
    return found


def _crept(weight: np.ndarray, at: np.ndarray) -> float:
    """How far the places of first and second half of N poses are apart, squared, in deviations."""
    sums, means = [], []
    for half in (slice(None, len(at) // 2), slice(len(at) // 2, None)):
        sums.append(weight[half].sum(0))
        means.append(np.linalg.solve(sums[-1], np.einsum("nij,nj->i", weight[half], at[half])))
    apart = means[1] - means[0]
    both = np.linalg.inv(np.linalg.inv(sums[0]) + np.linalg.inv(sums[1]))
    return float(apart @ both @ apart)


def _run(near: np.ndarray, guide: int, low: int, high: int) -> list[int]:
    """Places in time that agree, around one, until `GAP` in a row do not."""
    run = [guide]
    for side in (range(guide + 1, high), range(guide - 1, low - 1, -1)):
        missed = 0
        for n in side:
            missed = 0 if near[n] else missed + 1
            if missed >= GAP:
                break
            if near[n]:
                run.append(n)
    return sorted(run)
