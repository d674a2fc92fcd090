"""Shifts of single frames, pooled over their neighbours; none where they do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from self6d.tracking.colours.measure import Beside

NEIGHBOURS = 4  # frames to each side
DRIFT = 0.3  # pixels by which a shift changes from one frame to the next, at least
FLOOR = 0.3  # pixels that no number of frames gets below: they err alike
DOUBT = 3.0  # standard deviations from another neighbour's that count half
SURE = 2.5  # standard deviations from none: half a shift so sure is believed
ROUNDS = 8


def pooled(times: Sequence[float], found: Sequence[Beside | None]) -> np.ndarray:
    """(N, 2) pixels by which poses are to be moved, of N frames of one object in order of time.

    Each is the mean of its neighbours', weighted by how sure and how far off in time they are;
    those that disagree count little (iteratively reweighted, Geman-McClure). What is then hardly
    surer than no shift at all dies away: exactly none below.

    Args:
        times: in frames. found: None where a frame does not say.
    """
    known = [i for i, f in enumerate(found) if f is not None]
    moved = np.zeros((len(found), 2))
    drift = _drift(times, found)
    for i in range(len(found)):
        near = [j for j in known if abs(times[j] - times[i]) <= NEIGHBOURS]
        if not near:
            continue
        shifts = np.array([found[j].shift for j in near])  # type: ignore[union-attr]
        apart = np.array([drift * (times[j] - times[i]) for j in near])
        spread = np.array([found[j].spread for j in near])  # type: ignore[union-attr]
        spread = spread + (FLOOR**2 + apart**2)[:, None, None] * np.eye(2)
        sure = np.linalg.inv(spread)
        mean = _mean(sure, shifts, np.ones(len(near)))[0]
        for _ in range(ROUNDS):
            off = shifts - mean
            square = np.einsum("ni,nij,nj->n", off, sure, off)
            weight = 1 / (1 + square / DOUBT**2) ** 2
            mean, information = _mean(sure, shifts, weight)
        own = np.linalg.inv(information) + FLOOR**2 * np.eye(2)
        deviations = float(mean @ np.linalg.solve(own, mean))
        moved[i] = _believed(deviations) * mean
    return moved


def _mean(
    sure: np.ndarray, shifts: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted by how sure each is, (N, 2, 2); its own sureness comes second."""
    information = np.einsum("n,nij->ij", weight, sure)
    return np.linalg.solve(information, np.einsum("n,nij,nj->i", weight, sure, shifts)), information


def _drift(times: Sequence[float], found: Sequence[Beside | None]) -> float:
    """Pixels a frame, of what neighbours differ by beyond how unsure they are: a median.

    Little where depth is registered badly, much where a moving camera took it at another instant.
    """
    squares = []
    pairs = zip(pairwise(times), pairwise(found), strict=True)
    for (before, after), (first, second) in pairs:
        if first is None or second is None or not 0 < after - before <= NEIGHBOURS:
            continue
        apart = (second.shift - first.shift) / (after - before)
        unsure = np.trace(first.spread + second.spread) / (after - before) ** 2
        squares.append((apart @ apart - unsure) / 2)
    return max(DRIFT, float(np.sqrt(max(np.median(squares), 0.0)))) if squares else DRIFT


def _believed(square: float) -> float:
    """Share of a shift that is believed, by its squared deviation from none."""
    ratio = SURE**2 / max(square, 1e-12)
    return max(0.0, 1 - ratio**2)
