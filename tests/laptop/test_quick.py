"""quick: one command from CAD and a rough pose to a package; stopped and resumed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from block_shapes import block
from small_runs import SMALL, STAGE_2, as_options
from tracked_block import K, pose_at, write_recording

import self6d
from self6d import cli
from self6d.datasets import FrameKey
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState
from self6d.errors import InputError
from self6d.events import Note, Progress, in_words
from self6d.files import note, noted_once
from self6d.laptop.job import QuickJob
from self6d.laptop.package import export_learned
from self6d.laptop.plan import Part, Stopwatch, fitted, learnable, least_s
from self6d.laptop.settings import EXPORT_S, JUDGING_S, STEP_S
from self6d.packaging import load_package
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.scene.models_copy import save_models
from self6d.stage2.track_task import REFINER_OFF

SETTINGS = SMALL | STAGE_2 | {
    "track.points": 128, "track.candidates": 100, "track.steps": 8, "track.region": 64,
    "loss.points": 256, "train.steps": 8, "adapt.steps": 8, "adapt.synthetic_batch": 1,
    "network.instances": 1, "loop.checkpoint_every": 100,
}  # fmt: skip
WITHOUT_REFINER = SETTINGS | {"adapt.refiner": ""}  # where only the parts and their times matter


def row(pose: self6d.Pose) -> dict:
    """As pose files have it."""
    return {"R_m2c": pose.R_m2c.tolist(), "t_m2c_mm": (1000 * pose.t_m2c).tolist()}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A recording of eight frames, a CAD folder, the first frame's pose in a file; poses beside."""
    root = tmp_path_factory.mktemp("quick")
    write_recording(root / "data", [pose_at(i) for i in range(8)])
    (root / "cad").mkdir()
    save_models([block()], root / "cad")
    starts = {str(i): [row(pose_at(i))] for i in (0, 4)}
    (root / "pose.json").write_text(json.dumps(starts["0"][0]))
    (root / "poses.json").write_text(json.dumps(starts))
    return root / "data", root / "cad", root / "pose.json"


def test_from_cad_and_a_rough_pose_to_a_package(world, tmp_path, capsys):
    data, cad, pose = world
    out = tmp_path / "out"
    two = pose.with_name("poses.json")
    words = ["quick", str(data), "--models", str(cad), "--init", str(two), "--out", str(out)]
    words += ["--cut", "4", "--no-onnx", "--device", "cpu"]
    words += as_options(SETTINGS)
    assert cli.run(words) == 0
    said = capsys.readouterr()
    assert "following the objects: 8 steps of" in said.err
    assert "stage 1, synthetic images: 8 steps of" in said.err
    assert "learning from the track: 8 steps of" in said.err
    assert "with the export" in said.err
    assert "8 of 8 poses are sure enough" in said.err
    assert str(out / "package") in said.out
    plan = json.loads((out / "quick.json").read_text())["plan"]
    assert [part["name"] for part in plan] == ["track", "stage1", "adapted"]
    assert all(part["step_s"] > 0 for part in plan)
    assert {n: RunFolder.open(out / n).info["step"] for n in ("track", "stage1", "adapted")} == {
        "track": 8, "stage1": 8, "adapted": 8,
    }  # fmt: skip
    assert RunFolder.open(out / "track").info["provenance"]["cuts"] == [4]
    assert RunFolder.open(out / "adapted").result["poses"] == 8
    assert RunFolder.open(out / "adapted").config["adapt"]["image_height"] == 96  # as the network
    # with the recording's colours, learned from in both stages
    coloured = self6d.load_models(out / "colours")[0].colors
    for part in ("stage1", "adapted"):
        assert np.array_equal(self6d.load_models(out / part / "models")[0].colors, coloured)
    assert not np.array_equal(self6d.load_models(out / "track" / "models")[0].colors, coloured)
    # trained at 96 rows, asked about 120
    predictor = load_package(out / "package")
    assert predictor.network.config.image_height == 96
    frame = self6d.open_dataset(data).frame(0)
    found = predictor(frame.rgb, K.numpy(), score_threshold=0.0)
    assert [f.object_id for f in found] == [1]

    learned = RunFolder.open(out / "adapted")
    off = learned.result["refiner_off"]
    assert (out / "package" / "refiner.safetensors").exists() == (off <= REFINER_OFF)
    assert (predictor.refiner is None) == (off > REFINER_OFF)

    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "quick.json"}
    assert cli.run(words) == 2  # nothing is overwritten
    assert cli.run([*words, "--resume"]) == 0
    assert capsys.readouterr().err.count("done already") == 3
    after = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "quick.json"}
    assert after == before

    # a refiner that errs is left out, and that is said; one that does not goes with the network
    for wrong, words in (
        (0.13, ["the RGB refiner moves the track's own poses by 13 % of"]),
        (0.02, []),
    ):
        learned.update(result=learned.result | {"refiner_off": wrong})
        told: list[str] = []
        export_learned(learned.path, tmp_path / str(wrong), False, told.append)
        assert [line[: len(word)] for line, word in zip(told, words, strict=True)] == words
        assert (tmp_path / str(wrong) / "refiner.safetensors").exists() == (wrong < 0.05)


def test_a_part_is_timed_by_the_mean_of_its_steps(monkeypatch):
    """Every fourth step may do more, and all four are waited for."""
    now = iter([0.0, 9.0, 10.0, 11.0, 12.0, 16.0, 17.0])
    monkeypatch.setattr("self6d.laptop.plan.time.monotonic", lambda: next(now))
    watch = Stopwatch(Control())
    for step in range(7):
        watch(Progress(step, 100, None))
    assert watch.control.stopping
    assert watch.step_s == pytest.approx((17 - 10) / 4)


def test_the_time_told_holds_what_comes_after_the_steps(world, tmp_path):
    """The refiner is judged on up to 32 frames at the end, which the sum left out."""
    data, cad, _ = world
    said: list[str] = []

    def told(changes: dict, *, on_gpu: bool = False) -> tuple[float, str]:
        job = QuickJob(
            tmp_path / "out", data, cad, None, None, 0, "cpu", on_gpu, True, False,
            lambda event: said.append(event.text), Control(), False,
        )  # fmt: skip
        job.look_at_frames(changes)
        job.announce([Part("adapted", "learning", 50, 2.0)])
        return job.ending_s, said[-1]

    export = EXPORT_S[False]
    assert told({}) == (
        pytest.approx(export + 8 * JUDGING_S),
        f"together {in_words(110 + export + 8 * JUDGING_S)}, judging the refiner, with the export",
    )
    assert told({"adapt.refiner": ""})[0] == told({}, on_gpu=True)[0] == export


def test_stopped_in_a_part_it_goes_on_from_there(world, tmp_path):
    data, cad, pose = world
    control = Control()

    def stop_in_stage_1(event):
        if isinstance(event, Progress) and event.phase == "stage1":
            control.stop()

    settings = WITHOUT_REFINER | {"train.steps": 24}  # progress comes ten times a second at most
    made = self6d.quick(
        data, cad, tmp_path / "q", init=pose, device="cpu", onnx=False, overrides=settings,
        listener=stop_in_stage_1, control=control,
    )  # fmt: skip
    assert made.status == "stopped"
    assert not made.package.exists()
    track = RunFolder.open(made.path / "track")
    stage1 = RunFolder.open(made.path / "stage1")
    assert (track.status, stage1.status) == ("done", "stopped")
    assert 0 < stage1.info["step"] < 24

    with pytest.raises(InputError, match=r"begun with another --seed \(0\), and --resume keeps it"):
        self6d.quick(data, cad, made.path, init=pose, seed=1, resume=True)
    with pytest.raises(InputError, match=r"begun with another --cut \(none\)"):
        self6d.quick(data, cad, made.path, init=pose, cuts=[4], resume=True)
    with pytest.raises(InputError, match="begun with another --search"):
        self6d.quick(data, cad, made.path, search=True, resume=True)
    with pytest.raises(InputError, match="begun with another --colours"):
        self6d.quick(data, cad, made.path, init=pose, colours=False, resume=True)
    said: list = []
    # killed between the track and the colours: these are taken all the same
    shutil.rmtree(made.path / "stage1")
    shutil.rmtree(made.path / "colours")
    again = self6d.quick(
        data, cad, made.path, init=pose, device="cpu", onnx=False, overrides=settings, resume=True,
        listener=said.append, minutes=5,
    )  # fmt: skip
    assert again.status == "done"
    assert (made.package / "model.safetensors").exists()
    assert list(again.seconds) == ["track", "colours", "stage1", "adapted", "package"]
    assert RunFolder.open(made.path / "stage1").info["provenance"]["models"] == [
        str(made.path / "colours")
    ]
    notes = [event.text for event in said if isinstance(event, Note)]
    assert "track: done already" in notes
    assert any("the steps were fixed at the start" in text for text in notes)
    assert {e.phase for e in said if isinstance(e, Progress)} >= {"stage1", "adapted"}
    assert "track" not in {e.phase for e in said if isinstance(e, Progress)}


def test_an_error_before_any_part_leaves_the_folder_free_for_the_right_command(world, tmp_path):
    """What the error tells to do was refused then: the folder existed, or was begun otherwise."""
    data, cad, pose = world
    out = tmp_path / "q"
    said: list = []
    for wrong in ({"cuts": [99]}, {"object_id": 7}, {"split": "none"}, {"frame": 99}):
        with pytest.raises(InputError):
            self6d.quick(
                data, cad, out, init=pose, device="cpu", overrides=SETTINGS, listener=said.append,
                **wrong,
            )  # fmt: skip
        assert not list(out.iterdir())
    with pytest.raises(InputError):
        self6d.quick(tmp_path / "elsewhere", cad, out, init=pose)
    assert not list(out.iterdir())
    assert not said  # all of these are found before the doctor looks at the recording
    (out / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="exists already"):
        self6d.quick(data, cad, out, init=pose)
    assert (out / "mine.txt").read_text() == "kept"


def test_what_may_be_wrong_with_a_track_is_said_before_it_is_learned_from(tmp_path):
    def row(image: int, state: TrackState, confidence: float) -> TrackedPose:
        pose = None if state is TrackState.LOST else pose_at(image)
        return TrackedPose(FrameKey(1, image), 1, 0, state, pose, confidence)

    rows = [row(i, TrackState.TRACKED, 0.9) for i in range(12)]
    notes = learnable(PoseTrack(tuple(rows)), 0.8, tmp_path)
    assert [(n.level, n.text) for n in notes] == [
        ("info", "12 of 12 poses are sure enough to learn from")
    ]
    rows[4:6] = [row(4, TrackState.LOST, 0.0), row(5, TrackState.FOUND_AGAIN, 0.9)]
    few, lost, again = learnable(PoseTrack(tuple(rows[:8])), 0.8, tmp_path)
    assert {few.level, lost.level, again.level} == {"warning"}
    assert few.text.startswith("7 of 8 poses")
    assert lost.text.startswith("1 of 8 are lost: nothing is learned")
    assert "found again 1 time:" in again.text
    with pytest.raises(InputError, match="none of the 12 poses is sure enough"):
        learnable(PoseTrack(tuple(rows)), 0.95, tmp_path)
    with pytest.raises(InputError, match="none of the 12") as told:
        learnable(PoseTrack(tuple(rows)), 0.95, tmp_path, on_depth=False)
    assert "track.focal_error" in told.value.remedy


def test_steps_are_fitted_to_a_time():
    parts = [
        Part("track", "a", 100, 1.0, made=10), Part("stage1", "b", 1000, 0.5, rest_s=20.0),
        Part("adapted", "c", 500, 1.0, rest_s=30.0),
    ]  # fmt: skip
    assert parts[0].seconds == pytest.approx(1.1 * 90)  # what measuring did stays
    assert parts[1].seconds == pytest.approx(1.1 * 500 + 20)
    fixed, *trained = fitted(parts, 60 * 20, fewest=50)
    assert fixed == parts[0]
    assert sum(p.seconds for p in (fixed, *trained)) == pytest.approx(1200, rel=0.01)
    assert abs(trained[0].steps - 2 * trained[1].steps) <= 1
    assert [60 * p.minutes for p in trained] == [p.steps_s for p in trained]
    # the least is no more than it is, and has no clock
    least = fitted(parts, 1, fewest=50)
    assert [(p.steps, p.minutes) for p in least] == [(100, None), (50, None), (50, None)]
    assert least_s(parts, 50) == pytest.approx(1.1 * (90 + 25 + 50) + 50)
    # where one has the least, the other alone gives way
    short = fitted(parts[1:], 50 + 1.1 * (50 * 0.5 + 40), fewest=50)
    assert [p.steps for p in short] == [50, 50]
    short = fitted(parts[1:], 50.1 + 1.1 * (50 * 1.0 + 60 * 0.5), fewest=50)
    assert [p.steps for p in short] == [60, 50]
    # one whose steps are not known is taken for as slow as the other shows the machine to be
    unknown = [parts[1], Part("adapted", "c", 500)]
    usual = replace(unknown[1], step_s=STEP_S["adapt.steps"] * 0.5 / STEP_S["train.steps"])
    assert [p.steps for p in fitted(unknown, 300, 50)] == [
        p.steps for p in fitted([parts[1], usual], 300, 50)
    ]
    alone = fitted(unknown[1:], 90, fewest=50)[0]
    assert (alone.steps, alone.minutes) == (500, 1.5)
    assert (least_s(unknown[1:], 50), fitted(unknown[1:], 0, 50)[0].steps) == (0.0, 50)


def test_a_time_that_is_not_enough_is_said_and_then_the_least_is_taken(
    world, tmp_path, monkeypatch
):
    """One minute was asked for and three and a half were taken, without a word."""
    data, cad, pose = world
    monkeypatch.setattr("self6d.laptop.job.FEWEST", 4)
    said: list[Note] = []
    made = self6d.quick(
        data, cad, tmp_path / "q", init=pose, device="cpu", onnx=False, overrides=WITHOUT_REFINER,
        minutes=0.01, listener=lambda e: said.append(e) if isinstance(e, Note) else None,
    )  # fmt: skip
    warned = [note.text for note in said if note.level == "warning" and "not enough" in note.text]
    assert len(warned) == 1
    assert re.match(r"0\.01 min are not enough: the least is (about|less than)", warned[0])
    assert "every frame is followed, each training has 4 steps" in warned[0]
    order = [note.text for note in said]
    assert order.index(warned[0]) < next(i for i, t in enumerate(order) if "with the export" in t)
    runs = {n: RunFolder.open(made.path / n) for n in ("track", "stage1", "adapted")}
    assert {name: run.info["step"] for name, run in runs.items()} == {
        "track": 8, "stage1": 4, "adapted": 4,
    }  # fmt: skip
    assert made.package.is_dir()


def test_trainings_take_what_is_left_of_the_time_when_they_begin(world, tmp_path, monkeypatch):
    """The plan was made once: what measuring, a slow track and the colours took came on top."""
    data, cad, pose = world
    monkeypatch.setattr("self6d.laptop.job.FEWEST", 3)
    late = property(lambda job: 599.0 if (job.out / "colours").exists() else 1.0)
    monkeypatch.setattr("self6d.laptop.job.QuickJob.spent_s", late)
    said: list = []
    made = self6d.quick(
        data, cad, tmp_path / "q", init=pose, device="cpu", onnx=False, overrides=WITHOUT_REFINER,
        minutes=10, listener=said.append,
    )  # fmt: skip
    assert not [e for e in said if isinstance(e, Note) and "not enough" in e.text]
    planned = [e.text for e in said if isinstance(e, Note) and "stage 1, synth" in e.text][-1]
    assert int(re.search(r": (\d+) steps", planned)[1]) > 100
    assert RunFolder.open(made.path / "stage1").info["step"] == 3
    assert RunFolder.open(made.path / "adapted").info["step"] == 3
    plan = json.loads((made.path / "quick.json").read_text())
    assert [part["steps"] for part in plan["plan"]] == [8, 3, 3]
    assert plan["minutes"] == 10
    for minutes, warned in ((10, []), (5, ["10 min were fixed at the start"])):
        said.clear()
        self6d.quick(
            data, cad, made.path, init=pose, device="cpu", onnx=False, overrides=SETTINGS,
            minutes=minutes, resume=True, listener=said.append,
        )  # fmt: skip
        notes = [e.text for e in said if isinstance(e, Note) and e.level == "warning"]
        assert [t.partition(":")[0] for t in notes if "fixed" in t] == warned


def test_notes_on_cad_files_are_given_once(world, tmp_path, caplog):
    """Each part opens the recording anew, which forgets notes, and reads a copy of the CAD file."""
    data, cad, _ = world
    grey = [replace(model, has_color=False) for model in self6d.load_models(cad)]

    @noted_once()
    def job():
        for _ in range(2):
            self6d.open_dataset(data)
            note(tmp_path / "cad" / "a.ply", "mesh has no colour")
        save_models(grey, tmp_path / "models")
        self6d.load_models(tmp_path / "models")

    job()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'cad' / 'a.ply'}: mesh has no colour"
    ]
    caplog.clear()
    job()  # the next job says it again
    assert len(caplog.records) == 1
