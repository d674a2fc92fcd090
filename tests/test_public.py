"""The public door: every name opens, and the examples in its docstrings run, as one story."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import self6d

SMALL = {
    "network.backbone": "resnet10-w8",
    "network.crop_backbone": "resnet10-w8",
    "network.crop_size": 32,
    "network.head_channels": 32,
    "network.rois_per_image": 1,
    "synthesis.height": 96,
    "synthesis.background_pool": 4,
    "synthesis.faces_max": 300,
    "train.batch": 2,
    "train.validation_images": 2,
}
SMALL_2 = {
    "adapt.batch": 2,
    "adapt.region": 48,
    "adapt.detection_score": 0.0,
    "adapt.health_frames": 2,
    "adapt.collapse": 0.0,
    "loss.perceptual": 0.0,
    "loss.points": 64,
    "optimize.region": 48,
    "optimize.flips": False,
}
STORY = (
    "Camera", "Control", "Pose", "Frame", "ObjectModel", "open_dataset", "load_models",
    "pack_models", "render", "train", "adapt", "predict", "evaluate", "export", "optimize",
)  # fmt: skip


def test_every_public_name_is_in_the_story():
    assert sorted(STORY) == sorted(self6d.__all__)
    assert set(self6d.__all__) <= set(dir(self6d))
    with pytest.raises(AttributeError, match="no attribute 'typo'"):
        self6d.typo  # noqa: B018


def test_examples_run(tmp_path: Path):
    from self6d.sample.sample import make_sample

    recording = make_sample(tmp_path / "sample", 7, 6, 3, size=(96, 128))
    names = {"recording": recording, "out": tmp_path, "small": SMALL, "small_2": SMALL_2}
    names |= {
        "self6d": self6d,
        "load_models": self6d.load_models,
        "pack_models": self6d.pack_models,
    }
    tried = doctest.testmod(self6d, extraglobs=names, raise_on_error=True).attempted
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DebugRunner()
    for name in STORY:
        for example in finder.find(getattr(self6d, name), name, extraglobs=names):
            runner.run(example, clear_globs=False)
            tried += len(example.examples)
    assert tried >= 20
