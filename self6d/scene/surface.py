"""Points spread over a model's surface."""

from __future__ import annotations

import numpy as np

from self6d.scene.appearance import texels
from self6d.scene.mesh import ObjectModel


def surface_points(
    model: ObjectModel, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random points of a mesh, as many a square metre everywhere, and their colours.

    Returns:
        (count, 3) float64, metres, model frame, and (count, 3) float, sRGB in [0, 1].
    """
    corners = model.vertices[model.faces].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    weight = np.stack((1 - u - v, u, v), axis=1)[:, :, None]
    points = (weight * corners[face]).sum(1)
    if model.uv is not None and model.texture is not None:
        uv = (weight * model.uv[face]).sum(1)
        return points, texels(model.texture, uv)
    return points, (weight * model.colors[model.faces[face]]).sum(1)
