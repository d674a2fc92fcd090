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

OCCLUDERS = 6
"""Occluders put into a frame."""
OCCLUDER_SIDES = (0.06, 0.24)
"""Their shortest and longest side, shares of the image's height."""
TURNED = 0.7
"""Share of the frames in which objects are turned."""
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
    surroundings' mean is. `TURNED` of the frames are changed, the others are as they were.

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
    changed = torch.rand(b, generator=noise, device=device) < TURNED
    axis = F.normalize(torch.randn(n, 3, generator=noise, device=device), dim=-1)
    angle = math.radians(degrees) * torch.rand(n, 1, generator=noise, device=device)
    dR = axis_angle_to_matrix(axis * angle * changed[image_index, None])
    middle = ModelBoxes.of(models).centre[object_index]
    turned = dR @ R
    poses = turned, origin_of(turned, position_of(R, t, middle), middle)
    size, look = (h, w), partial(render, models=models, object_index=object_index, soft_mask=False)
    old, new = (look(*p, sensor.K[image_index], size=size) for p in ((R, t), poses))
    seen_m = torch.zeros(b, h, w, device=device) if sensor.depth_m is None else sensor.depth_m
    shown, front = _in_front(old, seen_m, image_index, margin_m)
    color = _carried(sensor, (R, t), poses, (old, new), shown, image_index, margin_m / 3)

    front = -F.max_pool2d(-front[:, None], 7, 1, 3)[:, 0]  # infinite where there was none
    gone = (front < torch.inf) & ~((seen_m > 0) & (front - seen_m > margin_m))
    behind = torch.where(gone[:, None], surroundings(sensor.images, ~gone), sensor.images)
    drawn, nearest = _in_front(new, seen_m * ~gone, image_index, margin_m)
    frame, rows = image_index[:, None, None].expand_as(drawn)[drawn], drawn.nonzero()
    made = behind.clone()
    made[frame, :, rows[:, 1], rows[:, 2]] = color[rows[:, 0], :, rows[:, 1], rows[:, 2]]
    covered = _any(drawn, image_index, b)
    # a lens has no jagged edges
    soft = covered.float()[:, None]
    edge = F.max_pool2d(soft, 3, 1, 1) + F.max_pool2d(1 - soft, 3, 1, 1) > 1
    made = torch.where(edge, F.avg_pool2d(made, 3, 1, 1, count_include_pad=False), made)
    keep = changed[:, None, None]
    depth = torch.where(keep, torch.where(covered, nearest, seen_m * ~gone), seen_m)
    images = torch.where(keep[:, None], made, sensor.images)
    return FrameBatch(images, None if sensor.depth_m is None else depth, sensor.K), poses


def _any(masks: Tensor, index: Tensor, count: int) -> Tensor:
    """(N, H, W) bool of images `index` -> (count, H, W) bool."""
    whole = masks.new_zeros(count, *masks.shape[1:], dtype=torch.int32)
    return whole.index_add_(0, index, masks.int()) > 0


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
    shown: Tensor,
    index: Tensor,
    margin_m: float,
) -> Tensor:
    """Colours (N, 3, H, W) of renderings at poses `after`: of the frames, where these show the same
    points at poses `before`, else the models', brought to the mean of what is shown.

    Args:
        shown: (N, H, W) bool, where frames show the objects. index: (N,) int64, frames.
    """
    old, new = views
    h, w = shown.shape[-2:]
    inner = F.max_pool2d((~shown).float(), 3, 1, 1) == 0  # nothing of what is beside it
    own = sensor.images[index]
    count = inner.sum((1, 2)).clamp_min(1)[:, None]
    of_frame, of_model = ((c * inner[:, None]).sum((2, 3)) / count for c in (own, old.rgb))
    gain = (of_frame / of_model.clamp_min(1e-3)).clamp(1 / 3, 3)
    n, row, column = new.covered.nonzero().T
    color = new.rgb.clone()
    # the point that each pixel shows, where it was
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
    # bilinear, by hand: few of an image's pixels are asked for
    left = (at - 0.5).floor()
    part = (at - 0.5 - left)[:, None].clamp(0, 1)
    taken = color.new_zeros(len(n), 3)
    for dy in (0, 1):
        for dx in (0, 1):
            cx = (left[:, 0].long() + dx).clamp(0, w - 1)
            cy = (left[:, 1].long() + dy).clamp(0, h - 1)
            share = (1 - (dx - part[..., 0]).abs()) * (1 - (dy - part[..., 1]).abs())
            taken += share * own[n, :, cy, cx]
    filled = (color[n, :, row, column] * gain[n]).clamp(0, 1)
    color[n, :, row, column] = torch.where(known[:, None], taken, filled)
    return color


def surroundings(images: Tensor, known: Tensor) -> Tensor:
    """Images (B, 3, H, W) blurred from the pixels known (B, H, W), widely where these are far."""
    h, w = images.shape[-2:]
    weighted = torch.cat((images, torch.ones_like(images[:, :1])), 1) * known[:, None]
    levels = [F.avg_pool2d(weighted, 4, ceil_mode=True)]
    while min(levels[-1].shape[-2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    filled = levels[-1]
    for level in levels[::-1]:
        wide = F.interpolate(filled, level.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(level[:, 3:] > 0.2, level, wide)
    filled = filled[:, :3] / filled[:, 3:].clamp_min(1e-6)
    return F.interpolate(filled, (h, w), mode="bilinear", align_corners=False)


def blurred(images: Tensor) -> Tensor:
    """What occluders show: the next frame upside down and blurred, (B, 3, H, W)."""
    h, w = images.shape[-2:]
    cells = (max(1, h // BLUR), max(1, w // BLUR))
    small = F.adaptive_avg_pool2d(images.roll(1, 0).flip(-1, -2), cells)
    return F.interpolate(small, (h, w), mode="bilinear", align_corners=False)
