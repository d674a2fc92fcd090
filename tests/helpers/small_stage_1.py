"""Stage 1 itself, as small as it goes: real renders, network, losses and moving average."""

from __future__ import annotations

from dataclasses import replace

from self6d.datasets import load_models
from self6d.engine.schedule import TrainConfig
from self6d.network import NetworkConfig
from self6d.sample.sample import models_folder
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig


def small_stage_1(steps: int) -> SyntheticTask:
    network = replace(
        NetworkConfig.preset("tiny"), backbone="resnet10-w8", crop_backbone="resnet10-w8",
        crop_size=32, head_channels=32, rois_per_image=1,
    )  # fmt: skip
    synthesis = SynthesisConfig(
        height=64, background_pool=4, instances_min=1, instances_max=2, faces_max=200
    )
    train = TrainConfig(steps=steps, batch=2, validate_every=200, validation_images=2)
    return SyntheticTask(load_models(models_folder()), None, network, synthesis, train)
