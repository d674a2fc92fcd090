"""Things nobody modelled: shapes put together at random, with painted pictures on them."""

from __future__ import annotations

import numpy as np
import torch
import trimesh

from self6d.scene import ObjectModel, Symmetry
from self6d.synthesis.backgrounds import paint
from self6d.synthesis.shapes.primitives import MAKERS

TEXTURE = 128  # side, pixels
DIAMETER_M = 0.15
FINEST = 0.12  # longest edge over the diameter: vertex colours and bumps need vertices
PAINTED, SPECKLED = 0.5, 0.35  # shares with a picture, with patches of colour; the rest is plain
ROUND = 0.06  # share of plain solids of revolution, whose turns cannot be seen


def generated_models(count: int, seed: int = 0) -> list[ObjectModel]:
    """Shapes to train a refiner for every object on.

    One to five boxes, cylinders, cones, rings, plates and blobs grown into each other, some bent
    and stretched. Half carry a procedural picture, projected along the axes; others patches of
    colour or one colour a part. A few are plain solids of revolution, with their symmetry.

    Args:
        count: how many. seed: same seed, same shapes.

    Returns:
        models of diameter 0.15 m, numbered from 1, at most some thousand faces each.
    """
    rng = np.random.default_rng((seed, 0x9E4E))
    g = torch.Generator().manual_seed(seed)
    pictures: list[np.ndarray] = []
    models = []
    for number in range(1, count + 1):
        if rng.random() < ROUND:
            models.append(_round(number, rng))
            continue
        vertices, faces, part = _grown(rng)
        draw = rng.random()
        uv = texture = None
        colors = np.full((len(vertices), 3), 0.75, np.float32)
        if draw < PAINTED:
            if not pictures:
                painted = paint(16, (TEXTURE, TEXTURE), g) * 255
                pictures = list(painted.round().byte().permute(0, 2, 3, 1).numpy())
            uv, texture = _projected(vertices, faces, rng), pictures.pop()
        elif draw < PAINTED + SPECKLED:
            colors = _patches(vertices, rng)
        else:
            colors = _any_colour(rng, part.max() + 1)[part]
        models.append(
            ObjectModel(
                number, f"thing {number}", vertices, faces, colors, _diameter(vertices),
                uv=uv, texture=texture,
            )
        )  # fmt: skip
    return models


def _grown(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) float32, metres; faces (F, 3) int32; which part each vertex is of (V,)."""
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(1 + int(rng.choice(5, p=[0.25, 0.3, 0.25, 0.12, 0.08]))):
        mesh = MAKERS[rng.integers(len(MAKERS))](rng)
        points = np.asarray(mesh.vertices) - np.mean(mesh.bounds, axis=0)
        points = points @ trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
        points *= rng.uniform(0.4, 1.0) / np.ptp(points, axis=0).max()
        if k:
            anchor = parts[0][0]
            points = points + anchor[rng.integers(len(anchor))] * rng.uniform(0.5, 1.1)
        parts.append((points, np.asarray(mesh.faces)))
    sizes = np.cumsum([0] + [len(p) for p, _ in parts])
    vertices = np.concatenate([p for p, _ in parts])
    faces = np.concatenate([f + s for (_, f), s in zip(parts, sizes)])
    part = np.repeat(np.arange(len(parts)), np.diff(sizes))
    scale = DIAMETER_M / _diameter(vertices)
    fine, fine_faces, source = trimesh.remesh.subdivide_to_size(
        vertices * scale, faces, FINEST * DIAMETER_M, max_iter=12, return_index=True
    )
    named = np.zeros(len(fine), dtype=int)
    named[fine_faces] = part[faces[source, 0]][:, None]
    if rng.random() < 0.5:  # bent and bumped
        waves = rng.normal(size=(4, 3)) * rng.uniform(10, 40)
        bump = np.sin(fine @ waves.T + rng.uniform(0, 2 * np.pi, 4)).mean(axis=1)
        fine = fine * (1 + rng.uniform(0.05, 0.35) * bump[:, None])
    fine = (
        fine
        * rng.uniform(0.5, 1.0, 3)
        @ trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
    )
    fine -= (fine.min(0) + fine.max(0)) / 2
    fine *= DIAMETER_M / _diameter(fine)
    return fine.astype(np.float32), fine_faces.astype(np.int32), named


def _round(number: int, rng: np.random.Generator) -> ObjectModel:
    """A plain solid of revolution about z."""
    height = np.linspace(0, rng.uniform(0.5, 2.5), 9)
    radius = np.abs(rng.uniform(0.2, 1.0, 9)).cumsum() if rng.random() < 0.3 else None
    radius = rng.uniform(0.3, 1.0, 9) if radius is None else radius / radius.max()
    radius = np.convolve(np.pad(radius, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    outline = np.concatenate(([[0, 0]], np.stack((radius, height), 1), [[0, height[-1]]]))
    mesh = trimesh.creation.revolve(outline, sections=32)
    vertices = np.asarray(mesh.vertices)
    vertices = vertices - [0, 0, height[-1] / 2]
    vertices = (vertices * DIAMETER_M / _diameter(vertices)).astype(np.float32)
    colors = np.tile(_any_colour(rng, 1), (len(vertices), 1))
    symmetry = Symmetry(axes=np.array([[0.0, 0, 1]]), offsets=np.zeros((1, 3)))
    faces = np.asarray(mesh.faces, np.int32)
    return ObjectModel(
        number, f"round {number}", vertices, faces, colors, _diameter(vertices), symmetry
    )


def _projected(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F, 3, 2): each face's picture coordinates along the axis it faces most, each side apart."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normal).argmax(1)
    away = np.take_along_axis(normal, axis[:, None], 1)[:, 0] > 0
    kept = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    plane = np.take_along_axis(corners, kept[:, None].repeat(3, 1), 2) / DIAMETER_M
    offset = rng.random((6, 2))[axis + 3 * away]
    return (plane * rng.uniform(0.6, 1.6) + offset[:, None]).astype(np.float32)


def _patches(vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(V, 3): two to five colours where waves through the shape are highest."""
    shades = _any_colour(rng, int(rng.integers(2, 6)))
    waves = rng.normal(size=(len(shades), 3, 3)) * rng.uniform(0.5, 3, (len(shades), 1, 1))
    phase = rng.uniform(0, 2 * np.pi, (len(shades), 1, 3))
    height = np.sin(vertices / DIAMETER_M * 2 * np.pi @ waves + phase).sum(-1)
    return shades[height.argmax(0)]


def _any_colour(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: any brightness, from dull to bright."""
    dull = np.sqrt(rng.random((count, 1)))
    return (dull * rng.random((count, 1)) + (1 - dull) * rng.random((count, 3))).astype(np.float32)


def _diameter(vertices: np.ndarray) -> float:
    """Largest distance between two vertices."""
    hull = trimesh.convex.hull_points(vertices) if len(vertices) > 400 else vertices
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(-1).max()))
