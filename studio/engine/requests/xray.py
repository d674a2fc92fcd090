"""How each loss term pulls at a pose, and which pixels that pull comes from.

For a term L and the pose step delta = (w, a, b, d) of `PoseParameters`, the pull is the descent
direction -dL/d delta. A pixel's share of it is c_j = dL/d I_j . dI_j/d delta . v, with I_j all that
is rendered at pixel j (colour, depth, soft mask) and v the unit pull: dL/d I_j comes from autograd,
dI_j/d delta . v from a central difference of two renderings. As in the renderer's own gradient,
colour and depth count where both renderings show the same face, so the shares add up to
|dL/d delta|.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.config import from_dict
from self6d.geometry import backproject
from self6d.jobs.absent import leave_out
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.losses.target import Target
from self6d.refinement.pose_parameters import PoseParameters
from self6d.refinement.regions import ModelBoxes, RegionCrops, project_boxes, square_boxes
from self6d.refinement.start_mask import mask_from_pose
from self6d.rendering import PackedModels, Rendering, render
from self6d.scene import Frame
from studio.engine.types import PoseData, TermPull, Xray

Draw = Callable[[Tensor], Rendering]

SIDE = 160
PADDING = 1.6
REACH = 0.15  # how far the pose may be off for the mask, in diameters
# Steps of the central differences, in radians and in diameters. Colour and depth change with the
# face seen, so they need a step that hardly ever leaves a face; the soft mask is smooth.
SURFACE_STEP = 5e-6
MASK_STEP = 2e-4
NOTHING_SEEN = (
    "Not a pixel lies within {:.0f} mm of the object at this pose: there is nothing to compare, so "
    "every term is zero. Move it nearer first, under Pose."
)


def examine(
    frame: Frame,
    models: PackedModels,
    place: int,
    pose: PoseData,
    weights: dict[str, Any],
    mask: np.ndarray | None = None,
) -> Xray:
    """Take a pose apart.

    Args:
        place: position of the object in `models`.
        weights: `LossConfig` fields that differ from its defaults.
        mask: (H, W) float or bool visible mask of the image; None finds one from depth and colour.
    """
    config = from_dict(LossConfig, weights)
    remark = "" if "perceptual" in weights else leave_out(config)
    objective = SelfSupervision(config)
    index = torch.tensor([place])
    boxes = ModelBoxes.of(models)
    R = torch.tensor(pose.R, dtype=torch.float32)[None]
    t = torch.tensor(pose.t, dtype=torch.float32)[None]
    K = torch.tensor(frame.camera.K, dtype=torch.float32)[None]
    box = square_boxes(project_boxes(boxes, index, R, t, K), PADDING)
    rgb = torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].float() / 255
    depth = None if frame.depth_m is None else torch.from_numpy(frame.depth_m)[None]
    region = RegionCrops.cut(rgb, depth, K, box, torch.tensor([0]), SIDE)
    diameter = float(boxes.diameter[place])
    start = PoseParameters(R, t, boxes.centre[index])

    def draw(delta: Tensor) -> Rendering:
        turned, position = start.at(delta)
        moved = start.translation(turned, position)
        return render(turned, moved, region.K, models, (SIDE, SIDE), object_index=index)

    zero = torch.zeros(1, 6)
    if mask is None:
        visible = _mask(region, draw(zero), REACH * diameter)
    else:
        whole = torch.from_numpy(np.asarray(mask, np.float32))[None, None]
        visible = RegionCrops.cut(
            whole.expand(1, 3, -1, -1), None, K, box, torch.tensor([0]), SIDE
        ).rgb[:, 0]
    if not bool((visible > 0.5).any()):
        remark = f"{NOTHING_SEEN.format(REACH * diameter * 1000)} {remark}".rstrip()
    target = objective.observe(
        region.rgb,
        region.depth_m,
        visible,
        region.K,
        observed=region.observed,
        diameter=visible.new_tensor([diameter]),
    )
    unit = torch.tensor([[1.0, 1.0, 1.0, diameter, diameter, diameter]])
    terms = _terms(objective, target, draw, unit)
    return Xray(
        terms=terms,
        box=box[0].numpy(),
        centre=start.position[0].numpy(),
        diameter=diameter,
        mask=visible[0].numpy(),
        remark=remark,
    )


def _terms(
    objective: SelfSupervision, target: Target, draw: Draw, unit: Tensor
) -> dict[str, TermPull]:
    delta = torch.zeros(1, 6, requires_grad=True)
    shown = draw(delta * unit)
    pixels = Rendering(
        shown.rgb.detach().requires_grad_(),
        shown.depth_m.detach().requires_grad_(),
        shown.soft_mask.detach().requires_grad_(),
        shown.face_id,
    )
    values = objective.compare(target, pixels)
    detections = {}
    for name, value in values.items():
        weight = 1.0 if name == "total" else objective.weights[name]
        images = (pixels.rgb, pixels.depth_m, pixels.soft_mask)
        given = torch.autograd.grad(
            value.sum() * weight, images, retain_graph=True, allow_unused=True
        )
        upstream = [torch.zeros_like(x) if g is None else g for g, x in zip(given, images)]
        (pull,) = torch.autograd.grad((shown.rgb, shown.depth_m, shown.soft_mask), delta,
                                      upstream, retain_graph=True)  # fmt: skip
        pull = -pull.nan_to_num(0.0)
        share = _shares(upstream, pull, draw, unit)
        detections[name] = TermPull(
            value=float(value[0].detach()),
            weight=weight,
            rotation=pull[0, :3].numpy(),
            translation=pull[0, 3:].numpy(),
            share=share.numpy(),
        )
    return detections


def _shares(upstream: list[Tensor], pull: Tensor, draw: Draw, unit: Tensor) -> Tensor:
    """(h, w) share of each pixel in the descent along the unit pull."""
    length = pull.norm()
    if float(length) == 0.0:
        return torch.zeros(upstream[1].shape[-2:])
    direction = pull / length * unit
    with torch.no_grad():
        ahead, behind = draw(SURFACE_STEP * direction), draw(-SURFACE_STEP * direction)
        same = (ahead.covered & (ahead.face_id == behind.face_id)).float()
        rgb = ((ahead.rgb - behind.rgb) * upstream[0]).sum(1)
        depth = (ahead.depth_m - behind.depth_m) * upstream[1]
        surface = (rgb + depth) * same / (2 * SURFACE_STEP)
        ahead, behind = draw(MASK_STEP * direction), draw(-MASK_STEP * direction)
        edge = (ahead.soft_mask - behind.soft_mask) * upstream[2] / (2 * MASK_STEP)
    return -(surface + edge)[0]


def _mask(region: RegionCrops, drawn: Rendering, reach_m: float) -> Tensor:
    """(1, h, w) visible mask from depth and colour around the pose; no network."""
    K = region.K
    sensor = None
    if region.depth_m is not None:
        sensor = backproject(region.depth_m, K)[0].numpy()
    detections = mask_from_pose(
        (region.rgb[0].permute(1, 2, 0) * 255).byte().numpy(),
        sensor,
        backproject(drawn.depth_m, K)[0].numpy(),
        reach_m,
        float(K[0, 0, 0]),
    )
    return torch.from_numpy(detections)[None].float()
