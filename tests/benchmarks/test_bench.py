"""The measurements of prediction, single-image optimiser and stage 2, on the generated sample."""

from __future__ import annotations

import json

import pytest
import torch

from self6d import cli, jobs
from self6d.benchmarks.adapt import bench_adapt
from self6d.benchmarks.optimize import bench_optimize
from self6d.benchmarks.timer import Stopwatch, Timer
from self6d.paths import resource
from self6d.sample.sample import make_sample

SHIPPED = str(resource("sample/stage1"))
LIGHT = {"adapt.region": 48, "loss.points": 64, "optimize.region": 48, "optimize.flips": False}
ALL_TERMS = "mask ab ms_ssim perceptual geometry"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 4, 2, size=(96, 128))


def bench(tmp_path, *arguments) -> list[dict]:
    """Rows of `self6d-studio bench ... --json FILE`."""
    report = tmp_path / "report.json"
    assert cli.run(["bench", *map(str, arguments), "--device", "cpu", "--json", str(report)]) == 0
    return json.loads(report.read_text())


def settings(changes: dict) -> list[str]:
    return [
        part for key, value in changes.items() for part in ("--set", f"{key}={str(value).lower()}")
    ]


def test_predict(tmp_path, capsys):
    row, found = bench(tmp_path, "predict", SHIPPED, "--size", "64x96", "--repeats", 3)
    assert (row["form"], found["form"], row["objects"]) == ("eager", "found", 3)
    assert (row["height"], row["width"]) == (64, 96)
    assert 0 < row["fastest_ms"] <= row["ms"]
    assert row["images_per_s"] == pytest.approx(1000 / row["ms"])
    assert row["device"] == f"CPU, {torch.get_num_threads()} thread"
    assert "eager" in capsys.readouterr().out


def test_predict_takes_a_package_too(tmp_path):
    jobs.export(SHIPPED, tmp_path / "package", onnx=False)
    small = ("--size", "64x96", "--repeats", 1, "--refiner", "shipped", "--bfloat16")
    rows = bench(tmp_path, "predict", tmp_path / "package", *small)
    looks = ["refiner, 1 look", "refiner, 3 looks"]
    forms = ["eager", "found", *looks, "eager, bfloat16", "found, bfloat16"]
    assert [row["form"] for row in rows] == forms
    assert all(row["objects"] == 3 and row["ms"] > 0 for row in rows)


@pytest.mark.parametrize("size", ["480", "x640", "0x640", "480x-1", "large"])
def test_a_size_that_is_none_is_one_line(size, capsys):
    assert cli.run(["bench", "predict", SHIPPED, "--size", size]) != 0
    assert f"'{size}' is not the size of an image" in capsys.readouterr().err


def test_optimize(sample, tmp_path):
    # more frames than the recording has, so that some come twice
    arguments = ("--frames", 7, "--steps", 3, "--repeats", 2, *settings(LIGHT))
    (row,) = bench(tmp_path, "optimize", sample, "--from", SHIPPED, *arguments)
    assert (row["frames"], row["starts"], row["steps"], row["terms"]) == (7, 7, 3, ALL_TERMS)
    assert row["s_per_frame"] == pytest.approx(row["seconds"] / 7)
    assert row["ms_per_step"] == pytest.approx(row["seconds"] / 3 * 1000)
    assert 0 < row["first_step_ms"] < 1000 * row["seconds"]


def test_optimize_counts_the_flips_it_tries(sample):
    changes = LIGHT | {"optimize.flips": True, "loss.perceptual": 0}
    (row,) = bench_optimize(
        sample, SHIPPED, frames=2, steps=1, repeats=1, overrides=changes, device="cpu"
    )
    assert 2 <= row["starts"] <= 8
    assert row["terms"] == "mask ab ms_ssim geometry"


def test_adapt(sample, tmp_path):
    arguments = ("--batch", 2, "--steps", 2, "--frames", 3, *settings(LIGHT))
    rows = bench(tmp_path, "adapt", sample, "--from", SHIPPED, *arguments)
    by_stage = {row["stage"]: row for row in rows}
    parts = ("frames", "labels", "forward", "compare", "update", "rest")
    assert tuple(by_stage) == (*parts, "step", "first refresh", "refresh")
    assert all(by_stage[name]["ms"] > 0 for name in by_stage)
    assert by_stage["step"]["batch"] == 2
    assert by_stage["step"]["images_per_s"] == pytest.approx(2000 / by_stage["step"]["ms"])
    assert by_stage["refresh"]["batch"] == 3
    assert 2 <= by_stage["step"]["objects"] <= 6  # two frames with one to three of them each
    assert by_stage["compare"]["ms"] > by_stage["labels"]["ms"]  # there are no labels to make


def test_adapt_wants_whole_batches(sample, capsys):
    arguments = ["--batch", "5", "--frames", "3", *settings(LIGHT), "--device", "cpu"]
    assert cli.run(["bench", "adapt", str(sample), "--from", SHIPPED, *arguments]) != 0
    said = capsys.readouterr().err
    assert "of 3 frames have an object to learn from, a batch takes 5" in said
    assert len(said.strip().splitlines()) == 1


def test_adapt_learns_as_stage_2_does(sample):
    """The preset's own labels and scope are in the steps that are timed."""
    changes = LIGHT | {
        "adapt.label_weight": 1.0, "adapt.pseudo": True, "adapt.pseudo_steps": 1,
        "adapt.pseudo_region": 48, "adapt.keep_iou": 0.0, "adapt.keep_inliers": 0.0,
        "adapt.keep_spread": 10.0, "loss.perceptual": 0,
    }  # fmt: skip
    rows = bench_adapt(sample, SHIPPED, batch=1, steps=1, frames=2, overrides=changes, device="cpu")
    by_stage = {row["stage"]: row["ms"] for row in rows}
    assert by_stage["labels"] > 0.5  # milliseconds: labels are rendered


def test_stopwatch_counts_every_call_and_leaves_no_trace():
    class Worker:
        def work(self, value: int) -> int:
            return value + 1

    worker, watch = Worker(), Stopwatch(Timer(torch.device("cpu")))
    worker.own = lambda: "own"
    before = worker.own
    watch.watch(worker, "work", "working")
    watch.watch(worker, "own", "working")
    assert (worker.work(1), worker.own()) == (2, "own")
    assert watch.seconds["working"] > 0
    watch.release()
    assert vars(worker) == {"own": before}


@pytest.mark.parametrize("preset", ["tiny", "refiner-tiny"])
def test_train(preset, tmp_path):
    small = {"synthesis.height": 64, "synthesis.background_pool": 2, "train.batch": 2}
    own = {"network.crop_size": 32} if preset == "tiny" else {"refiner.size": 32}
    arguments = ("--preset", preset, "--steps", 1, *settings(small | own))
    by_stage = {row["stage"]: row for row in bench(tmp_path, "train", *arguments)}
    stages = ("make", "augment", "forward", "backward", "update", "step", "first steps")
    assert tuple(by_stage) == stages
    assert all(row["ms"] > 0 and row["batch"] == 2 for row in by_stage.values())
    first = by_stage["first steps"]
    assert first["images_per_s"] == pytest.approx(10_000 / first["ms"])  # five steps of two
