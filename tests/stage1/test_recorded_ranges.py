"""Distances of stage-1 images from a recording's depth: when, how far, told, kept, unlabelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recordings as world

from self6d import jobs
from self6d.config import from_dict
from self6d.datasets import Recording, load_models, open_dataset
from self6d.events import Note
from self6d.jobs.prepare import resolve_camera
from self6d.run_config import RunConfig
from self6d.sample.sample import make_sample
from self6d.stage1.recorded_ranges import with_recorded_ranges
from self6d.synthesis import SynthesisConfig

OPEN = SynthesisConfig()
STEP = {
    "network.backbone": "resnet10-w8", "network.crop_backbone": "resnet10-w8",
    "network.crop_size": 32, "network.head_channels": 32, "network.rois_per_image": 1,
    "synthesis.height": 64, "synthesis.background_pool": 2, "synthesis.faces_max": 200,
    "train.batch": 2, "train.validate_every": 0, "train.validation_images": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 24, 24, size=(96, 128))


@pytest.fixture(scope="module")
def models(sample: Path):
    return load_models(sample / "models")


def distances(config: SynthesisConfig) -> tuple[float, float]:
    return config.distance_near_m, config.distance_far_m


def test_range_holds_the_objects_of_other_frames(sample, models) -> None:
    config, line = with_recorded_ranges(OPEN, sample, models)
    near, far = distances(config)
    held_out = open_dataset(sample).split("eval")
    z = [t.pose.t_m2c[2] for i in range(len(held_out)) for t in held_out.truth(i)]
    assert np.mean([near <= v <= far for v in z]) > 0.9
    assert far / near < 4
    assert line.startswith(f"distances of {near:g} to {far:g} m, from the depth of 24 frames")
    assert "\n" not in line


def test_no_label_is_read(sample, models, monkeypatch) -> None:
    expected = with_recorded_ranges(OPEN, sample, models)

    def refuse(*_: object) -> None:
        raise AssertionError("a label was asked for")

    monkeypatch.setattr(Recording, "truth", refuse)
    assert with_recorded_ranges(OPEN, sample, models) == expected


def test_what_the_user_said_stays(sample, models, tmp_path) -> None:
    for said in ({"distance_near_m": 0.4}, {"distance_far_m": 2.0}, {"ranges": "size"}):
        config = replace(OPEN, **said)
        assert with_recorded_ranges(config, sample, models) == (config, "")
    camera_file = tmp_path / "camera.json"
    world.dump(camera_file, {"fx": 60.0, "fy": 60.0, "cx": 30, "cy": 20, "width": 60, "height": 40})
    colour_only = world.folder(tmp_path / "rgb only", depth=False)
    for source in (None, resolve_camera(sample), camera_file, str(camera_file), colour_only):
        assert with_recorded_ranges(OPEN, source, models) == (OPEN, "")


def test_a_range_ends_where_objects_would_be_specks(sample, models) -> None:
    picky = replace(OPEN, apparent_min=0.5, apparent_max=0.55)
    diameters = np.array([model.diameter for model in models])
    _, by_size = picky.distances(resolve_camera(sample), diameters)
    config, _ = with_recorded_ranges(picky, sample, models)
    assert config.distance_far_m == pytest.approx(2 * by_size, abs=1e-3)
    assert config.distance_far_m < with_recorded_ranges(OPEN, sample, models)[0].distance_far_m


def test_depth_that_cannot_be_is_told_and_left(sample, models) -> None:
    beads = [replace(model, diameter=model.diameter / 100) for model in models]
    config, line = with_recorded_ranges(OPEN, sample, beads)
    assert config == OPEN
    assert "does not suit it" in line


def test_a_run_tells_and_keeps_its_range(sample, models, tmp_path) -> None:
    heard: list[object] = []
    out = tmp_path / "run"
    settings = {"preset": "tiny", "overrides": STEP, "device": "cpu"}
    run = jobs.train(
        sample / "models", out, camera=sample, steps=1, listener=heard.append, **settings
    )
    preset = replace(OPEN, apparent_min=0.2)
    expected, line = with_recorded_ranges(preset, sample, models)
    kept = from_dict(RunConfig, run.config).synthesis
    assert distances(kept) == distances(expected) != (0, 0)
    assert run.info["provenance"]["ranges"] == line
    assert heard.count(Note("info", line)) == 1
    again = jobs.train(sample / "models", out, steps=2, resume=True, device="cpu")
    assert again.info["step"] == 2
    assert from_dict(RunConfig, again.config).synthesis == kept
