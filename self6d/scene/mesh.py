"""An object's CAD model, ready for rendering and for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from self6d.errors import InputError

OTHER_SIZE = 0.05  # of the diameter: boxes that differ by more are not of one thing


@dataclass(frozen=True)
class Symmetry:
    """Rotational symmetry of a model: every transform that leaves it looking the same.

    Attributes:
        discrete: (S, 4, 4) float64, metres, the identity not included.
        axes: (C, 3) float64, unit axes of continuous symmetry.
        offsets: (C, 3) float64, metres, a point on each axis.
    """

    discrete: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))
    axes: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    offsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def __bool__(self) -> bool:
        return len(self.discrete) > 0 or len(self.axes) > 0

    def transforms(self, steps: int = 64) -> np.ndarray:
        """All symmetry transforms, continuous ones sampled, as (S, 4, 4) float64, identity first.

        Args:
            steps: samples of a full turn about each continuous axis.
        """
        base = [np.eye(4), *self.discrete]
        turns = [np.eye(4)]
        for axis, offset in zip(self.axes, self.offsets, strict=True):
            k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
            for angle in 2 * np.pi * np.arange(1, steps) / steps:
                m = np.eye(4)
                m[:3, :3] += np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
                m[:3, 3] = offset - m[:3, :3] @ offset
                turns.append(m)
        return np.stack([turn @ b for b in base for turn in turns])

    def nearest(
        self, R: np.ndarray, t: np.ndarray, R_near: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of all poses that look like (R, t) the one turned least from another rotation.

        About a continuous axis the turn is exact: tr(R_near^T R S(phi)) is greatest at phi =
        atan2(tr(M [a]x), tr M - a^T M a) with M = R_near^T R.

        Args:
            R, R_near: (3, 3), model to camera. t: (3,), metres.

        Returns:
            R (3, 3) and t (3,), metres.
        """
        best = R, t
        if len(self.axes) > 1:  # a sphere: no turn shows
            return R_near, t + (R - R_near) @ self.offsets[0]
        for same in (np.eye(4), *self.discrete):
            turned, moved = R @ same[:3, :3], R @ same[:3, 3] + t
            for axis, offset in zip(self.axes, self.offsets, strict=True):
                M = R_near.T @ turned
                k = np.cross(axis, np.eye(3)).T  # [a]x
                angle = np.arctan2(np.trace(M @ k), np.trace(M) - axis @ M @ axis)
                S = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
                moved = moved + turned @ (offset - S @ offset)
                turned = turned @ S
            if np.trace(R_near.T @ turned) > np.trace(R_near.T @ best[0]) + 1e-9:
                best = turned, moved
        return best


@dataclass(frozen=True, eq=False)
class ObjectModel:
    """Triangle mesh with colour.

    Attributes:
        object_id: BOP object number, the class label everywhere.
        name: name shown to people.
        vertices: (V, 3) float32, metres, model frame.
        faces: (F, 3) int32.
        colors: (V, 3) float32 in [0, 1], sRGB; grey where the file has none.
        diameter: largest distance between two vertices, metres.
        symmetry: transforms that leave the object looking the same.
        uv: (F, 3, 2) float32 per face corner, v upwards, origin bottom left; None without texture.
        texture: (Th, Tw, 3) uint8 sRGB, first row on top; None without texture.
        has_color: False where the file had neither colours nor texture (colour terms are no use).
        source: the file it came from.
        unit: the unit its file was read in, by name.
        guessed_unit: the same, where nothing stated or named one; else None.
        points: (P, 3) float64, metres, every vertex a PLY file lists, as BOP's errors take them:
            doubles, and those that no face uses, included. None: `vertices`.
    """

    object_id: int
    name: str
    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    diameter: float
    symmetry: Symmetry = field(default_factory=Symmetry)
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    has_color: bool = True
    source: Path | None = None
    unit: str = "mm"
    guessed_unit: str | None = None
    points: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or len(self.vertices) < 3:
            raise InputError("mesh has no vertices", path=self.source, remedy="Export it again.")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or len(self.faces) < 1:
            raise InputError(
                "mesh has no faces",
                path=self.source,
                remedy="Export it as a triangle mesh, not as a point cloud.",
            )
        if not np.isfinite(self.vertices).all():
            raise InputError("mesh has vertices that are not finite", path=self.source)
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise InputError("mesh has faces that name missing vertices", path=self.source)
        if self.colors.shape != self.vertices.shape:
            raise InputError("mesh has not one colour a vertex", path=self.source)

    @property
    def symmetric(self) -> bool:
        """Whether the field's convention scores it with ADD-S."""
        return bool(self.symmetry)

    @property
    def error_points(self) -> np.ndarray:
        """(P, 3) float64, metres: what pose errors are taken over."""
        return self.vertices.astype(np.float64) if self.points is None else self.points

    @property
    def extents(self) -> np.ndarray:
        """(2, 3) float32, metres: lowest and highest corner of the axis-aligned box."""
        return np.stack((self.vertices.min(0), self.vertices.max(0)))


class _Measured(Protocol):
    @property
    def extents(self) -> np.ndarray: ...

    @property
    def diameter(self) -> float: ...


def of_one_size(one: _Measured, other: _Measured) -> bool:
    """Whether two meshes can be of one thing, simplified or not: in the same unit and origin.

    Args:
        one, other: extents (2, 3), the lowest and the highest corner, and diameter, metres.
    """
    room = OTHER_SIZE * max(one.diameter, other.diameter)
    apart = float(np.abs(np.asarray(one.extents) - np.asarray(other.extents)).max())
    return apart <= room and abs(one.diameter - other.diameter) <= room
