"""Poses of single images, and how they err: little sideways, much along the ray.

A network that sees colours alone knows where in the image an object is far better than how far
away. So a pose is held against another in the camera's frame: sideways in shares of the diameter,
along the ray as a difference of log-distances, and as a turn up to symmetry. Log-distances of an
object's images may share a bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from self6d.tracking.still.arrangement import Seen, Thing

BEHIND = 0.05  # of the measured distance: nearer to the camera's plane nothing is projected
RADIUS = 2.4  # deviations at which a residual of three dimensions counts a half (Cauchy)


@dataclass(frozen=True)
class Noise:
    """Standard deviations of single images' poses.

    Attributes:
        side: sideways, diameters. far: of the log-distance. turn: radians.
    """

    side: float
    far: float
    turn: float

    def wider(self, times: float) -> Noise:
        """All of them so many times as large."""
        return Noise(times * self.side, times * self.far, times * self.turn)


NOISE = Noise(side=0.02, far=0.04, turn=0.12)  # usual, until it is measured


@dataclass(frozen=True)
class Views:
    """N poses of single images as arrays; items and frames are places in lists.

    Attributes:
        frame, item: (N,) int64. kind: (N,) int64, poses of a kind share a bias of log-distance.
        R: (N, 3, 3). middle: (N, 3), metres, of the objects' middles.
        weight: (N,), what each counts. things: of the items.
    """

    frame: np.ndarray
    item: np.ndarray
    kind: np.ndarray
    R: np.ndarray
    middle: np.ndarray
    weight: np.ndarray
    things: Sequence[Thing]

    @classmethod
    def of(cls, seen: Sequence[Seen], things: Mapping[int, Thing]) -> Views:
        """Of poses whose items are 0, 1, ..., len(things) - 1."""
        listed = [things[i] for i in range(len(things))]
        return cls(
            np.array([s.frame for s in seen], np.int64),
            np.array([s.item for s in seen], np.int64),
            np.array([s.item for s in seen], np.int64),
            np.array([s.R for s in seen], float).reshape(-1, 3, 3),
            np.array([s.R @ things[s.item].centre + s.t for s in seen], float).reshape(-1, 3),
            np.clip([s.confidence for s in seen], 0.05, 1.0),
            listed,
        )

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: np.ndarray) -> Views:
        parts = {
            name: getattr(self, name)[rows]
            for name in ("frame", "item", "kind", "R", "middle", "weight")
        }
        return replace(self, **parts)

    @property
    def diameter(self) -> np.ndarray:
        """(N,), metres."""
        return np.array([thing.diameter for thing in self.things])[self.item]

    def off(self, R: np.ndarray, middle: np.ndarray, bias: np.ndarray) -> Off:
        """How far N poses (R, middle) are from the measured ones, with (N,) log-distance biases."""
        far = np.linalg.norm(self.middle, axis=1)
        ray = self.middle / far[:, None]
        across = _across(ray)
        ahead = np.maximum(np.einsum("ni,ni->n", ray, middle), BEHIND * far)
        slope = np.einsum("nij,nj->ni", across, middle) / ahead[:, None]
        unit = (far / self.diameter)[:, None]
        length = np.linalg.norm(middle, axis=1)
        turned = np.zeros((len(self), 3))
        shows = np.zeros((len(self), 3, 3))
        for i, thing in enumerate(self.things):
            rows = np.nonzero(self.item == i)[0]
            if not len(rows):
                continue
            turned[rows] = thing.turn(self.R[rows], R[rows])
            shows[rows] = R[rows].transpose(0, 2, 1)
            if thing.axis is not None:
                flat = np.eye(3) - np.outer(thing.axis, thing.axis)
                spun = thing.between(self.R[rows], R[rows])
                shows[rows] = flat @ spun @ flat @ shows[rows]
        by_slope = (across - slope[:, :, None] * ray[:, None]) / ahead[:, None, None]
        return Off(
            side=unit * slope,
            far=np.log(np.maximum(length, 1e-6)) + bias - np.log(far),
            turn=turned,
            by_middle=np.concatenate(
                (unit[:, None] * by_slope, (middle / length[:, None] ** 2)[:, None]), 1
            ),
            by_turn=shows,
        )


@dataclass(frozen=True)
class Off:
    """How far poses are from measured ones, and how that changes.

    Attributes:
        side: (N, 2), diameters. far: (N,), log-distance. turn: (N, 3), radians.
        by_middle: (N, 3, 3), derivatives of side and far by the middle.
        by_turn: (N, 3, 3), of turn by a small turn of the pose in the camera's frame.
    """

    side: np.ndarray
    far: np.ndarray
    turn: np.ndarray
    by_middle: np.ndarray
    by_turn: np.ndarray

    def scaled(self, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
        """Of the position and of the turn, (N, 3) each, in deviations."""
        place = np.column_stack((self.side / noise.side, self.far / noise.far))
        return place, self.turn / noise.turn

    def believed(self, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
        """Weights of Cauchy's loss for position and turn: (N,) each, 1 where nothing is off."""
        place, turn = (np.sum(part**2, -1) for part in self.scaled(noise))
        return 1 / (1 + place / RADIUS**2), 1 / (1 + turn / RADIUS**2)

    def within(self, noise: Noise) -> np.ndarray:
        """(N,) bool, whether all three are off by less than one deviation."""
        return (
            (np.linalg.norm(self.side, axis=1) < noise.side)
            & (np.abs(self.far) < noise.far)
            & (np.linalg.norm(self.turn, axis=1) < noise.turn)
        )

    def by_camera(self, turned: np.ndarray, noise: Noise) -> np.ndarray:
        """Derivatives of what `scaled` gives by a small turn and a shift of the camera: (N, 6, 6).

        Args:
            turned: (N, 3), metres, the middles turned into the camera's frame and not yet shifted.
        """
        J = np.zeros((len(turned), 6, 6))
        J[:, :3, 3:] = self.by_middle / np.array([noise.side, noise.side, noise.far])[:, None]
        J[:, :3, :3] = J[:, :3, 3:] @ -cross(turned)
        J[:, 3:, :3] = self.by_turn / noise.turn
        return J


def turned_by(step: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) turned by small vectors (N, 3) from the left."""
    return Rotation.from_rotvec(step).as_matrix() @ R


def cross(v: np.ndarray) -> np.ndarray:
    """Matrices (N, 3, 3) of the cross products with vectors (N, 3)."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    return out - np.swapaxes(out, -1, -2)


def _across(ray: np.ndarray) -> np.ndarray:
    """Two directions at right angles to each of (N, 3) unit vectors: (N, 2, 3)."""
    helper = np.where(np.abs(ray[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(ray, helper)
    first /= np.linalg.norm(first, axis=1)[:, None]
    return np.stack((first, np.cross(ray, first)), 1)
