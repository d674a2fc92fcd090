"""Evaluation timed, recordings made to measure on, cost against work."""

from __future__ import annotations

import json

import numpy as np
import pytest

from self6d import cli
from self6d.benchmarks import scale
from self6d.benchmarks.evaluate import bench_evaluate
from self6d.datasets import open_dataset
from self6d.evaluation import Prediction, evaluate
from self6d.paths import resource
from self6d.runs.load_network import load_network

SHIPPED = str(resource("sample/stage1"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "recording"
    arguments = ["--from", SHIPPED, "--frames", "3", "--height", "96", "--device", "cpu", "--quiet"]
    assert cli.run(["bench", "recording", str(out), *arguments]) == 0
    return out


def test_a_made_recording_has_right_labels(made):
    recording = open_dataset(made)
    assert (len(recording), recording.frame(0).camera.size) == (3, (96, 128))
    models = load_network(SHIPPED).models
    truth = [
        Prediction(k.scene_id, k.image_id, t.object_id, 1.0, t.pose.R_m2c, t.pose.t_m2c,
                   t.mask_visible)
        for i, k in enumerate(recording.keys)
        for t in recording.truth(i)
    ]  # fmt: skip
    # the masks it is labelled with are those of its poses: VSD looks at rendering and depth
    mean = evaluate(recording, models, truth, bop=True, min_visible=0.3).mean
    assert mean.recall_2 == mean.mask_iou == 1
    assert mean.ar_vsd > 0.95


def test_evaluation_is_timed_part_by_part(made):
    rows = bench_evaluate(made, SHIPPED, frames=2, bop=True, device="cpu")
    stages = [row["stage"] for row in rows]
    assert stages == ["first", "again", "read", "predict", "score", "table"]
    assert all(row["ms"] > 0 for row in rows)
    assert {(row["network"], row["frames"], row["objects"]) for row in rows} == {
        ("1 together", 2, 3)
    }
    # measuring leaves the protocol as it was
    assert evaluate.__globals__["_sights"].__name__ == "_sights"


def test_longer_recordings_cost_more_to_open(tmp_path, capsys):
    file, picture = tmp_path / "scale.json", tmp_path / "scale.png"
    arguments = ["bench", "scale", "frames", "--quick", "--device", "cpu", "--json", str(file)]
    assert cli.run([*arguments, "--plot", str(picture)]) == 0
    rows = json.loads(file.read_text())
    assert [row["work"] for row in rows] == [100, 1000]
    growth = np.log(rows[1]["ms"] / rows[0]["ms"]) / np.log(10)
    assert rows[0]["growth"] is None
    assert rows[1]["growth"] == pytest.approx(growth)
    assert rows[1]["mb"] > rows[0]["mb"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    # what was measured can be shown again
    assert cli.run(["bench", "scale", "--read", str(file)]) == 0
    assert "open, first picture" in capsys.readouterr().out
    assert cli.run(["bench", "scale", "pictures"]) != 0
    assert "there is no part 'pictures'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "[1]", '[{"part": "faces"}]'])
def test_a_file_without_costs_is_named_and_writes_nothing(tmp_path, capsys, text):
    file = tmp_path / "other.json"
    file.write_text(text)
    arguments = ["bench", "scale", "--read", str(file), "--json", str(tmp_path / "new.json")]
    assert cli.run([*arguments, "--plot", str(tmp_path / "x.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "other.json: holds no costs" in line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_result_is_never_written_over_a_file(tmp_path, capsys, option):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    assert cli.run(["bench", "scale", "frames", "--quick", option, str(mine)]) == 2
    assert "mine: exists already. Name a new file." in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_networks_of_more_objects_are_timed(monkeypatch):
    monkeypatch.setattr(scale, "OBJECTS", (1, 2, 2, 2))
    rows = scale.bench_scale(["objects"], preset="tiny", height=96, quick=True, device="cpu")
    assert [(row["what"], row["work"]) for row in rows] == [
        ("predict, eager", 1),
        ("train, batch 2", 1),
        ("predict, eager", 2),
        ("train, batch 2", 2),
    ]
    assert all(row["ms"] > 0 for row in rows)
    assert rows[2]["growth"] == pytest.approx(np.log2(rows[2]["ms"] / rows[0]["ms"]))


def test_linked_frames_are_read_as_a_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "LINKS", 2)  # file systems allow so many to a file
    scale.write_linked(tmp_path / "test" / "000001", 4)
    files = sorted((tmp_path / "test" / "000001" / "rgb").iterdir())
    assert [file.stat().st_nlink for file in files] == [2] * 4
    recording = open_dataset(tmp_path)
    assert len(recording) == 4
    assert recording.frame(3).depth_m.max() < 1
    assert [t.object_id for t in recording.truth(2)] == [1]


def test_what_was_measured_before_a_fault_is_kept(tmp_path, monkeypatch, capsys):
    write, file = scale.write_linked, tmp_path / "scale.json"

    def fails(scene, count):
        if count > 100:
            raise OSError(28, "No space left on device")
        write(scene, count)

    monkeypatch.setattr(scale, "write_linked", fails)
    arguments = ["bench", "scale", "frames", "--quick", "--device", "cpu", "--json", str(file)]
    assert cli.run(arguments) == 6
    assert "No space left" in capsys.readouterr().err
    assert [row["work"] for row in json.loads(file.read_text())] == [100]
