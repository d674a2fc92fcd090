"""Arrangements of the sample's table: where things lie, lamps with shadows, the camera's path.

World frame: metres, z up, the table top is z = 0. Every draw comes from the generator passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.spatial import ConvexHull

from self6d.sample.raster import rasterise
from self6d.sample.surfaces import FAST, MOTTLED
from self6d.sample.things import REAL_PAINT, Material, Solid, clutter, hand_solid

SHADOW_SIZE = 1024
SHADOW_REACH = 0.62  # metres about the table centre that the shadow maps cover


@dataclass(frozen=True, eq=False)
class SampleWorld:
    """An arrangement, packed for the shader (its argument names), and where the objects are.

    Attributes:
        object_pose: object id -> (R (3, 3), t (3,)), object to world.
        object_faces: object id -> slice of the packed faces.
    """

    corner: np.ndarray
    normal: np.ndarray
    color: np.ndarray
    local: np.ndarray
    material_of: np.ndarray
    materials: np.ndarray
    accent: np.ndarray
    label_frame: np.ndarray
    table_style: np.ndarray
    light_position: np.ndarray
    light_color: np.ndarray
    light_rotation: np.ndarray
    light_focal: float
    shadow: np.ndarray
    ambient: np.ndarray
    object_pose: dict[int, tuple[np.ndarray, np.ndarray]]
    object_faces: dict[int, slice]


@njit(**FAST)
def _corner_normals(vertices, faces, limit):
    """Normal of every face corner: mean over its vertex's faces within `limit` (a cosine)."""
    count = np.zeros(len(vertices) + 1, np.int64)
    plane = np.zeros((len(faces), 3))
    unit = np.zeros((len(faces), 3))
    for f in range(len(faces)):  # numbers alone: np.cross, a sum, a row take seconds to compile
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, vx = vertices[j, 0] - vertices[i, 0], vertices[k, 0] - vertices[i, 0]
        uy, vy = vertices[j, 1] - vertices[i, 1], vertices[k, 1] - vertices[i, 1]
        uz, vz = vertices[j, 2] - vertices[i, 2], vertices[k, 2] - vertices[i, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = math.sqrt(x * x + y * y + z * z) + 1e-18
        plane[f, 0], plane[f, 1], plane[f, 2] = x, y, z
        unit[f, 0], unit[f, 1], unit[f, 2] = x / length, y / length, z / length
        for k in range(3):
            count[faces[f, k] + 1] += 1
    start = np.zeros(len(vertices) + 1, np.int64)
    fill = np.zeros(len(vertices) + 1, np.int64)
    for v in range(1, len(vertices) + 1):
        start[v] = start[v - 1] + count[v]
        fill[v] = start[v]
    around = np.zeros(3 * len(faces), np.int64)
    for f in range(len(faces)):
        for k in range(3):
            around[fill[faces[f, k]]] = f
            fill[faces[f, k]] += 1
    out = np.zeros((len(faces), 3, 3))
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            for i in range(start[v], start[v + 1]):
                g = around[i]
                if (
                    unit[f, 0] * unit[g, 0] + unit[f, 1] * unit[g, 1] + unit[f, 2] * unit[g, 2]
                ) > limit:
                    for n in range(3):
                        out[f, k, n] += plane[g, n]
            x, y, z = out[f, k, 0], out[f, k, 1], out[f, k, 2]
            length = math.sqrt(x * x + y * y + z * z) + 1e-18
            for n in range(3):
                out[f, k, n] /= length
    return out


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A rotation that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), float(a @ b)
    if c < -0.999999:
        other = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        other /= np.linalg.norm(other)
        return 2 * np.outer(other, other) - np.eye(3)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def turn_z(angle: float) -> np.ndarray:
    """Rotation about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Uniform on SO(3)."""
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def resting_rotations(vertices: np.ndarray) -> list[np.ndarray]:
    """Rotations in which a solid of even density rests on the table, one for each kind of side."""
    hull = ConvexHull(vertices)
    normal, offset = hull.equations[:, :3], hull.equations[:, 3]
    centre = vertices[hull.vertices].mean(0)
    distance = -(normal @ centre + offset)
    # a side is stable if the plumb line from the centre leaves the hull through it
    cosine = normal @ normal.T
    along = np.where(cosine > 1e-6, distance[None] / np.maximum(cosine, 1e-6), np.inf)
    stable = normal[distance <= along.min(1) + 1e-7]
    kinds: list[np.ndarray] = []
    for n in stable:
        if all(n @ k < 0.9 for k in kinds):
            kinds.append(n)
    return [rotation_between(n, np.array([0, 0, -1.0])) for n in kinds]


class _Packer:
    """Collects solids of a world into the shader's arrays."""

    def __init__(self) -> None:
        self.parts: list[tuple[np.ndarray, ...]] = []
        self.materials: list[Material] = []
        self.faces = 0

    def add(self, solid: Solid, material: Material, R: np.ndarray, t: np.ndarray) -> slice:
        vertices = solid.vertices @ R.T + t
        normal = _corner_normals(vertices, solid.faces, np.cos(np.radians(38)))
        index = np.full(len(solid.faces), len(self.materials), np.int32)
        f = solid.faces
        self.parts.append((vertices[f], normal, solid.colors[f], solid.vertices[f], index))
        self.materials.append(material)
        self.faces += len(f)
        return slice(self.faces - len(f), self.faces)

    def arrays(self) -> dict[str, np.ndarray]:
        corner, normal, color, local, material_of = (
            np.concatenate(p) for p in zip(*self.parts, strict=True)
        )
        m = self.materials
        return {
            "corner": corner, "normal": normal, "color": color, "local": local,
            "material_of": material_of,
            "materials": np.array(
                [(x.kind, x.gloss, x.shine, x.dirt, x.label, x.scale) for x in m]
            ),
            "accent": np.array([x.accent for x in m]),
            "label_frame": np.array([x.label_frame for x in m]),
        }  # fmt: skip


def _place(
    rng: np.random.Generator, taken: list[tuple[float, float, float]], radius: float, reach: float,
    gap: float,
) -> np.ndarray | None:  # fmt: skip
    """A free spot of the table for a footprint of `radius`, within `reach` of the centre."""
    for _ in range(60):
        a, d = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        x, y = d * np.cos(a), d * np.sin(a)
        if all(np.hypot(x - u, y - v) > gap * (radius + r) for u, v, r in taken):
            taken.append((x, y, radius))
            return np.array([x, y])
    return None


def arrange(
    objects: dict[int, Solid],
    resting: dict[int, list[np.ndarray]],
    rng: np.random.Generator,
    covering: int,
) -> SampleWorld:
    """A random arrangement of the table.

    Args:
        objects: object id -> solid with its CAD colours (linear).
        resting: object id -> its `resting_rotations`.
        rng: source of every draw. covering: number of the table covering.
    """
    packer = _Packer()
    pose: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    faces: dict[int, slice] = {}
    taken: list[tuple[float, float, float]] = []
    held = int(rng.choice([*objects])) if rng.uniform() < 0.35 else None
    for object_id in rng.permutation([*objects]).tolist():
        solid = objects[object_id]
        if object_id == held:
            R, height = random_rotation(rng), rng.uniform(0.09, 0.15)
        else:
            rest = resting[object_id]
            R = turn_z(rng.uniform(0, 2 * np.pi)) @ rest[rng.integers(len(rest))]
            height = -(solid.vertices @ R[2]).min()
        radius = float(np.linalg.norm((solid.vertices @ R.T)[:, :2], axis=1).max())
        spot = None
        reach = 0.12
        while spot is None:
            spot, reach = _place(rng, taken, radius, reach, 0.95), reach * 1.15
        t = np.array([*spot, height])
        tint, fade, material = REAL_PAINT[object_id]
        real = Solid(solid.vertices, solid.faces, solid.colors @ tint.T + fade)
        faces[object_id] = packer.add(real, material, R, t)
        pose[object_id] = (R, t)
        if object_id == held:
            _hold(packer, rng, solid, t)
    for _ in range(rng.integers(5, 10)):
        thing, material = clutter(rng)
        R = turn_z(rng.uniform(0, 2 * np.pi))
        radius = float(np.linalg.norm(thing.vertices[:, :2], axis=1).max())
        where = _place(rng, taken, radius, 0.36, 0.92)
        if where is not None:
            packer.add(thing, material, R, np.array([*where, -thing.vertices[:, 2].min()]))
    packed: dict[str, Any] = packer.arrays()
    return SampleWorld(
        **packed, **_lamps(packed["corner"], rng), table_style=_table_style(rng, covering),
        object_pose=pose, object_faces=faces,
    )  # fmt: skip


def _hold(packer: _Packer, rng: np.random.Generator, solid: Solid, t: np.ndarray) -> None:
    """A hand that holds an object at t, reaching in from the side away from the table's centre."""
    outward = np.arctan2(t[1], t[0]) + rng.uniform(-0.8, 0.8)
    R = turn_z(outward + np.pi) @ np.array([[1, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    grip = 0.30 * np.linalg.norm(np.ptp(solid.vertices, axis=0))
    skin = np.array([0.56, 0.30, 0.20]) * rng.uniform(0.35, 1.1)
    hand = hand_solid()
    hand = Solid(hand.vertices, hand.faces, np.broadcast_to(skin, hand.vertices.shape))
    material = Material(MOTTLED, 0.08, 12, scale=60, accent=tuple((skin * 0.7).tolist()))
    away = np.array([np.cos(outward), np.sin(outward), rng.uniform(-0.2, 0.1)])
    packer.add(hand, material, R, t + grip * away)


def _table_style(rng: np.random.Generator, covering: int) -> np.ndarray:
    palette = {
        0: ((0.20, 0.10, 0.05), (0.42, 0.25, 0.13), 0.12),
        1: ((0.60, 0.58, 0.52), (0.32, 0.06, 0.07), 0.0),
        2: ((0.16, 0.17, 0.18), (0.55, 0.55, 0.52), 0.18),
        3: ((0.02, 0.12, 0.10), (0.45, 0.50, 0.30), 0.05),
    }
    dark, light, gloss = palette[covering % 4]
    shift = rng.uniform(0.8, 1.25, 3)
    return np.array([covering % 4, *(np.array(dark) * shift), *(np.array(light) * shift), gloss])


def _lamps(corner: np.ndarray, rng: np.random.Generator) -> dict:
    """A warm desk lamp near the table and a cool window, both with hard shadows."""
    a = 0.9 + rng.uniform(-0.5, 0.5)
    lamp = np.array([0.62 * np.cos(a), 0.62 * np.sin(a), rng.uniform(0.62, 0.85)])
    window = np.array([1.5, -0.6, 1.2]) + rng.uniform(-0.15, 0.15, 3)
    position = np.stack((lamp, window))
    color = np.stack(
        (np.array([1.0, 0.66, 0.36]) * rng.uniform(1.0, 1.5), np.array([0.62, 0.82, 1.0]) * 1.9)
    )
    rotation, shadow = [], []
    focal = 0.5 * SHADOW_SIZE / SHADOW_REACH
    for p in position:
        R = look_at(p, np.array([0, 0, 0.04]), 0.0)[0]
        seen = ((corner - p) @ R.T).astype(np.float32)
        half = SHADOW_SIZE / 2
        shadow.append(rasterise(seen, focal, focal, half, half, SHADOW_SIZE, SHADOW_SIZE)[0])
        rotation.append(R)
    return {
        "light_position": position, "light_color": color, "light_rotation": np.stack(rotation),
        "light_focal": focal, "shadow": np.stack(shadow),
        "ambient": np.array([0.28, 0.31, 0.37]) * rng.uniform(0.8, 1.2),
    }  # fmt: skip


def look_at(eye: np.ndarray, target: np.ndarray, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """SampleWorld-to-camera R (3, 3), t (3,) of an OpenCV camera at `eye`."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    R = turn_z(roll) @ np.stack((x, np.cross(z, x), z))
    return R, -R @ eye


class CameraPath:
    """A hand that carries the camera round the table, smooth in time and never the same twice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.phase = rng.uniform(0, 2 * np.pi, (6, 3))
        self.rate = rng.uniform(0.6, 1.5, (6, 3)) * np.array([0.021, 0.067, 0.29])
        self.start = rng.uniform(0, 2 * np.pi)

    def __call__(self, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """SampleWorld-to-camera R (3, 3), t (3,) at a (fractional) frame number."""
        waves = np.sin(2 * np.pi * self.rate * frame + self.phase) @ np.array([0.55, 0.35, 0.1])
        azimuth = self.start + 0.092 * frame + 0.25 * waves[0]
        elevation = np.radians(41 + 19 * waves[1])
        distance = 0.56 + 0.17 * waves[2]
        target = np.array([0.05 * waves[3], 0.05 * waves[4], 0.045])
        eye = target + distance * np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        return look_at(eye, target, 0.16 * waves[5])
