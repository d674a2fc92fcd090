"""Real frames with poses, in the form stage 1 learns from."""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.scene.batch import FrameBatch, LabelledBatch


@torch.no_grad()
def labelled_batch(
    sensor: FrameBatch,
    models: PackedModels,
    R: Tensor,
    t: Tensor,
    image_index: Tensor,
    object_index: Tensor,
    *,
    visible: Tensor | None = None,
    margin_m: float = 0.015,
) -> LabelledBatch:
    """Render posed objects into frames to get the masks and boxes that belong to the poses.

    A rendered pixel is hidden where the sensor is nearer by more than `margin_m`, or where another
    of the objects is in front.

    Args:
        sensor: B frames. models: packed models.
        R: (N, 3, 3). t: (N, 3), metres. image_index, object_index: (N,) int64.
        visible: (N, H, W) bool, further limit such as a predicted mask; None: none.
    """
    h, w = sensor.images.shape[-2:]
    view = render(
        R, t, sensor.K[image_index], models, (h, w), object_index=object_index, soft_mask=False
    )
    amodal = view.covered
    shown = amodal if visible is None else amodal & visible
    if sensor.depth_m is not None:
        measured = sensor.depth_m[image_index]
        shown = shown & ~((measured > 0) & (view.depth_m - measured > margin_m))
    # the nearest of those shown at a pixel; of two equally near ones the last
    here = torch.where(shown, view.depth_m, torch.inf)
    frame = image_index[:, None, None].expand_as(here)
    nearest = here.new_full((len(sensor.images), h, w), torch.inf)
    nearest = nearest.scatter_reduce(0, frame, here, "amin")
    number = torch.arange(len(R), device=R.device)[:, None, None]
    first = torch.where(shown & (here == nearest[image_index]), number, -1)
    instances = torch.full_like(nearest, -1, dtype=torch.int64)
    instances = instances.scatter_reduce(0, frame, first, "amax")
    seen = instances[image_index] == number
    background = torch.zeros_like(nearest) if sensor.depth_m is None else sensor.depth_m
    pixels = amodal.sum((1, 2))
    return LabelledBatch(
        images=sensor.images,
        K=sensor.K,
        depth_m=torch.where(instances < 0, background, nearest),
        instance_map=instances.int(),
        image_index=image_index,
        object_index=object_index,
        R=R,
        t=t,
        mask_amodal=amodal,
        box_visible=mask_boxes(seen),
        box_amodal=mask_boxes(amodal),
        visible_fraction=seen.sum((1, 2)) / pixels.clamp_min(1),
    )


def mask_boxes(mask: Tensor) -> Tensor:
    """Smallest boxes around masks: (N, H, W) bool -> (N, 4) x0 y0 x1 y1, pixels; 0 if empty."""
    h, w = mask.shape[-2:]
    # as numbers: `any` of truth values takes five times as long on a CPU
    columns, rows = (mask.view(torch.uint8).amax(axis) > 0 for axis in (1, 2))
    x, y = torch.arange(w, device=mask.device), torch.arange(h, device=mask.device)
    x0 = torch.where(columns, x, w).amin(1)
    x1 = torch.where(columns, x + 1, 0).amax(1)
    y0 = torch.where(rows, y, h).amin(1)
    y1 = torch.where(rows, y + 1, 0).amax(1)
    box = torch.stack((x0, y0, x1, y1), 1).float()
    return torch.where(columns.any(1)[:, None], box, torch.zeros_like(box))
