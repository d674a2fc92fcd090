"""Labelled frames made into more frames: objects turned, seen by turned cameras, with things put in
front."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.geometry import axis_angle_to_matrix
from self6d.network import masks_in_regions
from self6d.network.outputs import Detections
from self6d.network.translation import origin_of, position_of
from self6d.refinement.regions import ModelBoxes
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.camera_augmentation import CameraAugmentation
from self6d.stage2.config import AdaptConfig
from self6d.stage2.labelled import labelled_batch
from self6d.synthesis.scenes import borders

OCCLUDERS = 6
"""Occluders put into a frame."""
OCCLUDER_SIDES = (0.06, 0.24)
"""Their shortest and longest side, shares of the image's height."""
SMALLER = 4
"""Side of the squares of pixels averaged in what stands where a turned object was."""
LEFTOVER = 7
"""Side of the squares about its pixels that are overdrawn there: poses are not exact."""
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


def turned_objects(
    sensor: FrameBatch,
    models: PackedModels,
    poses: tuple[Tensor, Tensor],
    image_index: Tensor,
    object_index: Tensor,
    degrees: float,
    noise: torch.Generator,
    *,
    margin_m: float = 0.015,
) -> tuple[FrameBatch, tuple[Tensor, Tensor]]:
    """Frames in which posed objects are turned about any axis through the middles of their boxes.

    What a frame shows of an object goes with its surface; what it does not show takes the model's
    colours, brought to the mean of what it shows. Where an object was and is no more, the
    surroundings' mean is.

    Args:
        sensor: B frames. models: packed models.
        poses: R (N, 3, 3) and t (N, 3), metres. image_index, object_index: (N,) int64.
        degrees: largest angle. noise: on the frames' device.
        margin_m: what the sensor saw nearer than an object by more hides it, metres.

    Returns:
        the frames, and the poses that belong to them.
    """
    R, t = poses
    (b, _, h, w), n, device = sensor.images.shape, len(R), R.device
    axis = F.normalize(torch.randn(n, 3, generator=noise, device=device), dim=-1)
    angle = math.radians(degrees) * torch.rand(n, 1, generator=noise, device=device)
    turned = axis_angle_to_matrix(axis * angle) @ R
    middle = ModelBoxes.of(models).centre[object_index]
    poses = turned, origin_of(turned, position_of(R, t, middle), middle)
    look = partial(render, models=models, object_index=object_index, soft_mask=False)
    old, new = (look(*p, sensor.K[image_index], size=(h, w)) for p in ((R, t), poses))
    depth = torch.zeros(b, h, w, device=device) if sensor.depth_m is None else sensor.depth_m
    shown, front = _in_front(old, depth, image_index, margin_m)
    for side in ((1, LEFTOVER), (LEFTOVER, 1)):  # infinite where there was none
        padding = (side[0] // 2, side[1] // 2)
        front = -F.max_pool2d(-front[:, None], side, 1, padding)[:, 0]
    gone = (front < torch.inf) & ~((depth > 0) & (front - depth > margin_m))
    depth = depth * ~gone
    drawn, nearest = _in_front(new, depth, image_index, margin_m)

    images = sensor.images.clone()
    frame, row, column = gone.nonzero().T
    around = surroundings(sensor.images, ~gone)
    at = torch.stack((column + 0.5, row + 0.5), -1) / SMALLER
    images[frame, :, row, column] = _bilinear(around, frame, at)
    item, row, column = drawn.nonzero().T
    frame = image_index[item]
    color = _carried(sensor, (R, t), poses, (old, new), (shown, drawn), image_index, margin_m / 3)
    images[frame, :, row, column] = color
    depth[frame, row, column] = nearest[frame, row, column]
    covered = torch.zeros_like(gone)
    covered[frame, row, column] = True
    frame, row, column = borders(covered.int()).nonzero().T
    soft = images.new_zeros(len(frame), 3)  # a lens has no jagged edges
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = (row + dy).clamp(0, h - 1), (column + dx).clamp(0, w - 1)
            soft += images[frame, :, y, x] / 9
    images[frame, :, row, column] = soft
    return FrameBatch(images, None if sensor.depth_m is None else depth, sensor.K), poses


def _in_front(
    view: Rendering, seen_m: Tensor, index: Tensor, margin_m: float
) -> tuple[Tensor, Tensor]:
    """(N, H, W) bool, where N renderings are neither behind another nor behind what the sensor saw,
    and (B, H, W) the nearest of their depths there, metres, else infinite."""
    measured = seen_m[index]
    hidden = (measured > 0) & (view.depth_m - measured > margin_m)
    depth = torch.where(view.covered & ~hidden, view.depth_m, torch.inf)
    nearest = torch.full_like(seen_m, torch.inf)
    nearest = nearest.scatter_reduce(0, index[:, None, None].expand_as(depth), depth, "amin")
    return (depth < torch.inf) & (depth == nearest[index]), nearest


def _carried(
    sensor: FrameBatch,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    views: tuple[Rendering, Rendering],
    masks: tuple[Tensor, Tensor],
    index: Tensor,
    margin_m: float,
) -> Tensor:
    """Colours (P, 3) of the P pixels drawn at poses `after`: of the frames, where these show the
    same points at poses `before`, else the models', brought to the mean of what is shown.

    Args:
        masks: (N, H, W) bool, where frames show the objects; what is drawn.
        index: (N,) int64, frames.
    """
    (old, new), (shown, drawn), images = views, masks, sensor.images
    h, w = shown.shape[-2:]
    inner = F.max_pool2d((~shown).float(), 3, 1, 1) == 0  # nothing of what is beside it
    n, row, column = inner.nonzero().T
    total = images.new_zeros(2, len(index), 3)
    for k, of in enumerate((images[index[n], :, row, column], old.rgb[n, :, row, column])):
        total[k].index_add_(0, n, of)
    gain = torch.where(total[1] > 0, total[0] / total[1], 1.0).clamp(1 / 3, 3)
    # the point that each pixel shows, where it was
    n, row, column = drawn.nonzero().T
    K = sensor.K[index]
    pixel = torch.stack((column + 0.5, row + 0.5, torch.ones_like(row)), -1)
    ray = (torch.linalg.inv_ex(K).inverse[n] @ pixel[..., None])[..., 0]
    here = ray * new.depth_m[n, row, column, None] - after[1][n]
    back = before[0] @ after[0].mT
    there = (back[n] @ here[..., None])[..., 0] + before[1][n]
    at = (K[n] @ there[..., None])[..., 0]
    at = at[:, :2] / at[:, 2:].clamp_min(1e-6)
    x, y = at.floor().long().unbind(-1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
    known = inside & inner[n, y, x] & ((old.depth_m[n, y, x] - there[:, 2]).abs() < margin_m)
    filled = (new.rgb[n, :, row, column] * gain[n]).clamp(0, 1)
    return torch.where(known[:, None], _bilinear(images, index[n], at), filled)


def _bilinear(images: Tensor, index: Tensor, at: Tensor) -> Tensor:
    """Colours (P, C) of images (B, C, H, W) at points (P, 2), pixels, of images `index` (P,)."""
    h, w = images.shape[-2:]
    corner = (at - 0.5).floor()
    x, y = (at - 0.5 - corner).unbind(-1)
    color = images.new_zeros(len(at), images.shape[1])
    for dy in (0, 1):
        for dx in (0, 1):
            column = (corner[:, 0].long() + dx).clamp(0, w - 1)
            row = (corner[:, 1].long() + dy).clamp(0, h - 1)
            share = (1 - (dx - x).abs()) * (1 - (dy - y).abs())
            color += share[:, None] * images[index, :, row, column]
    return color


def surroundings(images: Tensor, known: Tensor) -> Tensor:
    """Images (B, 3, H, W), `SMALLER`, blurred from the pixels known, widely where these are far.

    Args:
        known: (B, H, W) bool.
    """
    weighted = torch.cat((images, torch.ones_like(images[:, :1])), 1) * known[:, None]
    levels = [F.avg_pool2d(weighted, SMALLER, ceil_mode=True)]
    while min(levels[-1].shape[-2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    filled = levels[-1]
    for level in levels[::-1]:
        wide = F.interpolate(filled, level.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(level[:, 3:] > 0.2, level, wide)
    return filled[:, :3] / filled[:, 3:].clamp_min(1e-6)


def blurred(images: Tensor) -> Tensor:
    """What occluders show: the next frame upside down and blurred, (B, 3, H, W)."""
    h, w = images.shape[-2:]
    cells = (max(1, h // BLUR), max(1, w // BLUR))
    small = F.adaptive_avg_pool2d(images.roll(1, 0).flip(-1, -2), cells)
    return F.interpolate(small, (h, w), mode="bilinear", align_corners=False)
