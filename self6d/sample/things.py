"""Things on the sample's table: solids, materials, and the paint and print of the real objects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.spatial import ConvexHull

from self6d.sample import solids
from self6d.sample.surfaces import CHECKER, MOTTLED, PLAIN, PRINT, STRIPES


@dataclass(frozen=True, eq=False)
class Solid:
    """A mesh in its own frame: vertices (V, 3) metres, faces (F, 3), colors (V, 3) linear."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class Material:
    """One row of the shader's table; see `sample_surfaces` for the patterns."""

    kind: int = PLAIN
    gloss: float = 0.1
    shine: float = 30.0
    dirt: float = 0.0
    label: int = -1
    scale: float = 30.0
    accent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    label_frame: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),) * 4


@cache
def hand_solid() -> Solid:
    """A gripping hand and forearm: the palm at the origin, the arm along -x, fingers to +x."""

    def distance(p: np.ndarray) -> np.ndarray:
        fingers = []
        for k in range(4):
            y = 0.033 - 0.022 * k
            knuckle, middle, tip = (0.03, y, 0.0), (0.068, y, 0.034), (0.088, 0.8 * y, -0.012)
            fingers.append(solids.capsule(p, knuckle, middle, 0.0095))
            fingers.append(solids.capsule(p, middle, tip, 0.0085))
        thumb = solids.capsule(p, (0.0, 0.035, -0.01), (0.065, 0.05, -0.03), 0.0105)
        palm = solids.ellipsoid(p, (0.0, 0.0, 0.0), (0.05, 0.044, 0.019))
        arm = solids.capsule(p, (-0.05, 0.0, 0.0), (-0.30, 0.0, -0.02), 0.028)
        return solids.union(palm, thumb, arm, *fingers, blend=0.008)

    vertices, faces = solids.mesh_from_distance(
        distance, (-0.35, -0.07, -0.07), (0.12, 0.08, 0.07), 0.0065
    )
    return Solid(vertices, faces, np.zeros_like(vertices))


def _block(size: np.ndarray) -> Solid:
    v = (np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T - 0.5) * size
    faces = ConvexHull(v).simplices
    flip = (np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])
            * v[faces].mean(1)).sum(1) < 0  # fmt: skip
    faces = np.where(flip[:, None], faces[:, ::-1], faces)
    return Solid(v, faces.astype(np.int32), np.zeros_like(v))


def _turned(profile: list[tuple[float, float]], round_by: float) -> Solid:
    corners = np.array([(0, profile[0][1]), *profile, (0, profile[-1][1])], float)
    vertices, faces = solids.lathe(solids.fillet(corners, round_by), 28)
    vertices[:, 2] -= (vertices[:, 2].min() + vertices[:, 2].max()) / 2
    return Solid(vertices, faces, np.zeros_like(vertices))


def _paint(rng: np.random.Generator) -> np.ndarray:
    """An everyday colour: mostly dull."""
    grey = rng.uniform(0.03, 0.7)
    return grey + rng.uniform(0.1, 0.9) * (rng.uniform(0.02, 0.7, 3) - grey)


def clutter(rng: np.random.Generator) -> tuple[Solid, Material]:
    """A thing that is on desks: packet, book, can, mug, ball, pen, bowl."""
    hue, other = _paint(rng), _paint(rng)
    shape = rng.integers(7)
    kinds: tuple[int, ...] = (PLAIN, STRIPES, CHECKER, MOTTLED, PRINT)
    if shape == 0:
        solid = _block(rng.uniform((0.05, 0.03, 0.07), (0.09, 0.06, 0.15)))
        kinds = (PRINT, STRIPES, PRINT)
    elif shape == 1:
        solid = _block(rng.uniform((0.12, 0.09, 0.012), (0.18, 0.13, 0.035)))
        kinds = (PRINT, PLAIN, MOTTLED)
    elif shape == 2:
        r, h = rng.uniform(0.025, 0.036), rng.uniform(0.07, 0.12)
        solid = _turned([(r * 0.9, 0), (r, 0.004), (r, h - 0.006), (r * 0.9, h)], 0.003)
    elif shape == 3:
        r, h = rng.uniform(0.033, 0.043), rng.uniform(0.07, 0.095)
        solid = _turned(
            [(r * 0.8, 0), (r, h * 0.5), (r, h), (r - 0.004, h), (r - 0.005, 0.01)], 0.004
        )
    elif shape == 4:
        a = np.linspace(-1.45, 1.45, 14)
        r = rng.uniform(0.022, 0.036)
        solid = _turned([(r * np.cos(x), r * np.sin(x)) for x in a], 0.001)
    elif shape == 5:
        solid = _turned([(0.002, 0), (0.005, 0.012), (0.005, 0.13), (0.004, 0.14)], 0.002)
        upright = solid.vertices[:, [2, 1, 0]] * (1, -1, 1)
        solid = Solid(upright, solid.faces, solid.colors)
    else:
        solid = _turned([(0.03, 0), (0.06, 0.035), (0.057, 0.036), (0.027, 0.004)], 0.004)
    colors = np.broadcast_to(hue, solid.vertices.shape)
    material = Material(
        kind=int(rng.choice(kinds)), gloss=float(rng.uniform(0, 0.5)),
        shine=float(rng.uniform(15, 90)), scale=float(rng.uniform(30, 120)),
        accent=tuple(other.tolist()),
    )  # fmt: skip
    return Solid(solid.vertices, solid.faces, np.array(colors)), material


def label_images() -> np.ndarray:
    """Print that the CAD does not know, (3, 96, 128, 4) float32: linear ink and opacity."""
    out = np.zeros((3, 96, 128, 4), np.uint8)
    paper, stencil, sticker = out
    paper[6:90, 4:124] = (236, 228, 206, 255)
    cv2.rectangle(paper, (4, 6), (124, 26), (150, 44, 36, 255), -1)
    cv2.putText(paper, "TONIC", (24, 52), cv2.FONT_HERSHEY_DUPLEX, 0.8, (36, 40, 48, 255), 2)
    for k in range(3):
        cv2.line(paper, (18, 62 + 9 * k), (104 - 14 * k, 62 + 9 * k), (96, 96, 100, 255), 3)
    cv2.putText(stencil, "B-207", (6, 62), cv2.FONT_HERSHEY_DUPLEX, 1.2, (22, 22, 24, 255), 3)
    cv2.circle(sticker, (64, 48), 40, (238, 232, 90, 255), -1)
    cv2.putText(sticker, "1.99", (32, 58), cv2.FONT_HERSHEY_DUPLEX, 0.85, (170, 20, 30, 255), 2)
    image = out.astype(np.float32) / 255
    image[..., :3] **= 2.2
    image[..., 3] *= 0.9
    return image


# What time has done to the paint: linear albedo becomes TINT @ albedo + FADE.
REAL_PAINT: dict[int, tuple[np.ndarray, np.ndarray, Material]] = {
    1: (
        np.array([[0.86, 0.1, 0], [0.04, 0.80, 0.02], [0, 0.12, 0.56]]), np.full(3, 0.01),
        Material(gloss=0.45, shine=70, dirt=0.9, label=0, label_frame=(
            (0.034, 0, -0.051), (0, 1 / 0.026, 0), (0, 0, 1 / 0.021), (1, 0, 0))),
    ),
    2: (
        np.array([[0.62, 0.05, 0.02], [0.10, 0.66, 0.04], [0.06, 0.10, 0.9]]), np.full(3, 0.015),
        Material(gloss=0.28, shine=22, dirt=1.5, label=1, label_frame=(
            (-0.0525, 0.006, -0.01), (0, -1 / 0.022, 0), (0, 0, 1 / 0.016), (-1, 0, 0))),
    ),
    3: (
        np.array([[0.70, 0.12, 0.02], [0.08, 0.70, 0.05], [0.04, 0.14, 0.62]]), np.full(3, 0.03),
        Material(gloss=0.35, shine=45, dirt=1.1, label=2, label_frame=(
            (-0.014, -0.015, 0.004), (1 / 0.014, 0, 0), (0, 0, 1 / 0.0105), (0, -1, 0))),
    ),
}  # fmt: skip
