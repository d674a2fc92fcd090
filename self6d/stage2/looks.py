"""The RGB refiner beside the teacher: its poses as starts, or, without depth, as pseudo-poses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from self6d.losses.objective import SelfSupervision
from self6d.network.outputs import Detections
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import PoseHealth, judge_poses
from self6d.refinement.refine import observe_detections
from self6d.refinement.regions import ModelBoxes
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.scene.batch import FrameBatch
from self6d.stage2.config import AdaptConfig


@dataclass(frozen=True)
class Looked:
    """N detections' poses moved by the RGB refiner.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres. confidence, last_move: (N,), see `RgbRefined`.
        before, after: label-free health of the detections' poses and of the moved ones.
    """

    R: Tensor
    t: Tensor
    confidence: Tensor
    last_move: Tensor
    before: PoseHealth
    after: PoseHealth


@torch.no_grad()
def look_at(
    sensor: FrameBatch,
    detections: Detections,
    looker: RgbRefiner,
    models: PackedModels,
    objective: SelfSupervision,
    optimize: OptimizeConfig,
) -> Looked:
    """Let the refiner move N detections' poses, and judge both poses on the frames.

    Args:
        optimize: the regions judged on (`region`, `padding`).
    """
    index = detections.object_index
    moved = looker.refine(
        sensor.images, sensor.K, detections.image_index, index, detections.R, detections.t
    )
    diameter = ModelBoxes.of(models).diameter[index]
    health = []
    for R, t in ((detections.R, detections.t), (moved.R, moved.t)):
        posed = replace(detections, R=R, t=t)
        target = observe_detections(
            sensor, posed, models, objective, optimize.region, optimize.padding
        )
        size = (optimize.region, optimize.region)
        view = render(R, t, target.K, models, size, object_index=index, soft_mask=False)
        health.append(judge_poses(objective, target, view, diameter))
    return Looked(moved.R, moved.t, moved.confidence, moved.last_move, *health)


def better_starts(detections: Detections, looked: Looked) -> Detections:
    """The detections with the refiner's poses where those explain the frame at least as well."""
    better = looked.after.trust >= looked.before.trust
    return replace(
        detections,
        R=torch.where(better[:, None, None], looked.R, detections.R),
        t=torch.where(better[:, None], looked.t, detections.t),
    )


def sound_looks(looked: Looked, config: AdaptConfig) -> Tensor:
    """(N,) bool: confident, at rest after the last look, and the rendering fills the mask."""
    return (
        (looked.confidence >= config.keep_confidence)
        & (looked.last_move <= config.keep_spread)
        & (looked.after.mask_iou >= config.keep_iou)
    )
