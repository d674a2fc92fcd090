"""Tetrahedra, and batches about them on the GPU that have the right shapes and nothing to learn."""

from __future__ import annotations

import numpy as np
import torch

from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch


def models(count: int) -> list[ObjectModel]:
    """Tetrahedra of different sizes."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    return [
        ObjectModel(
            i + 1, f"tetrahedron {i}", corners * (0.03 + 0.005 * i), faces, corners / 2 + 0.5, 0.1
        )
        for i in range(count)
    ]


def random_batch(images: int, instances: int, size: tuple[int, int] = (480, 640)) -> LabelledBatch:
    """Pictures and labels of the right shapes; nobody learns from them."""
    g = torch.Generator("cuda").manual_seed(0)
    n, (h, w) = images * instances, size
    centre = torch.rand(n, 2, generator=g, device="cuda") * torch.tensor([w, h], device="cuda")
    half = torch.rand(n, 2, generator=g, device="cuda") * 50 + 20
    t = torch.rand(n, 3, generator=g, device="cuda") * 0.2 + torch.tensor(
        [-0.1, -0.1, 0.7], device="cuda"
    )
    K = torch.tensor([[572.4, 0, 325.8], [0, 573.6, 242.5], [0, 0, 1]], device="cuda")
    image_index = torch.arange(images, device="cuda").repeat_interleave(instances)
    box = torch.cat((centre - half, centre + half), -1)
    return LabelledBatch(
        images=torch.rand(images, 3, h, w, generator=g, device="cuda"),
        K=K.expand(images, 3, 3).contiguous(),
        depth_m=torch.full((images, h, w), 0.8, device="cuda"),
        instance_map=torch.randint(-1, n, (images, h, w), generator=g, device="cuda").int(),
        image_index=image_index,
        object_index=torch.arange(n, device="cuda") % instances,
        R=torch.eye(3, device="cuda").expand(n, 3, 3).contiguous(),
        t=t,
        mask_amodal=torch.rand(n, h, w, generator=g, device="cuda") > 0.5,
        box_visible=box,
        box_amodal=box,
        visible_fraction=torch.ones(n, device="cuda"),
    )
