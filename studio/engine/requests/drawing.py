"""Models drawn at poses over a whole image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from self6d.rendering import PackedModels, render
from self6d.scene import ObjectModel
from studio.engine.compose import contours
from studio.engine.types import PoseData, RenderData


def draw(
    models: Sequence[ObjectModel],
    packed: PackedModels,
    poses: Sequence[PoseData],
    K: np.ndarray,
    size: tuple[int, int],
) -> RenderData:
    """Draw models at their poses, the nearest in front; poses without a model are left out.

    Args:
        packed: `models`, packed. K: (3, 3), pixels. size: (height, width).
    """
    place = {m.object_id: i for i, m in enumerate(models)}
    middle = {m.object_id: m.extents.mean(0) for m in models}
    known = tuple(
        p for p in poses if p.object_id in place and (p.R @ middle[p.object_id] + p.t)[2] > 0
    )
    h, w = size
    rgb = np.zeros((h, w, 3), np.uint8)
    depth = np.full((h, w), np.inf, np.float32)
    owner = np.full((h, w), -1, np.int16)
    outlines: list[tuple[np.ndarray, ...]] = []
    if known:
        with torch.no_grad():
            drawn = render(
                torch.tensor(np.stack([p.R for p in known]), dtype=torch.float32),
                torch.tensor(np.stack([p.t for p in known]), dtype=torch.float32),
                torch.tensor(K, dtype=torch.float32),
                packed,
                size,
                object_index=torch.tensor([place[p.object_id] for p in known]),
                soft_mask=False,
            )
        for i in range(len(known)):
            covered, z = drawn.covered[i].numpy(), drawn.depth_m[i].numpy()
            nearer = covered & (z < depth)
            depth[nearer] = z[nearer]
            owner[nearer] = i
            picture = (drawn.rgb[i].clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
            rgb[nearer] = picture[nearer]
            outlines.append(tuple(contours(covered)))
    return RenderData(
        poses=known, rgb=rgb, depth_m=np.where(owner >= 0, depth, 0).astype(np.float32),
        owner=owner, outlines=tuple(outlines),
    )  # fmt: skip
