"""What the pose branches should say about the regions of a labelled batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.network.roi import cell_centres, sample_cells
from self6d.scene.batch import LabelledBatch


def choose_instances(
    image_index: Tensor,
    eligible: Tensor,
    images: int,
    slots: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Fill `slots` places per image with its eligible instances, without waiting for the device.

    Args:
        image_index: (N,) int64, N >= 1. eligible: (N,) bool.
        generator: draws which instances when there are more than places; None takes the first.

    Returns:
        instance (images, slots) int64, and used (images, slots) bool, False for empty places
        (their instance is any).
    """
    n, device = len(image_index), image_index.device
    if generator is None:
        draw = torch.arange(n, device=device) / n
    else:
        draw = torch.rand(n, generator=generator, device=device)
    order = (2 * image_index + torch.where(eligible, 0.0, 1.0) + 0.99 * draw).argsort()
    in_order, wanted = image_index[order], torch.arange(images, device=device)
    first = torch.searchsorted(in_order, wanted)
    last = torch.searchsorted(in_order, wanted, right=True)
    place = first[:, None] + torch.arange(slots, device=device)
    instance = order[place.clamp_max(n - 1)]
    return instance, (place < last[:, None]) & eligible[instance]


def mask_targets(
    batch: LabelledBatch,
    instance: Tensor,
    image_index: Tensor,
    regions: Tensor,
    side: int,
    amodal: bool,
    samples: int = 2,
) -> Tensor:
    """Share of each cell that is visible mask (and whole silhouette).

    Args:
        instance, image_index: (N,) int64. regions: (N, 4), pixels. side: cells per axis.
        samples: points looked at per cell and axis.

    Returns:
        (N, 1 or 2, side, side) float32 in [0, 1].
    """
    fine = side * samples
    height, width = batch.instance_map.shape[-2:]
    row, column, inside = sample_cells(regions, (fine, fine), (height, width))
    seen = batch.instance_map[image_index[:, None, None], row, column]
    masks = [(seen == instance[:, None, None]) & inside]
    if amodal:
        masks.append(batch.mask_amodal[instance[:, None, None], row, column] & inside)
    return F.avg_pool2d(torch.stack(masks, dim=1).float(), samples)


def coordinate_targets(
    batch: LabelledBatch, instance: Tensor, image_index: Tensor, regions: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Object coordinates of the surface seen at the cell centres, R^T (D K^-1 (x, y, 1)^T - t).

    The depth is that of the nearest pixel, the ray that of the cell centre itself.

    Args:
        instance, image_index: (N,) int64. regions: (N, 4), pixels. side: cells per axis.

    Returns:
        coordinates (N, 3, side, side), metres, model frame, valid where visible; and
        visible (N, side, side) float32, 1 where the cell centre sees the instance.
    """
    height, width = batch.depth_m.shape[-2:]
    row, column, inside = sample_cells(regions, (side, side), (height, width))
    at = (image_index[:, None, None], row, column)
    depth = batch.depth_m[at]
    visible = (batch.instance_map[at] == instance[:, None, None]) & inside & (depth > 0)
    rays = cell_rays(regions, batch.K[image_index], side)
    camera = torch.cat((rays, torch.ones_like(rays[:, :1])), dim=1) * depth[:, None]
    centred = camera.flatten(2) - batch.t[instance][:, :, None]
    model = batch.R[instance].transpose(1, 2) @ centred
    return model.view_as(camera), visible.float()


def cell_rays(regions: Tensor, K: Tensor, side: int) -> Tensor:
    """Viewing rays (X/Z, Y/Z) through the cell centres of regions.

    Args:
        regions: (N, 4), pixels. K: (N, 3, 3), pixels. side: cells per axis.

    Returns:
        (N, 2, side, side).
    """
    x, y = cell_centres(regions, (side, side))
    ray_y = ((y - K[:, 1, 2, None]) / K[:, 1, 1, None])[:, :, None].expand(-1, -1, side)
    shifted = (x - K[:, 0, 2, None])[:, None, :] - K[:, 0, 1, None, None] * ray_y
    return torch.stack((shifted / K[:, 0, 0, None, None], ray_y), dim=1)
