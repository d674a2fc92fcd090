"""adapt and train --poses: the run keeps its track, resumes with it, and is used."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import SMALL, STAGE_2, as_options

import self6d
import self6d.jobs
from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import TrackedPose, TrackState, read_pose_track, write_pose_track
from self6d.errors import InputError, Self6DError
from self6d.events import Note
from self6d.geometry import Pose
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A recording, a track of its eval frames (their truth, for the test), and a stage-1 run."""
    root = tmp_path_factory.mktemp("track")
    data = make_sample(root / "data", 7, 1, 4, size=(96, 128))
    dataset = open_dataset(data)
    write_pose_track(
        root / "poses.json",
        [
            TrackedPose(key, t.object_id, 0, TrackState.TRACKED, t.pose, 0.9 - 0.2 * (i % 2))
            for i, key in enumerate(dataset.split("eval").keys)
            for t in dataset.truth(dataset.keys.index(key))
        ],
    )
    self6d.train(data / "models", root / "stage1", preset="tiny", steps=2, overrides=SMALL)
    return data, root / "poses.json", root / "stage1"


SETTINGS = STAGE_2 | {"adapt.synthetic_batch": 1, "adapt.image_height": 96}


def test_the_run_keeps_its_track_and_goes_on_with_it(world, tmp_path):
    data, track, stage1 = world
    mine, out = tmp_path / "poses.json", tmp_path / "run"
    mine.write_bytes(track.read_bytes())
    words = ["adapt", str(data), "--from", str(stage1), "--out", str(out), "--split", "eval"]
    words += ["--preset", "laptop", "--device", "cpu", "--quiet"]
    words += as_options(SETTINGS)
    assert cli.run([*words, "--poses", str(mine), "--steps", "1"]) == 0
    run = RunFolder.open(out)
    assert run.info["provenance"]["poses"] == "poses.json"
    assert len(read_pose_track(out / "poses.json")) == len(read_pose_track(track))
    assert run.result.items() >= {"frames": 2, "poses": 6, "left_out": 6}.items()
    mine.unlink()
    assert cli.run([*words, "--steps", "2", "--resume"]) == 0
    assert RunFolder.open(out).info["step"] == 2
    rows = self6d.predict(data, out, score_threshold=0.0)
    assert {row["object_id"] for row in rows} <= {1, 2, 3}


def test_stage_1_learns_from_a_track_beside_and_goes_on_with_it(world, tmp_path, capsys):
    data, _, _ = world
    dataset, mine, out = open_dataset(data), tmp_path / "poses.json", tmp_path / "run"
    (key,) = dataset.split("adapt").keys
    ahead = Pose(np.eye(3), np.array([0, 0, 0.5]))
    write_pose_track(
        mine, [TrackedPose(key, i, 0, TrackState.TRACKED, ahead, 1.1 - 0.2 * i) for i in (1, 2, 3)]
    )
    words = ["train", "--models", str(data / "models"), "--out", str(out), "--preset", "tiny"]
    words += ["--device", "cpu", "--poses", str(mine)]
    words += as_options(SMALL)
    assert cli.run([*words, "--camera", str(data / "camera.json"), "--steps", "1"]) == 2
    assert "Name that recording with --camera" in capsys.readouterr().err
    words += ["--camera", str(data), "--set", "adapt.batch=1"]
    assert cli.run([*words, "--steps", "1"]) == 0
    said = capsys.readouterr().err
    assert "1 poses of a track in 1 frames: pseudo-poses" in said
    assert "70% of the synthetic objects are seen from near these" in said
    mine.unlink()
    resumed = [w for w in words if w not in ("--poses", str(mine))]
    assert cli.run([*resumed, "--steps", "2", "--resume", "--quiet"]) == 0
    run = RunFolder.open(out)
    assert run.result.items() >= {"frames": 1, "poses": 1}.items()
    told = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert {row["step"] for row in told if "loss/poses" in row.get("values", {})} == {0, 1}
    assert run.config["synthesis"]["views_share"] == 0.7
    assert (run.config["adapt"]["batch"], run.config["adapt"]["roll_deg"]) == (1, 20)


def test_it_says_what_it_learns_from(world, tmp_path):
    data, track, stage1 = world
    said: list = []
    self6d.adapt(
        data, None, stage1, tmp_path / "run", preset="laptop", poses=track, split="eval", steps=1,
        overrides=SETTINGS | {"adapt.synthetic": 0.0}, listener=said.append,
    )  # fmt: skip
    notes = [event.text for event in said if isinstance(event, Note)]
    assert any("6 of a track's 12 poses, in 2 frames: pseudo-poses" in text for text in notes)
    assert any("no synthetic images are mixed in" in text for text in notes)


def test_a_track_of_other_frames_is_refused(world, tmp_path):
    data, track, stage1 = world
    with pytest.raises(InputError, match="no pose to learn from") as caught:
        self6d.adapt(
            data, None, stage1, tmp_path / "run", preset="laptop", poses=track, split="moved",
            steps=1, overrides=SETTINGS,
        )  # fmt: skip
    assert caught.value.path == track
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="no pose to learn from") as caught:
        self6d.train(
            data / "models", tmp_path / "run", preset="tiny", steps=1, camera=data, poses=track,
            overrides=SMALL | {"adapt.track_confidence": 0.95},
        )  # fmt: skip
    assert caught.value.path == track
    assert not (tmp_path / "run").exists()


def test_the_window_runs_it_again_with_its_track(world, tmp_path):
    from studio.jobs.run_info import read_run
    from studio.jobs.spec import spec_from

    data, track, stage1 = world
    run = self6d.adapt(
        data, None, stage1, tmp_path / "run", preset="laptop", poses=track, split="eval", steps=1,
        overrides=SETTINGS,
    )  # fmt: skip
    words = spec_from(read_run(run.path)).arguments()
    assert words[words.index("--poses") + 1] == str(run.path / "poses.json")
    assert json.loads((run.path / "run.json").read_text())["status"] == "done"


def test_a_job_taken_to_another_machine_makes_the_same_run(world, tmp_path, monkeypatch, capsys):
    data, track, stage1 = world
    words = ["adapt", str(data), "--from", str(stage1), "--split", "eval", "--device", "cpu"]
    words += ["--preset", "laptop", "--steps", "1", "--poses", str(track), "--share=0.75"]
    words += as_options(SETTINGS)
    home, folder = tmp_path / "home", tmp_path / "elsewhere" / "job"
    assert cli.run([*words, "--out", str(home), "--quiet"]) == 0
    assert cli.run(["pack", str(folder), *words, "--out", str(home)]) == 0
    assert "sh run.sh" in capsys.readouterr().out
    assert len(open_dataset(folder / "data")) == 3  # of 12: those of the split's share
    line = shlex.split((folder / "run.sh").read_text().splitlines()[1])
    command = line[line.index("self6d-studio") + 1 : -1]
    assert not [w for w in command if str(tmp_path) in w or str(data.parent) in w]
    moved = folder.rename(tmp_path / "there")
    monkeypatch.chdir(moved)
    assert cli.run([*command, "--quiet"]) == 0
    there, here = RunFolder.open(moved / "runs" / "home"), RunFolder.open(home)
    assert (there.kind, there.status, there.seed) == (here.kind, "done", here.seed)
    assert there.config == here.config
    assert there.result == here.result
    first, second = (r.load_checkpoint().tensors for r in (there, here))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert self6d.predict(moved / "data", there.path, score_threshold=0.0)  # it stands alone
    told = json.loads((moved / "home.json").read_text())  # what run.sh lays beside run.json
    assert told == {"data": str(data), "from_run": str(stage1)}

    assert cli.run(["pack", str(moved), *words, "--out", str(home)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert cli.run(["pack", str(folder), "adapt", str(data), "--fro", "x"]) == 2
    assert cli.run(["pack", str(folder), "evaluate", str(data)]) == 2
    assert "no job that can be taken elsewhere" in capsys.readouterr().err
    gone = ["adapt", str(data), "--from", str(tmp_path / "gone"), "--out", "x"]
    with pytest.raises(Self6DError, match="gone"):
        self6d.jobs.pack(gone, folder)
    assert not folder.exists()  # whole, or not there


def test_stage_1_taken_elsewhere_reads_nothing_of_home(world, tmp_path, monkeypatch):
    data, _, _ = world
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    Image.new("RGB", (64, 64), "red").save(photographs / "a.png")
    settings = SMALL | {"synthesis.backgrounds": photographs}
    words = ["train", "--models", str(data / "models"), "--camera", str(data), "--preset", "tiny"]
    words += ["--steps", "1", "--out", str(tmp_path / "stage1"), "--unit", "mm"]
    words += as_options(settings)
    folder = self6d.jobs.pack(words, tmp_path / "job")
    line = shlex.split((folder / "run.sh").read_text().splitlines()[1])
    command = line[line.index("self6d-studio") + 1 : -1]
    assert not [w for w in command if str(tmp_path) in w or str(data.parent) in w]
    for home in (data, photographs):
        home.rename(home.with_name(home.name + " away"))
    monkeypatch.chdir(folder)
    try:
        assert cli.run([*command, "--quiet"]) == 0
    finally:
        data.with_name(data.name + " away").rename(data)
    run = RunFolder.open(folder / "runs" / "stage1")
    assert run.status == "done"
    assert run.config["synthesis"]["backgrounds"]
