"""Poses of a network pulled onto the sensor image: the single-image optimiser behind a detector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from self6d.losses.objective import SelfSupervision
from self6d.losses.supervised import nearest_symmetric_pose, point_distance
from self6d.losses.target import Target
from self6d.network.objects import ObjectTable
from self6d.network.outputs import Detections
from self6d.network.roi import masks_in_regions
from self6d.refinement.captured import KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import PoseHealth, judge_poses
from self6d.refinement.hypotheses import choose_hypotheses, score_hypotheses
from self6d.refinement.optimizer import Trajectory
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import (
    ModelBoxes,
    RegionCrops,
    project_boxes,
    square_boxes,
    union_boxes,
)
from self6d.refinement.starts import with_starts
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.scene.batch import FrameBatch

ALIKE = 1.1  # starts whose scores differ by less cannot be told apart


def observe_detections(
    sensor: FrameBatch,
    detections: Detections,
    models: PackedModels,
    objective: SelfSupervision,
    size: int,
    padding: float,
) -> Target:
    """Regions around N detections, with their masks, ready to be held against renderings.

    The region holds the detected box and the box of the detected pose's model.

    Args:
        size: side of the regions, pixels. padding: against the longer side of those boxes.
    """
    boxes = ModelBoxes.of(models)
    K = sensor.K[detections.image_index]
    with torch.no_grad():
        drawn = project_boxes(boxes, detections.object_index, detections.R, detections.t, K)
        # a pose far off must not shrink the object to a few pixels of its region
        side = (detections.box[:, 2:] - detections.box[:, :2]).amax(1, keepdim=True)
        near = torch.cat((detections.box[:, :2] - side, detections.box[:, 2:] + side), 1)
        drawn = torch.minimum(
            torch.maximum(drawn, near[:, :2].repeat(1, 2)), near[:, 2:].repeat(1, 2)
        )
        region = square_boxes(union_boxes(detections.box, drawn), padding)
        cut = RegionCrops.cut(
            sensor.images, sensor.depth_m, sensor.K, region, detections.image_index, size
        )
        masks = masks_in_regions(detections, region, (size, size))
    return objective.observe(
        cut.rgb,
        cut.depth_m,
        masks[:, 0],
        cut.K,
        mask_amodal=masks[:, 1] if masks.shape[1] > 1 else None,
        observed=cut.observed,
        diameter=boxes.diameter[detections.object_index],
    )


def problem_of_detections(
    sensor: FrameBatch,
    detections: Detections,
    models: PackedModels,
    objective: SelfSupervision,
    config: OptimizeConfig,
) -> PoseProblem:
    """N detections' poses, and what they are to explain: their regions, with their masks."""
    target = observe_detections(
        sensor, detections, models, objective, config.region, config.padding
    )
    R, t = detections.R.detach(), detections.t.detach()
    return PoseProblem(target, models, detections.object_index, R, t, objective, config)


@dataclass
class Refined:
    """N refined poses and what can be said about them without labels.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres.
        terms: name -> (N,) loss terms at the end. health: of the refined poses.
        spread: (N,), diameters, how far apart starts that arrived ended; 0 with one start.
        moved: (N,), diameters, mean distance from the detector's pose, up to symmetry.
    """

    R: Tensor
    t: Tensor
    terms: dict[str, Tensor]
    health: PoseHealth
    spread: Tensor
    moved: Tensor


def refine_detections(
    sensor: FrameBatch,
    detections: Detections,
    models: PackedModels,
    objects: ObjectTable,
    objective: SelfSupervision,
    config: OptimizeConfig,
    *,
    seed: int = 0,
    chunk: int = 64,
    kept: KeptOptimisers | None = None,
) -> Refined:
    """Optimise the poses of detections on their frames, from several starts each.

    Args:
        sensor: the frames. detections: N detections in them, with poses and masks.
        models: packed, and objects: geometry, both in the order of `object_index`.
        objective: L_self. config: `region`, `padding`, `flips`, `starts`, `steps`, ...
        chunk: starts optimised at a time, bounds the memory.
        kept: optimisers of calls before; None: new ones.
    """
    parts, kept = [], kept or KeptOptimisers()
    per_chunk = max(1, chunk // config.starts_each)
    for first in range(0, len(detections), per_chunk):
        rows = torch.arange(
            first, min(first + per_chunk, len(detections)), device=detections.R.device
        )
        generator = torch.Generator().manual_seed(seed * 1_000_003 + first)
        parts.append(
            _refine(sensor, detections[rows], models, objects, objective, config, generator, kept)
        )
    return Refined(
        torch.cat([p.R for p in parts]),
        torch.cat([p.t for p in parts]),
        {k: torch.cat([p.terms[k] for p in parts]) for k in parts[0].terms},
        PoseHealth(
            torch.cat([p.health.mask_iou for p in parts]),
            torch.cat([p.health.depth_inliers for p in parts]),
        ),
        torch.cat([p.spread for p in parts]),
        torch.cat([p.moved for p in parts]),
    )


def _refine(
    sensor: FrameBatch,
    detections: Detections,
    models: PackedModels,
    objects: ObjectTable,
    objective: SelfSupervision,
    config: OptimizeConfig,
    generator: torch.Generator,
    kept: KeptOptimisers,
) -> Refined:
    problem = problem_of_detections(sensor, detections, models, objective, config)
    tried = with_starts(problem, generator)
    trajectory = kept.run(tried)
    terms = trajectory.final()
    best = choose_hypotheses(terms, tried.group, len(problem))
    R, t = trajectory.R[-1, best], trajectory.t[-1, best]
    target, index = problem.target, problem.object_index
    rendering = render(R, t, target.K, models, problem.size, object_index=index, soft_mask=False)
    diameter = objects.diameter[index]
    moved = _distance(problem.R, problem.t, R, t, objects, index) / diameter
    return Refined(
        R,
        t,
        {name: value[best] for name, value in terms.items()},
        judge_poses(objective, target, rendering, diameter),
        _spread(trajectory, terms, tried, best, objects),
        moved,
    )


def _distance(
    R: Tensor, t: Tensor, R_other: Tensor, t_other: Tensor, objects: ObjectTable, index: Tensor
) -> Tensor:
    """(N,), metres, mean distance of the model points between poses, up to symmetry."""
    points = objects.points[index]
    near = nearest_symmetric_pose(R, t, R_other, t_other, points, objects.symmetries[index])
    return point_distance(R, t, *near, points)


def _spread(
    trajectory: Trajectory,
    terms: dict[str, Tensor],
    tried: PoseProblem,
    best: Tensor,
    objects: ObjectTable,
) -> Tensor:
    """(G,), diameters: mean distance to the chosen pose of the starts judged about as good."""
    group, index = tried.group, tried.object_index
    chosen = best[group]
    R, t = trajectory.R[-1], trajectory.t[-1]
    away = _distance(R, t, R[chosen], t[chosen], objects, index) / objects.diameter[index]
    score = score_hypotheses(terms, group, len(best))
    alike = score <= ALIKE * score[chosen]
    alike[best] = False
    total = away.new_zeros(len(best)).index_add_(0, group, away * alike)
    count = away.new_zeros(len(best)).index_add_(0, group, alike.to(away.dtype))
    return total / count.clamp_min(1)
