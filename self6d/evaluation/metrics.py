"""Pose errors of the field, for batches of pose pairs.

Convention: pair i is an estimate (R[i], t[i]) and a truth (R_true[i], t_true[i]), model to camera.
Arrays are numpy, (B, 3, 3) and (B, 3); lengths are metres (any unit works if all share it); one
object model per call. A pose that is not finite is infinitely far from any other. Symmetries are
(S, 4, 4) transforms, identity included (`Symmetry.transforms`; BOP samples a continuous axis with
`BOP_SYMMETRY_STEPS` turns).

Sources: ADD, ADD-S [Hinterstoisser et al., ACCV 2012; Self6D, equations 12 and 13]; MSSD, MSPD
[Hodan et al., BOP Challenge 2020 on 6D Object Localization, ECCVW 2020]; 2D projection [Brachmann
et al., CVPR 2016]; area under the curve [Xiang et al., PoseCNN, RSS 2018].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from self6d.errors import InputError
from self6d.evaluation import kernels
from self6d.evaluation.kernels import over_pairs
from self6d.evaluation.nearest import PointTree
from self6d.scene import Symmetry

BOP_SYMMETRY_STEPS = 315  # ceil(pi / 0.01): BOP lets no point move over 1 % of the diameter a step


def pose_pairs(
    R: ArrayLike, t: ArrayLike, R_true: ArrayLike, t_true: ArrayLike
) -> list[np.ndarray]:
    """Contiguous float64 copies of one length: R as (B, 3, 3), t as (B, 3).

    A single pose, or a batch of one, is set against each of the others.

    Raises:
        InputError: another shape, or batches of different lengths.
    """
    arrays = {
        "R": (R, (3, 3)),
        "t": (t, (3,)),
        "R_true": (R_true, (3, 3)),
        "t_true": (t_true, (3,)),
    }
    out = {}
    for name, (given, shape) in arrays.items():
        array = np.asarray(given, np.float64)
        if shape == (3,) and array.shape[-2:] == (3, 1):  # BOP's toolkit has t as a column
            array = array[..., 0]
        if array.shape[-len(shape) :] != shape or array.ndim > len(shape) + 1:
            raise InputError(
                f"{name} has the shape {array.shape}, not {('B', *shape)}".replace("'", "")
            )
        out[name] = array.reshape(-1, *shape)
    counts = {name: len(array) for name, array in out.items()}
    longest = max(counts.values()) if 0 not in counts.values() else 0
    if any(count not in (1, longest) for count in counts.values()):
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"poses do not pair up: {told}")
    return [np.array(np.broadcast_to(a, (longest, *a.shape[1:])), order="C") for a in out.values()]


def _where_finite(error: Callable[..., np.ndarray], *per_pair: np.ndarray) -> np.ndarray:
    """error(*per_pair) of the pairs that are numbers throughout; of all others infinity: a miss."""
    known = np.all([np.isfinite(a).reshape(len(a), -1).all(1) for a in per_pair], axis=0)
    found = error(*(np.ascontiguousarray(a[known]) for a in per_pair))
    out = np.full((len(known), *found.shape[1:]), np.inf)
    out[known] = found
    return out


def add(
    R: ArrayLike, t: ArrayLike, R_true: ArrayLike, t_true: ArrayLike, points: ArrayLike
) -> np.ndarray:
    """ADD = avg_x ||(R x + t) - (R* x + t*)|| (Self6D, equation 12).

    Args:
        points: (N, 3), model frame.

    Returns:
        (B,) float64.
    """
    R, t, R_true, t_true = pose_pairs(R, t, R_true, t_true)
    at = _points(points)
    return _where_finite(
        lambda A, b: over_pairs(kernels.mean_distance, len(A), A, b, at), R - R_true, t - t_true
    )


def add_s(
    R: ArrayLike, t: ArrayLike, R_true: ArrayLike, t_true: ArrayLike, points: ArrayLike
) -> np.ndarray:
    """ADD-S = avg_x1 min_x2 ||(R* x1 + t*) - (R x2 + t)|| (Self6D, equation 13; BOP's ADI).

    Moves the true points into the estimate's model frame, so that one search tree serves all pairs;
    an R that is not quite a rotation, such as a rounded one, has a tree of its own.

    Returns:
        (B,) float64.
    """
    points = np.asarray(points, np.float64)
    return _where_finite(lambda *pairs: _add_s(points, *pairs), *pose_pairs(R, t, R_true, t_true))


def _add_s(
    points: np.ndarray, R: np.ndarray, t: np.ndarray, R_true: np.ndarray, t_true: np.ndarray
) -> np.ndarray:
    back = np.swapaxes(R, -1, -2)
    move = np.einsum("bij,bj->bi", back, t_true - t)
    out = PointTree(points).mean_nearest(back @ R_true, move)
    for i in np.flatnonzero(np.abs(back @ R - np.eye(3)).max((1, 2)) > 1e-9):
        there = R_true[i] @ np.linalg.inv(R[i])
        placed = PointTree(points @ R[i].T + t[i])
        out[i] = placed.mean_nearest(there[None], (t_true[i] - there @ t[i])[None])[0]
    return out


def add_or_add_s(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    points: ArrayLike,
    symmetric: bool,
) -> np.ndarray:
    """ADD(-S): ADD-S for a symmetric object, ADD for any other, (B,) float64."""
    return (add_s if symmetric else add)(R, t, R_true, t_true, points)


def mssd(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    points: ArrayLike,
    symmetries: ArrayLike,
) -> np.ndarray:
    """MSSD = min_S max_x ||(R x + t) - (R* S x + t*)||.

    Returns:
        (B,) float64.
    """
    S = np.ascontiguousarray(np.asarray(symmetries, np.float64).reshape(-1, 4, 4))
    at = _points(points)
    return _where_finite(
        lambda *pairs: over_pairs(kernels.max_distance, len(pairs[0]), *pairs, at, S),
        *pose_pairs(R, t, R_true, t_true),
    )


def mspd(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    K: ArrayLike,
    points: ArrayLike,
    symmetries: ArrayLike,
) -> np.ndarray:
    """MSPD = min_S max_x ||proj(R x + t) - proj(R* S x + t*)||.

    Args:
        K: (3, 3) or (B, 3, 3), pixels; where the origin of pixel coordinates lies does not matter.

    Returns:
        (B,) float64, pixels of the image K belongs to.
    """
    S = np.ascontiguousarray(np.asarray(symmetries, np.float64).reshape(-1, 4, 4))
    at = _points(points)
    pairs = pose_pairs(R, t, R_true, t_true)
    return _where_finite(
        lambda *pairs: over_pairs(kernels.max_projection, len(pairs[0]), *pairs, at, S),
        *pairs,
        _cameras(K, len(pairs[0])),
    )


def projection_2d(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    K: ArrayLike,
    points: ArrayLike,
) -> np.ndarray:
    """Mean distance of projected model points (Brachmann et al.); usually counted below 5 pixels.

    Returns:
        (B,) float64, pixels.
    """
    pairs = pose_pairs(R, t, R_true, t_true)
    at = _points(points)
    return _where_finite(
        lambda *pairs: over_pairs(kernels.mean_projection, len(pairs[0]), *pairs, at),
        *pairs,
        _cameras(K, len(pairs[0])),
    )


def _points(points: ArrayLike) -> np.ndarray:
    """A copy: loops would be compiled once more for an array that must not be written to."""
    return np.array(points, np.float64, order="C")


def _cameras(K: ArrayLike, count: int) -> np.ndarray:
    return np.array(np.broadcast_to(np.asarray(K, np.float64), (count, 3, 3)), order="C")


def rotation_translation_errors(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    symmetry: Symmetry | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Geodesic angle and Euclidean distance to the nearest pose that looks the same.

    The angle is exact for a continuous axis a: of the relative rotation's quaternion (w, v), turns
    about a leave 2 acos sqrt(w^2 + (v . a)^2). The distance is to the translation of that pose.

    Args:
        symmetry: of the model; None or empty compares with the truth itself. With several
            continuous axes (a ball) the angle is to the best turn about one of them.

    Returns:
        angle (B,) float64, degrees; distance (B,) float64, the poses' unit.
    """
    symmetry = symmetry or Symmetry()
    both = _where_finite(
        lambda *pairs: np.stack(_angle_and_distance(symmetry, *pairs), 1),
        *pose_pairs(R, t, R_true, t_true),
    )
    return both[:, 0], both[:, 1]


def _angle_and_distance(
    symmetry: Symmetry, R: np.ndarray, t: np.ndarray, R_true: np.ndarray, t_true: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    best = np.full(len(R), np.inf)
    distance = np.full(len(R), np.inf)
    axes: list = [*zip(symmetry.axes, symmetry.offsets, strict=True)] or [None]
    for base in (np.eye(4), *symmetry.discrete):
        # angle of (turn base)^T R*^T R = angle of turn^T (R*^T R base^T): conjugation keeps angles
        relative = np.swapaxes(R_true, -1, -2) @ R @ base[:3, :3].T
        w, v = _quaternion(relative)
        for axis in axes:
            if axis is None:
                cosine, rest = np.abs(w), v
                shift = np.broadcast_to(base[:3, 3], (len(R), 3))
            else:
                a, offset = axis
                twist = v @ a
                cosine, rest = np.hypot(w, twist), v - twist[:, None] * a
                turn = _about(a, 2 * np.arctan2(twist, w))
                shift = np.einsum("bij,j->bi", turn, base[:3, 3] - offset) + offset
            angle = 2 * np.arctan2(np.linalg.norm(rest, axis=-1), cosine)
            equal = t_true + np.einsum("bij,bj->bi", R_true, shift)
            nearer = angle < best
            best = np.where(nearer, angle, best)
            distance = np.where(nearer, np.linalg.norm(t - equal, axis=-1), distance)
    return np.degrees(best), distance


def _quaternion(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 3, 3) -> w (B,), v (B, 3), unit."""
    q = Rotation.from_matrix(R).as_quat()
    return q[:, 3], q[:, :3]


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations (B, 3, 3) about one axis by angles (B,), radians."""
    return Rotation.from_rotvec(angle[:, None] * np.asarray(axis)).as_matrix()


def recall(errors: ArrayLike, threshold: ArrayLike) -> float:
    """Share of errors below the threshold; infinite errors are misses; 0 without any error."""
    errors = np.asarray(errors, np.float64)
    return float((errors < threshold).mean()) if errors.size else 0.0


def area_under_curve(errors: ArrayLike, limit: float = 0.1) -> float:
    """Area under recall against threshold, from 0 to `limit` (10 cm), over `limit` (PoseCNN).

    The curve is a step function, so the area is avg max(0, 1 - e / limit).
    """
    errors = np.asarray(errors, np.float64)
    return float(np.maximum(0, 1 - errors / limit).mean()) if errors.size else 0.0


def angle_error(q: ArrayLike, q_true: ArrayLike) -> np.ndarray:
    """2 acos |q . q*|, degrees, (B,) from unit quaternions (B, 4) (Cropped LineMOD, Table 4)."""
    q, q_true = np.asarray(q, np.float64), np.asarray(q_true, np.float64)
    return np.degrees(2 * np.arccos(np.clip(np.abs((q * q_true).sum(-1)), 0, 1)))


def class_accuracy_and_angle(
    classes: Sequence[int], classes_true: Sequence[int], q: ArrayLike, q_true: ArrayLike
) -> tuple[float, float]:
    """Class accuracy in [0, 1] and mean angle error, degrees, of what was classified right.

    Cropped LineMOD's figures (Bousmalis et al., DSN, NeurIPS 2016; Self6D, Table 4).

    Args:
        classes, classes_true: (B,) object numbers. q, q_true: (B, 4) unit quaternions wxyz.
    """
    right = np.asarray(classes) == np.asarray(classes_true)
    angle = angle_error(q, q_true)[right]
    return float(right.mean()), float(angle.mean()) if len(angle) else float("nan")
