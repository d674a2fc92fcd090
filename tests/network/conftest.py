"""Small coloured boxes, and exact labelled images of them by ray casting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from self6d.geometry import pixel_centres, project, random_rotations
from self6d.scene import ObjectModel, Symmetry
from self6d.scene.batch import LabelledBatch

_FACES = [
    (0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)
]  # fmt: skip
_COLORS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]


def box_model(object_id: int, sides: tuple[float, float, float], symmetry=None) -> ObjectModel:
    """A box about the origin, each face its own colour."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    vertices = (corners * sides)[np.array(_FACES).reshape(-1)].astype(np.float32)
    corner = np.array([[0, 1, 2], [0, 2, 3]])
    faces = (4 * np.arange(6)[:, None, None] + corner).reshape(-1, 3).astype(np.int32)
    colors = np.repeat(np.array(_COLORS, np.float32) * (1 - 0.2 * object_id), 4, axis=0)
    return ObjectModel(
        object_id,
        f"box {object_id}",
        vertices,
        faces,
        colors,
        float(np.linalg.norm(sides)),
        symmetry or Symmetry(),
    )


def cast(model: ObjectModel, R: Tensor, t: Tensor, K: Tensor, size: tuple[int, int]):
    """Depth (H, W), zero where missed, and colour (3, H, W) of one box."""
    rays = torch.cat((pixel_centres(*size), torch.ones(*size, 1)), -1) @ torch.linalg.inv(K).T
    direction, origin = rays @ R, -(t @ R)
    half = torch.tensor(model.extents[1])
    safe = torch.where(direction.abs() < 1e-9, 1e-9, direction)
    near = torch.minimum((half - origin) / safe, (-half - origin) / safe)
    far = torch.maximum((half - origin) / safe, (-half - origin) / safe)
    depth, axis = near.max(-1)
    hit = (depth < far.amin(-1)) & (depth > 0)
    side = (origin + depth[..., None] * direction).gather(-1, axis[..., None])[..., 0] > 0
    palette = torch.tensor(np.array(_COLORS, np.float32)) * (1 - 0.2 * model.object_id)
    face = torch.tensor([[0, 1], [2, 3], [4, 5]])[axis, side.long()]
    return torch.where(hit, depth, 0.0), palette[face].permute(2, 0, 1)


def make_batch(
    models: list[ObjectModel],
    images: int,
    seed: int = 0,
    size: tuple[int, int] = (96, 128),
    focal: tuple[float, float] = (120.0, 120.0),
    distance: tuple[float, float] = (0.45, 0.7),
) -> LabelledBatch:
    """One instance of every model in every image, nearer ones in front, noise behind."""
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    K = torch.tensor([[focal[0], 0, w / 2], [0, focal[1], h / 2], [0, 0, 1]])
    count = len(models)
    n = images * count
    R = random_rotations(n, generator=generator)
    z = distance[0] + (distance[1] - distance[0]) * torch.rand(n, generator=generator)
    place = torch.rand(n, 2, generator=generator) * 0.6 + 0.2
    pixel = torch.cat((place * torch.tensor([w, h]), torch.ones(n, 1)), -1)
    t = (pixel @ torch.linalg.inv(K).T) * z[:, None]
    rgb = torch.rand(images, 3, h, w, generator=generator) * 0.3 + 0.3
    depth = torch.zeros(images, h, w)
    instance_map = torch.full((images, h, w), -1, dtype=torch.int32)
    image_index = torch.arange(images).repeat_interleave(count)
    object_index = torch.arange(count).repeat(images)
    amodal = torch.zeros(n, h, w, dtype=torch.bool)
    for i in range(n):
        image = int(image_index[i])
        d, color = cast(models[int(object_index[i])], R[i], t[i], K, size)
        amodal[i] = d > 0
        front = amodal[i] & ((d < depth[image]) | (depth[image] == 0))
        depth[image][front] = d[front]
        instance_map[image][front] = i
        rgb[image] = torch.where(front, color, rgb[image])
    visible = instance_map[image_index] == torch.arange(n)[:, None, None]
    return LabelledBatch(
        images=rgb,
        K=K.expand(images, 3, 3).contiguous(),
        depth_m=depth,
        instance_map=instance_map,
        image_index=image_index,
        object_index=object_index,
        R=R,
        t=t,
        mask_amodal=amodal,
        box_visible=mask_boxes(visible),
        box_amodal=mask_boxes(amodal),
        visible_fraction=visible.sum((1, 2)) / amodal.sum((1, 2)).clamp_min(1),
    )


def mask_boxes(masks: Tensor) -> Tensor:
    """(N, H, W) bool -> (N, 4) float32, zeros where empty."""
    boxes = torch.zeros(len(masks), 4)
    for i, mask in enumerate(masks):
        if mask.any():
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            boxes[i] = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return boxes


def add_recall(models, batch: LabelledBatch, R: Tensor, t: Tensor) -> float:
    """Share of instances with ADD below 10 % of the diameter."""
    good = 0
    for i in range(len(R)):
        model = models[int(batch.object_index[i])]
        points = torch.tensor(model.vertices)
        off = points @ (R[i] - batch.R[i]).T + t[i] - batch.t[i]
        good += float(off.norm(dim=-1).mean()) < 0.1 * model.diameter
    return good / len(R)


class Boxes:
    """Bundles the helpers for tests."""

    model = staticmethod(box_model)
    batch = staticmethod(make_batch)
    cast = staticmethod(cast)
    add_recall = staticmethod(add_recall)
    project = staticmethod(project)


@pytest.fixture(scope="session")
def boxes() -> type[Boxes]:
    return Boxes


@pytest.fixture(scope="session")
def two_boxes() -> list[ObjectModel]:
    return [box_model(1, (0.06, 0.1, 0.14)), box_model(2, (0.12, 0.05, 0.08))]
