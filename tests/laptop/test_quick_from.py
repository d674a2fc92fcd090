"""quick --from: a network that there is finds the objects, learns from their track, is exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import STAGE_2, as_options

import self6d
from self6d import cli
from self6d.config import load_preset
from self6d.datasets.pose_track import read_pose_track
from self6d.errors import InputError
from self6d.laptop.order import stage_2_of
from self6d.laptop.settings import learning_settings
from self6d.packaging import load_package
from self6d.paths import resource
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample

SHIPPED = resource("sample/stage1")
SETTINGS = STAGE_2 | {
    "track.points": 256, "track.candidates": 200, "track.steps": 8, "track.region": 64,
    "loss.points": 256, "synthesis.height": 96, "adapt.steps": 3, "adapt.image_height": 96,
    "adapt.synthetic_batch": 1, "adapt.refiner": "", "adapt.track_confidence": 0.0,
    "loop.checkpoint_every": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return make_sample(tmp_path_factory.mktemp("from") / "data", 7, 2, 1, size=(240, 320))


def test_a_network_finds_learns_and_is_exported(recording, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["quick", str(recording), "--from", str(SHIPPED), "--out", str(out), "--no-onnx"]
    words += ["--object", "1", "--device", "cpu", *as_options(SETTINGS)]
    assert cli.run(words) == 0
    said = capsys.readouterr()
    assert "stage 1, synthetic" not in said.err
    assert str(out / "package") in said.out
    plan = json.loads((out / "quick.json").read_text())["plan"]
    assert [part["name"] for part in plan] == ["track", "adapted"]
    assert not (out / "stage1").exists()
    assert not (out / "colours").exists()
    followed, learned = RunFolder.open(out / "track"), RunFolder.open(out / "adapted")
    assert followed.info["provenance"]["from_run"] == str(SHIPPED)
    told = learned.info["provenance"]
    assert (told["from_run"], told["preset"], learned.info["step"]) == (str(SHIPPED), "laptop", 3)
    posed = sum(pose.pose is not None for pose in read_pose_track(out / "track"))
    assert learned.result["poses"] == posed > 0
    assert load_package(out / "package").network.object_ids == [1, 2, 3]

    assert cli.run([*words, "--resume"]) == 0
    assert capsys.readouterr().err.count("done already") == 2
    other = [w for w in words if w not in ("--from", str(SHIPPED))]
    assert cli.run([*other, "--search", "--resume"]) == 2
    assert "begun with another --from" in capsys.readouterr().err


def test_there_is_one_start(recording, tmp_path):
    with pytest.raises(InputError, match="two starts are given"):
        self6d.quick(recording, None, tmp_path / "q", from_run=SHIPPED, search=True)
    assert not (tmp_path / "q").exists()


def test_a_gpu_learns_with_a_preset_of_its_own():
    assert stage_2_of(given=True, on_gpu=True) == "tracked"
    assert learning_settings("tracked") == {}
    own = load_preset("tracked", 2)["adapt"]
    assert (own["batch"], own["steps"], own["refiner"]) == (24, 1000, "shipped")
    assert own["synthetic"] == load_preset("laptop", 2)["adapt"]["synthetic"] > 0
    # a network trained here for two cores goes on as it began
    assert stage_2_of(given=False, on_gpu=True) == stage_2_of(given=True, on_gpu=False) == "laptop"
    assert learning_settings("laptop").keys() == {
        "adapt.steps", "adapt.refiner", "adapt.refiner_every",
    }  # fmt: skip
