"""What the network knows of its objects' geometry, as buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from self6d.errors import InputError
from self6d.scene import ObjectModel


class ObjectTable(nn.Module):
    """Geometry of M objects; rebuilt from the models, so not part of the state dict.

    Attributes:
        points: (M, P, 3), metres, spread evenly over the surface.
        centre, half_extent: (M, 3), metres, of the axis-aligned box. diameter: (M,), metres.
        pivot: (M, 3), metres, the point whose position poses are learned by.
        symmetries: (M, S, 4, 4), identity first, filled up with identities.
        pivot_symmetries: the same for points counted from the pivot.
        regions: (M, K, 3), metres, centres of the surface regions.
    """

    points: Tensor
    centre: Tensor
    half_extent: Tensor
    pivot: Tensor
    diameter: Tensor
    symmetries: Tensor
    pivot_symmetries: Tensor
    regions: Tensor

    def __init__(
        self,
        models: Sequence[ObjectModel],
        points: int,
        regions: int,
        symmetry_steps: int,
        about_centre: bool = True,
    ) -> None:
        super().__init__()
        if not models:
            raise InputError("no object models", remedy="Give at least one CAD model.")
        surface = [surface_points(model, max(points, 2048)) for model in models]
        boxes = np.stack([model.extents for model in models])
        groups = [model.symmetry.transforms(symmetry_steps) for model in models]
        most = max(len(group) for group in groups)
        filled = [np.concatenate((g, np.tile(np.eye(4), (most - len(g), 1, 1)))) for g in groups]
        symmetries = np.stack(filled)
        pivot = boxes.mean(1) * about_centre
        about_pivot = symmetries.copy()
        p = pivot[:, None, :, None]
        about_pivot[..., :3, 3:] += symmetries[..., :3, :3] @ p - p
        arrays = {
            "points": np.stack([s[:points] for s in surface]),
            "centre": boxes.mean(1),
            "pivot": pivot,
            "half_extent": np.maximum((boxes[:, 1] - boxes[:, 0]) / 2, 1e-4),
            "diameter": np.array([model.diameter for model in models]),
            "symmetries": symmetries,
            "pivot_symmetries": about_pivot,
            "regions": np.stack([farthest_points(s, regions) for s in surface]),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)


def surface_points(model: ObjectModel, count: int) -> np.ndarray:
    """Points uniform on the surface, always the same ones -> (count, 3) float32, metres."""
    rng = np.random.default_rng(0)
    corners = model.vertices[model.faces].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1
    )
    if area.sum() <= 0:
        raise InputError("mesh has no surface", path=model.source, remedy="Export it again.")
    chosen = corners[rng.choice(len(area), count, p=area / area.sum())]
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    points = chosen[:, 0] + u * (chosen[:, 1] - chosen[:, 0]) + v * (chosen[:, 2] - chosen[:, 0])
    return points.astype(np.float32)


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """`count` of the points, each the farthest from those before it -> (count, 3)."""
    chosen = np.zeros((count, 3), np.float32)
    distance = np.linalg.norm(points - points.mean(0), axis=-1)
    for i in range(count):
        chosen[i] = points[distance.argmax()]
        to_new = np.linalg.norm(points - chosen[i], axis=-1)
        distance = to_new if i == 0 else np.minimum(distance, to_new)
    return chosen
