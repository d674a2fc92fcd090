"""Settings of the smallest runs of both stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from self6d.config import assignment

SMALL = {
    "network.backbone": "resnet10-w8",
    "network.crop_backbone": "resnet10-w8",
    "network.crop_size": 32,
    "network.head_channels": 32,
    "network.rois_per_image": 1,
    "synthesis.height": 96,
    "synthesis.background_pool": 4,
    "synthesis.instances_max": 3,
    "synthesis.faces_max": 300,
    "train.batch": 2,
    "train.validate_every": 0,
    "train.validation_images": 2,
    "loop.checkpoint_every": 2,
    "loop.preview_every": 1000,
}
STAGE_2 = {
    "adapt.batch": 2,
    "adapt.region": 48,
    "adapt.max_objects": 3,
    "adapt.detection_score": 0.0,
    "adapt.health_frames": 2,
    "adapt.collapse": 0.0,
    "adapt.pseudo_steps": 2,
    "adapt.pseudo_region": 48,
    "loss.perceptual": 0.0,
    "loss.points": 64,
    "optimize.region": 48,
    "optimize.flips": False,
    "optimize.steps": 5,
    "loop.preview_every": 1000,
}


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of a command, --set KEY=VALUE each."""
    return [w for key, value in settings.items() for w in ("--set", assignment(key, value))]
