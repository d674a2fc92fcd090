"""A scene in which the camera alone moves: one arrangement of all objects, and the camera's path.

Both are solved together from the poses of single frames and the camera's own way between frames
(nonlinear least squares with a Cauchy loss, so that poses of another thing pull little). What a
frame's pose is worth is then seen by whether it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import lil_matrix
from scipy.spatial.transform import Rotation

from self6d.scene import ObjectModel
from self6d.tracking.still.odometry import STILL, Motion

TURN, SHIFT = 0.035, 0.03  # how far poses err, radians and diameters, standard deviation
CAMERA_TURN, CAMERA_SHIFT_M = 0.005, 0.003  # likewise of the camera's way between two frames
AGREE = 0.1  # of the diameter, within which a pose agrees
SUPPORT = 0.5  # of an object's sure poses that have to agree: else it does not stand still
FEWEST = 3  # such poses
LOOKS = 60  # rounds of the solver

Rigid = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Seen:
    """A pose of object `item` in frame `frame` (places in a list): R (3, 3), t (3,), metres."""

    frame: int
    item: int
    R: np.ndarray
    t: np.ndarray
    confidence: float


@dataclass(frozen=True)
class Arrangement:
    """Poses that the whole recording gives.

    Attributes:
        poses: (frame, item) -> R (3, 3) and t (3,), metres, of all frames and objects solved for.
        unplaced: items whose sure poses are too few, or agree with no one place: they move.
    """

    poses: dict[tuple[int, int], Rigid]
    unplaced: frozenset[int]


@dataclass(frozen=True)
class Thing:
    """What of a model matters here: centre (3,), diameter, metres, and turns that do not show."""

    centre: np.ndarray
    diameter: float
    axis: np.ndarray | None
    same: np.ndarray

    @classmethod
    def of(cls, model: ObjectModel) -> Thing:
        """Of a CAD model."""
        symmetry = model.symmetry
        axis = symmetry.axes[0] if len(symmetry.axes) else None
        same = np.concatenate((np.eye(3)[None], symmetry.discrete[:, :3, :3]))
        return cls(model.extents.mean(0).astype(float), float(model.diameter), axis, same)

    def between(self, R: np.ndarray, other: np.ndarray) -> np.ndarray:
        """From (N, 3, 3) to (N, 3, 3) by the symmetric turn that leaves least: (N, 3, 3)."""
        apart = self.same.transpose(0, 2, 1)[None] @ (R.transpose(0, 2, 1) @ other)[:, None]
        if self.axis is None:
            best = np.trace(apart, axis1=2, axis2=3).argmax(1)
        else:
            best = (apart @ self.axis @ self.axis).argmax(1)
        return apart[np.arange(len(R)), best]

    def turn(self, R: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Rotation vectors from (N, 3, 3) to (N, 3, 3) as far as they show, model frame: (N, 3)."""
        apart = self.between(R, other)
        if self.axis is None:
            return Rotation.from_matrix(apart).as_rotvec()
        tilted = apart @ self.axis  # of the axis alone: turns about it do not show
        across = np.cross(np.broadcast_to(self.axis, tilted.shape), tilted)
        length = np.linalg.norm(across, axis=1)
        angle = np.arctan2(length, tilted @ self.axis)
        return across * np.where(length > 1e-9, angle / np.maximum(length, 1e-9), 1.0)[:, None]

    def apart(self, a: Rigid, b: Rigid) -> float:
        """Of two poses, in diameters: as far as points half a diameter off the middle are apart."""
        if self.axis is None:  # the chord between them: SciPy's takes five times as long for one
            chord = np.linalg.norm(self.between(a[0][None], b[0][None])[0] - np.eye(3))
            turn = 2 * np.arcsin(min(chord / np.sqrt(8), 1.0))
        else:
            turn = np.linalg.norm(self.turn(a[0][None], b[0][None])[0])
        shift = np.linalg.norm(a[0] @ self.centre + a[1] - b[0] @ self.centre - b[1])
        return float(np.hypot(shift / self.diameter, 0.5 * turn))


def solve(
    frames: int,
    things: Mapping[int, Thing],
    seen: Sequence[Seen],
    between: Callable[[int, int], Motion | None],
    sure: float,
) -> Arrangement:
    """One arrangement for a piece of a recording in which nothing but the camera moves.

    Args:
        frames: how many. things: by item. between: how the camera moved between two frames.
        sure: confidence from which poses decide where their object stands.
    """
    ways = [(a, b, m) for a, b in _pairs(frames) if (m := between(a, b)) is not None]
    camera = _chained(frames, ways, things, seen)
    place: dict[int, Rigid] = {}
    unplaced = set()
    for item, thing in things.items():
        own = [s for s in seen if s.item == item and s.frame in camera and s.confidence >= sure]
        stand, share = _voted(thing, own, camera)
        if stand is None or len(own) < FEWEST or share < SUPPORT:
            unplaced.add(item)
        else:
            place[item] = stand
    rows = [s for s in seen if s.item in place and s.frame in camera]
    if rows:
        _refine(camera, place, things, rows, ways)
    poses = {(f, i): _compose(c, p) for f, c in camera.items() for i, p in place.items()}
    return Arrangement(poses, frozenset(unplaced))


def _pairs(frames: int) -> list[tuple[int, int]]:
    return [*pairwise(range(frames)), *zip(range(frames), range(2, frames), strict=False)]


def _compose(a: Rigid, b: Rigid) -> Rigid:
    return a[0] @ b[0], a[0] @ b[1] + a[1]


def _inverse(a: Rigid) -> Rigid:
    return a[0].T, -a[0].T @ a[1]


def _chained(
    frames: int,
    ways: Sequence[tuple[int, int, Motion]],
    things: Mapping[int, Thing],
    seen: Sequence[Seen],
) -> dict[int, Rigid]:
    """World to camera, the first frame being the world; frames that nothing ties to it are absent.

    Where the camera's own way breaks off, the object seen surest on both sides goes on with it.
    """
    camera: dict[int, Rigid] = {0: (STILL.R, STILL.t)}
    reached = {(a, b): m for a, b, m in ways}
    best: dict[int, tuple[float, Rigid]] = {}  # item: confidence, pose in the world
    by_frame: dict[int, list[Seen]] = {}
    for s in seen:
        by_frame.setdefault(s.frame, []).append(s)
    for f in range(frames):
        for before in (f - 1, f - 2):
            if f not in camera and before in camera and (before, f) in reached:
                camera[f] = reached[before, f].of(*camera[before])
        if f not in camera:
            known = [s for s in by_frame.get(f, ()) if s.item in best]
            # an object that may be turned unseen says less
            known.sort(key=lambda s: (things[s.item].axis is not None, -s.confidence))
            if known:
                camera[f] = _compose((known[0].R, known[0].t), _inverse(best[known[0].item][1]))
        if f in camera:
            for s in by_frame.get(f, ()):
                if s.item not in best or s.confidence > best[s.item][0]:
                    best[s.item] = s.confidence, _compose(_inverse(camera[f]), (s.R, s.t))
    return camera


def _voted(
    thing: Thing, own: Sequence[Seen], camera: Mapping[int, Rigid]
) -> tuple[Rigid | None, float]:
    """Where most of an object's poses put it in the world, and the share that agrees with that."""
    stands = [_compose(_inverse(camera[s.frame]), (s.R, s.t)) for s in own]
    best, most = None, 0.0
    for stand in stands[:: -(-len(stands) // LOOKS) or 1]:
        agree = sum(thing.apart(stand, other) < AGREE for other in stands) / len(stands)
        if agree > most:
            best, most = stand, agree
    return best, most


def _refine(
    camera: dict[int, Rigid],
    place: dict[int, Rigid],
    things: Mapping[int, Thing],
    seen: Sequence[Seen],
    ways: Sequence[tuple[int, int, Motion]],
) -> None:
    """Camera and arrangement together, in place."""
    order, items = sorted(camera), sorted(place)
    ways = [w for w in ways if w[0] in camera and w[1] in camera]
    slot = {f: i for i, f in enumerate(order)}
    post = {i: len(order) + k for k, i in enumerate(items)}
    start = [camera[f] for f in order] + [place[i] for i in items]
    R0, t0 = np.array([p[0] for p in start]), np.array([p[1] for p in start])
    centre = np.array([things[i].centre for i in items])
    t0[len(order) :] += np.einsum("nij,nj->ni", R0[len(order) :], centre)  # of their middles
    weight = np.sqrt([s.confidence for s in seen])[:, None]
    at, of = np.array([slot[s.frame] for s in seen]), np.array([post[s.item] for s in seen])
    measured = np.array([s.R for s in seen])
    middle = np.array([s.R @ things[s.item].centre + s.t for s in seen])
    scale = np.array([SHIFT * things[s.item].diameter for s in seen])[:, None]
    kinds = {i: np.nonzero(of == post[i])[0] for i in items}
    a, b = np.array([(slot[w[0]], slot[w[1]]) for w in ways], int).reshape(-1, 2).T
    way_R = np.array([w[2].R for w in ways]).reshape(-1, 3, 3)
    way_t = np.array([w[2].t for w in ways]).reshape(-1, 3)

    def poses(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step = np.concatenate((np.zeros(6), x)).reshape(-1, 6)  # the first frame is the world
        return Rotation.from_rotvec(step[:, :3]).as_matrix() @ R0, t0 + step[:, 3:]

    def residuals(x: np.ndarray) -> np.ndarray:
        R, t = poses(x)
        turned = R[at] @ R[of]
        shift = (np.einsum("nij,nj->ni", R[at], t[of]) + t[at] - middle) / scale
        turn = np.zeros_like(shift)
        for i, rows in kinds.items():
            turn[rows] = things[i].turn(measured[rows], turned[rows]) / TURN
        both = way_R @ R[a]
        walked = Rotation.from_matrix(R[b].transpose(0, 2, 1) @ both).as_rotvec() / CAMERA_TURN
        went = (np.einsum("nij,nj->ni", way_R, t[a]) + way_t - t[b]) / CAMERA_SHIFT_M
        parts = (weight * shift, weight * turn, walked, went)
        return np.concatenate([p.ravel() for p in parts])

    count = 6 * (len(order) + len(items) - 1)
    shape = lil_matrix((6 * (len(seen) + len(ways)), count + 6), dtype=int)
    for first, pairs in ((0, (at, of)), (6 * len(seen), (a, b))):
        rows = len(pairs[0])
        for n in range(rows):
            for k in pairs:
                for line in (first + 3 * n, first + 3 * (rows + n)):
                    shape[line : line + 3, 6 * k[n] : 6 * k[n] + 6] = 1
    found = least_squares(
        residuals, np.zeros(count), jac_sparsity=shape[:, 6:], loss="cauchy", method="trf",
        x_scale=np.tile([0.01] * 3 + [0.005] * 3, count // 6), max_nfev=LOOKS,
    )  # fmt: skip
    R, t = poses(found.x)
    for f in order:
        camera[f] = R[slot[f]], t[slot[f]]
    for i in items:
        own = R[post[i]]
        place[i] = own, t[post[i]] - own @ things[i].centre
