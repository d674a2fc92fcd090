"""A bag of each kind from end to end: doctor, adapt, predict, as on any other recording."""

from __future__ import annotations

import json
from pathlib import Path

import bags
import numpy as np
import pytest
from small_runs import SMALL, STAGE_2

from self6d import jobs
from self6d.cli import run
from self6d.datasets import open_dataset
from self6d.doctor.doctor import examine
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 6, 3, size=(96, 128))


@pytest.fixture(scope="module")
def stage1(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "stage1"
    start = {"preset": "tiny", "steps": 4, "overrides": SMALL, "device": "cpu"}
    return jobs.train(sample / "models", out, camera=sample, **start).path


@pytest.mark.parametrize("form", bags.FORMS)
def test_a_bag_is_adapted_from_end_to_end(
    sample: Path, stage1: Path, tmp_path: Path, form: str
) -> None:
    source = open_dataset(sample)
    frames = [source.frame(i) for i in range(len(source))]
    rgb = [f.rgb for f in frames]
    depth = [np.round(f.depth_m * 1000).astype(np.uint16) for f in frames]
    path = bags.write(tmp_path / "take", form, rgb, depth, frames[0].camera.K_opencv)

    report = examine(path, models=sample / "models")
    assert report.kind == "bag"
    assert report.frames == len(frames)
    assert not [f for f in report.findings if f.severity == "error"]

    settings = {"steps": 2, "overrides": STAGE_2, "device": "cpu"}
    adapted = jobs.adapt(path, None, stage1, tmp_path / "run", preset="self6d-paper", **settings)
    assert adapted.status == "done"
    assert len(adapted.curves()["loss/total"][0]) == 2

    poses = tmp_path / "poses.json"
    arguments = ["--from", str(adapted.path), "--score", "0", "--device", "cpu"]
    assert run(["predict", str(path), *arguments, "--json", str(poses)]) == 0
    rows = json.loads(poses.read_text())
    assert {row["image_id"] for row in rows} == set(range(len(frames)))
