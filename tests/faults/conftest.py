"""A small recording and a trained run, to be harmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from self6d import jobs
from self6d.sample.sample import make_sample

TINY = {
    "network.backbone": "resnet10-w8",
    "network.crop_backbone": "resnet10-w8",
    "network.crop_size": 32,
    "network.head_channels": 32,
    "network.rois_per_image": 1,
    "synthesis.height": 64,
    "synthesis.background_pool": 4,
    "synthesis.instances_max": 2,
    "synthesis.faces_max": 200,
    "train.batch": 2,
    "train.validate_every": 0,
    "train.validation_images": 2,
    "loop.preview_every": 1000,
}


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("faults") / "sample", 7, 3, 1, size=(64, 96))


@pytest.fixture(scope="session")
def trained(sample, tmp_path_factory) -> Path:
    """A stage-1 run of two steps that was stopped before its third."""
    out = tmp_path_factory.mktemp("faults") / "run"
    run = jobs.train(
        sample / "models", out, preset="tiny", camera=sample, steps=2, overrides=TINY, device="cpu"
    )
    run.update(status="stopped")
    return out
