"""Rigid pose of an object model in the camera frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from self6d.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_ROUGH = 0.03  # |R R^T - 1| taken for a rotation; annotations of LM-O are off by 0.0096


@dataclass(frozen=True, eq=False)
class Pose:
    """x_camera = R_m2c @ x_model + t_m2c (BOP's names).

    Attributes:
        R_m2c: (3, 3) float64 rotation, the nearest to the matrix given.
        t_m2c: (3,) float64, metres.
        R_stated: (3, 3) float64, the matrix as it was given: BOP's errors are taken with it.
    """

    R_m2c: np.ndarray
    t_m2c: np.ndarray
    R_stated: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        R = np.asarray(self.R_m2c, dtype=np.float64).reshape(3, 3)
        t = np.asarray(self.t_m2c, dtype=np.float64).reshape(3)
        if not (np.isfinite(R).all() and np.isfinite(t).all()):
            raise InputError("pose holds numbers that are not finite")
        if np.abs(R @ R.T - np.eye(3)).max() > _ROUGH or np.linalg.det(R) < 0:
            raise InputError(
                "pose holds a matrix that is not a rotation",
                remedy="Its rows must be orthonormal and its determinant +1.",
            )
        object.__setattr__(self, "R_stated", R)
        u, _, vt = np.linalg.svd(R)  # files round to a few digits
        object.__setattr__(self, "R_m2c", u @ vt)
        object.__setattr__(self, "t_m2c", t)

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) float64 homogeneous matrix."""
        m = np.eye(4)
        m[:3, :3], m[:3, 3] = self.R_m2c, self.t_m2c
        return m

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Model points (N, 3), metres, to the camera frame."""
        return points @ self.R_m2c.T + self.t_m2c


def transform(points: Tensor, R: Tensor, t: Tensor) -> Tensor:
    """R x + t for batches.

    Args:
        points: (N, 3) or (B, N, 3), metres, model frame.
        R: (B, 3, 3). t: (B, 3), metres.

    Returns:
        (B, N, 3), metres, camera frame.
    """
    return points @ R.transpose(-1, -2) + t.unsqueeze(-2)
