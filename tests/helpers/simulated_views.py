"""Poses as single colour images give them, of a still scene on a table seen from all around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from self6d.tracking.still.arrangement import Rigid, Seen, Thing

FOCAL = 572.0  # pixels


@dataclass(frozen=True)
class Simulated:
    """things by item; true poses by (frame, item); what single images say; log-distance biases."""

    things: dict[int, Thing]
    true: dict[tuple[int, int], Rigid]
    seen: list[Seen]
    bias: np.ndarray

    def right(self, poses: dict[tuple[int, int], Rigid], keys=None) -> float:
        """Share of poses within a tenth of the diameter."""
        keys = list(poses) if keys is None else keys
        good = [self.things[at[1]].apart(poses[at], self.true[at]) < 0.1 for at in keys]
        return float(np.mean(good))

    @property
    def own(self) -> dict[tuple[int, int], Rigid]:
        """What single images say, by (frame, item)."""
        return {(s.frame, s.item): (s.R, s.t) for s in self.seen}


def turn(rng: np.random.Generator, degrees: float) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(degrees) * rng.standard_normal(3)).as_matrix()


def simulate(
    seed: int,
    frames: int = 40,
    items: int = 6,
    moving: tuple[int, ...] = (),
    shown=None,
    rearranged: int | None = None,
    known: dict[int, Thing] | None = None,
    drift: float = 0.008,
) -> Simulated:
    """Sideways 1.5 pixels; 4 % in distance and a bias of 3 % an object; 4 degrees an axis.

    A tenth of the rotations are anything, 8 % of the poses are of other things, 10 % are missing.
    The second last object is round, the last looks the same after a half turn.

    Args:
        moving: items that drift, `drift` metres a frame. shown: items to be seen in a frame; None:
            all. rearranged: frame before which all items are put elsewhere.
        known: the things instead of drawn ones.
    """
    rng = np.random.default_rng(seed)
    diameter = rng.uniform(0.1, 0.25, items)
    half = np.stack((np.eye(3), np.diag([-1.0, -1, 1])))
    things = {
        i: Thing(
            0.005 * rng.standard_normal(3),
            float(diameter[i]),
            np.array([0.0, 0, 1]) if i == items - 2 else None,
            half if i == items - 1 else np.eye(3)[None],
        )
        for i in range(items)
    }
    things = known or things

    def arranged() -> dict[int, Rigid]:
        return {i: (turn(rng, 90), np.append(rng.uniform(-0.25, 0.25, 2), 0.05)) for i in things}

    place = arranged()
    bias = 0.03 * rng.standard_normal(items)
    true, seen = {}, []
    for f in range(frames):
        if f == rearranged:
            place = arranged()
        around, up, far = (
            2 * np.pi * f / frames,
            np.radians(rng.uniform(25, 65)),
            rng.uniform(0.8, 1.2),
        )
        eye = far * np.array([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)])
        z = -eye / far
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        view = turn(rng, 5) @ np.stack((x, np.cross(z, x), z))
        for i, (own, at) in place.items():
            R = view @ own
            away = np.array([drift * f, 0, 0]) if i in moving else np.zeros(3)
            middle = view @ (at + away - eye)
            true[f, i] = R, middle - R @ things[i].centre
            if rng.random() < 0.1 or (shown is not None and i not in shown(f)):
                continue
            off = np.append(rng.normal(0, 1.5 / FOCAL, 2) * middle[2], 0)
            said = (middle + off) * np.exp(bias[i] + rng.normal(0, 0.04))
            R = turn(rng, 4) @ R if rng.random() > 0.1 else turn(rng, 120)
            if rng.random() < 0.08:
                said = said + 0.1 * rng.standard_normal(3)
            if things[i].axis is not None:
                R = R @ Rotation.from_rotvec([0, 0, rng.uniform(-3, 3)]).as_matrix()
            seen.append(Seen(f, i, R, said - R @ things[i].centre, float(rng.uniform(0.3, 0.9))))
    return Simulated(things, true, seen, bias)
