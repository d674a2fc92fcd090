"""The RGB refiner through the command line: trained, continued, used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from self6d import cli, jobs
from self6d.errors import CheckpointError, InputError
from self6d.refinement.rgb.weights import load_refiner
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample

SMALL = [
    *("--set", "refiner.backbone=resnet18-w8", "--set", "refiner.size=64"),
    *("--set", "refiner.head_channels=8", "--set", "synthesis.background_pool=4"),
    *("--set", "train.batch=2", "--set", "train.validation_images=2", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("refiner") / "sample", 2, 2, 1, size=(96, 128))


@pytest.fixture(scope="module")
def stage1(sample, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("refiner_stage1") / "run"
    small = {"synthesis.background_pool": 4, "train.batch": 2, "train.validation_images": 2}
    jobs.train(sample / "models", out, preset="tiny", steps=2, overrides=small, device="cpu")
    return out


@pytest.fixture(scope="module")
def refiner(sample, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("refiner_run") / "run"
    words = ["train-refiner", "--models", str(sample / "models"), "--out", str(out), "--quiet"]
    assert cli.run([*words, "--preset", "refiner-tiny", "--steps", "2", *SMALL]) == 0
    return out


def test_a_run_says_what_it_is(refiner: Path) -> None:
    run = RunFolder.open(refiner)
    assert (run.kind, run.status, run.info["step"]) == ("refiner", "done", 2)
    assert {"images", "start_recall", "add_recall", "brier"} <= set(run.result)
    network, ids = load_refiner(refiner)
    assert len(network.out.weight) == len(ids) == 3


def test_resume_goes_on(sample: Path, tmp_path: Path) -> None:
    words = ["train-refiner", "--models", str(sample / "models"), "--out", str(tmp_path / "run")]
    words += ["--preset", "refiner-tiny", "--quiet", *SMALL]
    assert cli.run([*words, "--steps", "1"]) == 0
    assert cli.run([*words, "--steps", "2", "--resume"]) == 0
    assert RunFolder.open(tmp_path / "run").info["step"] == 2


def test_predict_moves_poses_by_it(sample, stage1, refiner, tmp_path) -> None:
    said = []
    for more in ([], ["--refine", "rgb", "--refiner", str(refiner)]):
        file = tmp_path / f"{len(said)}.json"
        words = ["predict", str(sample), "--from", str(stage1), "--score", "0", "--quiet"]
        assert cli.run([*words, "--json", str(file), "--device", "cpu", *more]) == 0
        said.append(json.loads(file.read_text()))
    plain, refined = said
    assert [row["score"] for row in plain] == [row["score"] for row in refined]
    away = [np.abs(np.subtract(a["t_m2c"], b["t_m2c"])).max() for a, b in zip(plain, refined)]
    assert max(away) > 1e-5
    assert np.isfinite([row["t_m2c"] for row in refined]).all()
    assert all(0 < row["confidence"] < 1 for row in refined)
    assert "confidence" not in plain[0]


def test_evaluate_gives_it_a_row(sample, stage1, refiner) -> None:
    report = jobs.evaluate(sample, None, [stage1], refine=["rgb"], refiner=refiner, device="cpu")
    assert [result.label for result in report.results] == ["run", "run + rgb"]


def test_for_every_object_it_needs_no_model(sample, stage1, tmp_path) -> None:
    out = tmp_path / "any"
    words = ["train-refiner", "--out", str(out), "--preset", "refiner-tiny", "--steps", "1"]
    any_object = ["--set", "refiner.per_object=false", "--set", "refiner.generated=5"]
    assert cli.run([*words, "--quiet", *SMALL, *any_object]) == 0
    assert load_refiner(out)[1] == []
    rows = jobs.predict(
        sample, stage1, refine="rgb", refiner=out, score_threshold=0.0, device="cpu"
    )
    assert rows
    mine = tmp_path / "mine"
    jobs.train_refiner(
        sample / "models", mine, start=out, preset="refiner-tiny", steps=1, device="cpu",
        overrides=SMALL[1::2][:-1],
    )  # fmt: skip
    assert len(load_refiner(mine)[1]) == 3


def test_without_one_named_it_is_the_runs_own_or_the_shipped(sample, stage1, refiner) -> None:
    told: list[str] = []

    def predicted(**named) -> list:
        return jobs.predict(
            sample, stage1, refine="rgb", device="cpu",
            listener=lambda event: told.append(getattr(event, "text", "")), **named,
        )  # fmt: skip

    assert predicted() == predicted(refiner="shipped")
    assert any("refiner that ships" in text for text in told)


def test_mistakes_are_one_line(sample, stage1, refiner, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="holds no refiner"):
        jobs.predict(sample, stage1, refine="rgb", refiner=stage1, device="cpu")
    with pytest.raises(InputError, match="no refinement"):
        jobs.predict(sample, stage1, refine="colour", device="cpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no object models"):
        jobs.train_refiner(None, tmp_path / "a", preset="refiner-tiny", device="cpu")
    with pytest.raises(CheckpointError, match="holds no network"):
        jobs.predict(sample, refiner, device="cpu")
    one = tmp_path / "one"
    jobs.train_refiner(
        next((sample / "models").glob("obj*1.*")), one, preset="refiner-tiny", steps=1,
        overrides=SMALL[1::2][:-1], device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match="does not know object"):
        jobs.predict(sample, stage1, refine="rgb", refiner=one, device="cpu")
