"""Labelled frames made into more frames: seen by turned cameras, with things put in front."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.network import masks_in_regions
from self6d.network.outputs import Detections
from self6d.rendering.models import PackedModels
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.camera_augmentation import CameraAugmentation
from self6d.stage2.config import AdaptConfig
from self6d.stage2.labelled import labelled_batch

OCCLUDERS = 6
"""Occluders put into a frame."""
OCCLUDER_SIDES = (0.06, 0.24)
"""Their shortest and longest side, shares of the image's height."""
BLUR = 16
"""Pixels averaged in what they show, so that no object is left to recognise in it."""


def varied_batch(
    sensor: FrameBatch,
    models: PackedModels,
    poses: tuple[Tensor, Tensor],
    image_index: Tensor,
    object_index: Tensor,
    config: AdaptConfig,
    noise: torch.Generator,
    *,
    masks: Tensor | None = None,
    margin_m: float = 0.015,
) -> LabelledBatch:
    """Frames with posed objects as labelled images of drawn cameras, with occluders.

    Args:
        sensor: B frames. models: packed models.
        poses: R (N, 3, 3) and t (N, 3), metres. image_index, object_index: (N,) int64.
        config: `roll_deg`, `zoom` and `cover` are used. noise: on the frames' device.
        masks: (N, H, W), probabilities, where the objects can be seen; None: by depth alone.
        margin_m: by how much an occluder is nearer, metres.
    """
    size = (sensor.images.shape[-2], sensor.images.shape[-1])
    turn = CameraAugmentation.draw(sensor.K, size, config.roll_deg, config.zoom, noise)
    visible = turn.inside[image_index]
    if masks is not None:
        visible = visible & (turn.nearest(masks, image_index) >= 0.5)
    seen = turn.sensor(sensor)
    if config.cover > 0:
        cover = occluders(len(sensor.images), size, config.cover, noise)
        seen = replace(seen, images=torch.where(cover[:, None], blurred(seen.images), seen.images))
        visible = visible & ~cover[image_index]
    R, t = turn.poses(*poses, image_index)
    return labelled_batch(
        seen, models, R, t, image_index, object_index, visible=visible, margin_m=margin_m
    )


def selected_batch(
    sensor: FrameBatch,
    detections: Detections,
    poses: tuple[Tensor, Tensor],
    models: PackedModels,
    config: AdaptConfig,
    noise: torch.Generator,
    *,
    margin_m: float,
    complete: Tensor,
) -> tuple[LabelledBatch, Tensor]:
    """Frames with the selected poses in them as a `varied_batch`, and which objects are labelled.

    Args:
        sensor: B frames; without depth the detections' masks say what can be seen.
        detections: N detections. poses: theirs, R (N, 3, 3) and t (N, 3), metres.
        models, config, noise, margin_m: as `varied_batch`.
        complete: (N,) bool, all instances of the object that were found in the frame are among the
            N detections.

    Returns:
        the batch, and (B, M) bool: of the M models, those it says all about in each frame.
    """
    masks, (h, w) = None, sensor.images.shape[-2:]
    if sensor.depth_m is None:
        whole = sensor.images.new_tensor([0, 0, w, h]).expand(len(detections), 4)
        masks = masks_in_regions(detections, whole, (h, w))[:, 0]
    at = (detections.image_index, detections.object_index)
    batch = varied_batch(
        sensor, models, poses, *at, config, noise, masks=masks, margin_m=margin_m
    )  # fmt: skip
    # where all instances that were found are selected, the object is nowhere else
    known = torch.zeros(len(sensor.images), len(models.object_ids), device=noise.device).bool()
    known[at] = complete
    return batch, known


def occluders(frames: int, size: tuple[int, int], share: float, noise: torch.Generator) -> Tensor:
    """Rectangles of any direction in a `share` of the frames -> (frames, H, W) bool."""
    h, w = size
    drawn = torch.rand(6, frames, OCCLUDERS, generator=noise, device=noise.device)[..., None, None]
    least, most = (side * h / 2 for side in OCCLUDER_SIDES)
    half = least * (most / least) ** drawn[:2]
    y = torch.arange(h, device=noise.device)[:, None] + 0.5 - drawn[2] * h
    x = torch.arange(w, device=noise.device) + 0.5 - drawn[3] * w
    cos, sin = (drawn[4] * math.pi).cos(), (drawn[4] * math.pi).sin()
    inside = (x * cos + y * sin).abs() < half[0]
    inside &= (y * cos - x * sin).abs() < half[1]
    return (inside & (drawn[5, :, :1] < share)).any(1)


def blurred(images: Tensor) -> Tensor:
    """What occluders show: the next frame upside down and blurred, (B, 3, H, W)."""
    h, w = images.shape[-2:]
    cells = (max(1, h // BLUR), max(1, w // BLUR))
    small = F.adaptive_avg_pool2d(images.roll(1, 0).flip(-1, -2), cells)
    return F.interpolate(small, (h, w), mode="bilinear", align_corners=False)
