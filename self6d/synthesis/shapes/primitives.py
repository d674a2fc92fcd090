"""Things without a label: primitives that occlude the objects, and simpler meshes for speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh

from self6d.scene import ObjectModel


def distractor_shapes(count: int, seed: int = 0) -> list[ObjectModel]:
    """Boxes, cylinders, cones, rings and blobs of diameter 1 around the origin.

    Args:
        count: how many; the kinds take turns.
        seed: same seed, same shapes.

    Returns:
        models with `object_id` 0, light grey, at most about 650 faces each.
    """
    rng = np.random.default_rng((seed, 0x5EED))
    models = []
    for i in range(count):
        mesh = MAKERS[i % len(MAKERS)](rng)
        vertices = np.asarray(mesh.vertices) - np.mean(mesh.bounds, axis=0)
        vertices /= 2 * np.linalg.norm(vertices, axis=1).max()
        models.append(
            ObjectModel(
                object_id=0,
                name=f"shape {i}",
                vertices=vertices.astype(np.float32),
                faces=np.asarray(mesh.faces, dtype=np.int32),
                colors=np.full((len(vertices), 3), 0.75, np.float32),
                diameter=1.0,
            )
        )
    return models


def _box(rng: np.random.Generator) -> trimesh.Trimesh:
    return trimesh.creation.box(extents=rng.uniform(0.2, 1.0, 3))


def _plate(rng: np.random.Generator) -> trimesh.Trimesh:
    return trimesh.creation.box(extents=(1.0, rng.uniform(0.5, 1.0), 0.03))


def _cylinder(rng: np.random.Generator) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(
        radius=rng.uniform(0.08, 0.5), height=rng.uniform(0.3, 1.0), sections=24
    )


def _cone(rng: np.random.Generator) -> trimesh.Trimesh:
    return trimesh.creation.cone(radius=rng.uniform(0.2, 0.5), height=1.0, sections=24)


def _ring(rng: np.random.Generator) -> trimesh.Trimesh:
    return trimesh.creation.torus(
        major_radius=0.4, minor_radius=rng.uniform(0.04, 0.14), major_sections=24, minor_sections=12
    )


def _blob(rng: np.random.Generator) -> trimesh.Trimesh:
    """A sphere displaced by a few random waves, then stretched."""
    mesh = trimesh.creation.icosphere(subdivisions=3 if rng.random() < 0.5 else 2)
    waves = rng.normal(size=(5, 3)) * 2.5
    phase = rng.uniform(0, 2 * np.pi, 5)
    bump = np.sin(mesh.vertices @ waves.T + phase).mean(axis=1)
    mesh.vertices = mesh.vertices * (1 + 0.6 * bump[:, None]) * rng.uniform(0.4, 1.0, 3)
    return mesh


MAKERS = (_box, _cylinder, _blob, _box, _cone, _ring, _blob, _plate)
"""Each makes a mesh about the origin from a random generator."""


def simplified(model: ObjectModel, faces_max: int) -> ObjectModel:
    """The model with about `faces_max` triangles, by merging vertices in the cells of a grid.

    A texture becomes colours of the remaining vertices. Diameter and symmetry stay the original's.
    Rossignac and Borrel, Multi-resolution 3D approximations for rendering complex scenes, 1993.
    """
    if faces_max <= 0 or len(model.faces) <= faces_max:
        return model
    colors = vertex_colors(model).astype(np.float64)
    low, high = model.extents.astype(np.float64)
    # the surface crosses about (extent / cell)^2 cells, two triangles each: start there, then grow
    cell = float(np.linalg.norm(high - low)) / np.sqrt(faces_max)
    while True:
        keys = np.floor((model.vertices - low) / cell).astype(np.int64)
        _, first, inverse, count = np.unique(
            keys, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        inverse = inverse.reshape(-1)
        faces = inverse[model.faces]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (c != a)]
        order = np.sort(faces, axis=1)
        faces = faces[np.unique(order, axis=0, return_index=True)[1]]
        if len(faces) <= faces_max:
            break
        cell *= 1.15
    if len(faces) < 4:
        return model

    def merged(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(first), values.shape[1]))
        np.add.at(total, inverse, values)
        return (total / count[:, None]).astype(np.float32)

    return replace(
        model,
        vertices=merged(model.vertices.astype(np.float64)),
        colors=merged(colors),
        faces=faces.astype(np.int32),
        uv=None,
        texture=None,
    )


def vertex_colors(model: ObjectModel) -> np.ndarray:
    """(V, 3) float32 in [0, 1]: the model's colours, read from the texture where it has one."""
    if model.uv is None or model.texture is None:
        return model.colors
    h, w = model.texture.shape[:2]
    uv = model.uv.reshape(-1, 2) % 1.0
    column = np.minimum((uv[:, 0] * w).astype(int), w - 1)
    row = np.minimum(((1 - uv[:, 1]) * h).astype(int), h - 1).clip(0)
    colors = model.colors.copy()
    colors[model.faces.reshape(-1)] = model.texture[row, column] / np.float32(255)
    return colors
