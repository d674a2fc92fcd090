"""The jobs end to end, as small as they go: every command's function on the generated sample."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL, STAGE_2
from typer.testing import CliRunner

from self6d import experiments, jobs
from self6d.cli import app
from self6d.datasets import open_dataset
from self6d.errors import CheckpointError, InputError, StorageError
from self6d.evaluation import predictions
from self6d.events import Preparing, Progress
from self6d.jobs.export import last_parts
from self6d.jobs.optimize import read_pose
from self6d.refinement.refine import refine_detections
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network
from self6d.runs.provenance import Provenance
from self6d.sample.sample import make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 6, 3, size=(96, 128))


@pytest.fixture(scope="module")
def stage1(sample, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stage1"
    return jobs.train(
        sample / "models", out, preset="tiny", camera=sample, steps=4, overrides=SMALL, device="cpu"
    )


@pytest.fixture(scope="module")
def stage2(sample, stage1, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stage2"
    return jobs.adapt(
        sample, None, stage1.path, out, preset="self6d-paper", steps=2,
        overrides=STAGE_2, device="cpu",
    )  # fmt: skip


def test_run_stands_alone(stage1, sample):
    run = RunFolder.open(stage1.path)
    assert (run.kind, run.status) == ("synthetic", "done")
    assert run.config["synthesis"]["height"] == 96
    assert run.info["provenance"]["image_size"] == [96, 128]
    assert "add_recall" in run.result
    assert len(run.curves()["loss/total"][0]) == 4
    trained = load_network(run.path)
    assert [m.object_id for m in trained.models] == [1, 2, 3]
    assert trained.camera.size == (96, 128)
    assert not trained.network.training


def test_each_wait_before_the_first_step_has_a_name(sample, stage1, tmp_path):
    told: list[tuple[str, int]] = []

    def listen(event):
        if isinstance(event, Progress) and event.step == 1:
            told.append(("a step", 1))
        elif isinstance(event, Preparing):
            told.append((event.what, event.total))

    jobs.adapt(
        sample, None, stage1.path, tmp_path / "run", preset="self6d-paper", steps=1,
        overrides=STAGE_2, device="cpu", listener=listen,
    )  # fmt: skip
    names = list(dict.fromkeys(told[: told.index(("a step", 1))]))
    assert names[:2] == [("loading the network", 1), ("checking the recording: files", 11)]
    assert names[-4:] == [
        ("reading frames", 6), ("loading the renderer, which a new machine compiles once", 1),
        ("judging the network on frames", 1), ("looking at the frames", 6),
    ]  # fmt: skip


def test_stage_2_keeps_what_it_came_from(stage2, stage1):
    run = RunFolder.open(stage2.path)
    assert (run.kind, run.status) == ("selfsup", "done")
    told = Provenance.from_dict(run.info["provenance"])
    assert (told.split, told.frames) == (None, 6)  # of "adapt", as nothing else was asked for
    assert (told.preset, told.steps, told.device) == ("self6d-paper", 2, "cpu")
    assert told.overrides == STAGE_2
    assert told.from_run == str(stage1.path)
    assert run.config["network"] == stage1.config["network"]
    assert "trust" in run.result


def test_stage_2_changes_how_many_boxes_its_network_looks_at_but_nothing_else_of_it(
    sample, stage1, tmp_path
):
    settings = {"steps": 1, "overrides": {**STAGE_2, "network.views": 3}, "device": "cpu"}
    run = jobs.adapt(sample, None, stage1.path, tmp_path / "run", **settings)
    assert load_network(run).network.config.views == 3
    with pytest.raises(InputError, match=r"network\.crop_size is part of the trained network"):
        jobs.adapt(
            sample, None, stage1.path, tmp_path / "other",
            overrides=["network.crop_size=96"], device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "other").exists()
    before = (run.path / "config.toml").read_text()
    with pytest.raises(InputError, match=r"network\.crop_size"):
        jobs.adapt(
            sample, None, stage1.path, run.path,
            overrides=["network.crop_size=96"], device="cpu", resume=True,
        )  # fmt: skip
    for other, option in (
        ({"preset": "self6d-tiny"}, "--preset"), ({"seed": 5}, "--seed"),
        ({"models": sample / "models" / "obj_000001.ply"}, "--models"),
        ({"from_run": run.path}, "--from"),
    ):  # fmt: skip
        given = {"models": None, "from_run": stage1.path, **other}
        with pytest.raises(InputError, match=f"begun with another {option} "):
            jobs.adapt(sample, out=run.path, device="cpu", resume=True, steps=9, **given)
    assert (run.path / "config.toml").read_text() == before


def test_evaluate_compares_runs(stage1, stage2, sample, tmp_path):
    seen = []
    report = jobs.evaluate(
        sample, None, [stage1.path, stage2.path], device="cpu", json_path=tmp_path / "a.json",
        csv_path=tmp_path / "a.csv", html_path=tmp_path / "a.html", bop_path=tmp_path / "bop",
        listener=seen.append,
    )  # fmt: skip
    assert [r.label for r in report.results] == ["stage1", "stage2"]
    assert report.results[0].split == "eval"
    assert "mean" in report.text()
    table = json.loads((tmp_path / "a.json").read_text())
    assert (len(table["runs"]), report.results[0].frames) == (2, 3)
    assert (tmp_path / "a.html").stat().st_size > 10_000
    assert len(list((tmp_path / "bop").glob("*.csv"))) == 2
    assert any(isinstance(event, Progress) for event in seen)
    with pytest.raises(InputError, match=r"a\.csv: exists already"):
        jobs.evaluate(sample, None, [stage1.path], device="cpu", csv_path=tmp_path / "a.csv")


def test_options_of_evaluate_are_one_object_or_names(stage1, sample, tmp_path):
    options = jobs.EvaluateOptions(split="adapt", device="cpu", json_path=tmp_path / "a.json")
    report = jobs.evaluate(sample, None, [stage1.path], options, split="eval", min_visible=0.0)
    assert report.results[0].split == "eval"
    assert options.split == "adapt"
    assert len(json.loads((tmp_path / "a.json").read_text())["runs"]) == 1
    with pytest.raises(TypeError, match="splt"):
        jobs.evaluate(sample, None, [stage1.path], splt="eval")


def test_rows_made_before_a_fault_are_on_disk(stage1, sample, tmp_path):
    file, missing = tmp_path / "a.json", tmp_path / "missing"
    with pytest.raises(CheckpointError, match="missing"):
        jobs.evaluate(sample, None, [stage1.path, missing], device="cpu", json_path=file)
    assert [run["label"] for run in json.loads(file.read_text())["runs"]] == ["stage1"]


def test_the_readmes_python_runs(sample, tmp_path, capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names: dict = {}
    exec(code, names)
    report = names["adapt_to_camera"](
        sample,
        sample / "models",
        tmp_path,
        {"preset": "tiny", "steps": 2, "overrides": SMALL},
        {"steps": 1, "overrides": STAGE_2},
    )
    assert [row.label for row in report.results] == ["before", "after"]
    assert "ADD(-S)" in capsys.readouterr().out
    assert (tmp_path / "network" / "example.py").is_file()


def test_predict_from_recording_and_from_bare_images(stage1, sample, tmp_path):
    rows = jobs.predict(sample, stage1.path, score_threshold=0.0, device="cpu")
    assert {row["object_id"] for row in rows} <= {1, 2, 3}
    assert len(rows) > 0
    assert np.allclose(np.linalg.norm(rows[0]["quaternion_wxyz"]), 1)
    folder = next(sample.glob("test/*/rgb"))
    bare = jobs.predict(
        folder, stage1.path, camera=sample / "camera.json", score_threshold=0.0, device="cpu",
        overlay=tmp_path / "overlay",
    )  # fmt: skip
    assert len(bare) == len(rows)
    assert np.allclose([r["t_m2c"] for r in bare], [r["t_m2c"] for r in rows], atol=1e-5)
    assert len(list((tmp_path / "overlay").glob("*.png"))) == 6 + 3 + 2  # adapt, eval, moved


def test_frames_refined_together_end_as_each_alone(stage2, sample, monkeypatch):
    frames_at_once = []

    def counted(sensor, *rest, **more):
        frames_at_once.append(len(sensor.images))
        return refine_detections(sensor, *rest, **more)

    monkeypatch.setattr("self6d.jobs.refiner.refine_detections", counted)
    rows = []
    for together in (1, 2):
        monkeypatch.setattr(predictions, "TOGETHER", together)
        report = jobs.evaluate(sample, None, [stage2.path], refine=["depth"], device="cpu")
        rows.append(report.results)
    assert frames_at_once == [1, 1, 1, 2, 1]
    assert [result.label for result in rows[0]] == ["stage2", "stage2 + depth"]
    (plain, alone), (_, together) = rows
    assert len(plain.predictions) == len(alone.predictions) == len(together.predictions) > 3
    moved = []
    for start, one, many in zip(plain.predictions, alone.predictions, together.predictions):
        assert (many.image_id, many.object_id) == (one.image_id, one.object_id)
        moved.append(np.abs(one.R - start.R).max() > 1e-3)
        np.testing.assert_allclose(many.R, one.R, atol=1e-4)
        np.testing.assert_allclose(many.t, one.t, atol=1e-5)
    assert sum(moved) > len(moved) / 2  # a mask that is empty moves nothing


def test_rows_scored_before_a_fault_are_shown(stage2, sample, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(sample, broken)
    dataset = open_dataset(broken).split("eval")
    name = f"{dataset.keys[-1].image_id:06d}.png"
    next(broken.glob(f"test/*/depth/{name}")).write_bytes(b"no picture")
    words = ["evaluate", str(broken), str(stage2.path), "--refine", "depth", "--device", "cpu"]
    said = CliRunner().invoke(app, [*words, "--quiet"])
    assert isinstance(said.exception, InputError)
    assert name in str(said.exception)
    assert "rows scored until then" in said.stderr
    assert re.search(r"mean +│ stage2 ", said.stdout)
    assert "stage2 + depth" not in said.stdout


def test_scores_outlive_a_table_that_cannot_be_written(stage2, sample, tmp_path, monkeypatch):
    table = tmp_path / "file" / "a.csv"
    (tmp_path / "file").write_text("")
    heard = []
    with pytest.raises(InputError, match=r"a\.csv"):
        jobs.evaluate(sample, None, [stage2.path], csv_path=table, on_row=heard.append)
    assert heard == []
    monkeypatch.setattr(jobs.EvaluateOptions, "check_files", lambda self: None)
    with pytest.raises(StorageError, match=r"a\.csv"):
        jobs.evaluate(sample, None, [stage2.path], csv_path=table, on_row=heard.append)
    assert [result.label for result in heard[-1].results] == ["stage2"]


def test_nothing_found_is_nothing_to_refine(stage1, sample):
    assert (
        jobs.predict(sample, stage1.path, score_threshold=1.0, refine="depth", device="cpu") == []
    )


@pytest.mark.parametrize("start", ["run", "file"])
def test_optimize_gives_the_whole_way(start, stage1, sample, tmp_path):
    truth = open_dataset(sample).split("eval")
    label, key = truth.truth(0)[0], truth.keys[0]
    if start == "run":
        begin = {"from_run": stage1.path}
    else:
        pose = tmp_path / "pose.json"
        t_mm = (1000 * label.pose.t_m2c).tolist()
        pose.write_text(json.dumps({"R_m2c": label.pose.R_m2c.tolist(), "t_m2c_mm": t_mm}))
        begin = {"init": pose}
    overrides = {**STAGE_2, "network.crop_size": 32}
    result = jobs.optimize(
        sample, None, key.image_id, label.object_id, steps=3, overrides=overrides, device="cpu",
        out=tmp_path / "run", **begin,
    )  # fmt: skip
    assert (result["reason"], result["step"]) == ("done", 3)
    assert len(result["trajectory"]["R_m2c"]) == 4
    assert len(result["trajectory"]["error/rotation_deg"]) == 4
    if start == "file":
        assert result["summary"]["error/translation_mm"][1] < 30
    assert RunFolder.open(tmp_path / "run").kind == "single_image"


def test_slim_run_can_start_another(stage1, sample, tmp_path):
    slim = jobs.slim(stage1.path, tmp_path / "slim")
    assert load_network(slim.path).step == 4
    size = sum(p.stat().st_size for p in slim.checkpoints_path.iterdir())
    assert size < 0.6 * stage1.latest_checkpoint().stat().st_size
    run = jobs.adapt(
        sample, None, slim.path, tmp_path / "adapted", steps=1, overrides=STAGE_2, device="cpu"
    )
    assert run.status == "done"


def test_slim_run_tells_nobody_where_it_was_made(stage1, sample, tmp_path):
    slim = jobs.slim(stage1.path, tmp_path / "slim")
    assert str(sample) in (stage1.path / "run.json").read_text()
    texts = [p.read_text() for p in slim.path.rglob("*") if p.suffix in (".json", ".toml")]
    assert len(texts) >= 4
    assert not [text for text in texts if str(tmp_path.parent) in text or str(sample) in text]
    run = RunFolder.open(shutil.copytree(stage1.path, tmp_path / "own"))
    told = Provenance(overrides={"synthesis.backgrounds": "photos/secret", "train.batch": 2})
    run.update(provenance=told.to_dict())
    assert jobs.slim(run.path, tmp_path / "other").info["provenance"] == {
        "overrides": {"train.batch": 2}
    }
    told = {"camera": "/home/ann/rig", "models": ["C:\\cad\\mug.ply", "mug.ply", "a/b"], "K": [1.0]}
    assert last_parts(told) == {
        "camera": "rig",
        "models": ["mug.ply", "mug.ply", "a/b"],
        "K": [1.0],
    }


def test_bounds_experiment_goes_on_where_it_stopped(stage1, sample, tmp_path):
    settings = {"steps": 1, "overrides": STAGE_2, "device": "cpu"}
    out = tmp_path / "bounds"
    control = Control()
    control.stop()
    with pytest.raises(experiments.common.Interrupted):
        experiments.run("bounds", sample, None, stage1.path, out, control=control, **settings)
    text = experiments.run("bounds", sample, None, stage1.path, out, **settings)
    assert "UB" in text
    assert {p.name for p in out.iterdir()} >= {"bounds.json", "bounds.png", "bounds.txt", "runs"}
    stamp = (out / "runs" / "adapted" / "run.json").stat().st_mtime_ns
    assert experiments.run("bounds", sample, None, stage1.path, out, **settings)
    assert (out / "runs" / "adapted" / "run.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings"):
        experiments.run("bounds", sample, None, stage1.path, out, **{**settings, "steps": 2})


def test_fig3_draws_every_labelled_detection(stage1, sample, tmp_path, monkeypatch):
    trained = load_network(stage1.path)
    found = trained.network.predict

    def generous(images, K, **_):
        return found(images, K, score_threshold=0.0)

    monkeypatch.setattr(type(trained.network), "predict", lambda _, *a, **k: generous(*a, **k))
    out = tmp_path / "fig3"
    text = experiments.run(
        "fig3", sample, None, stage1.path, out, images=2, steps=2, overrides=STAGE_2, device="cpu"
    )
    assert "rotation error" in text
    table = json.loads((out / "fig3.json").read_text())
    assert len(table["quartiles"]["loss/total"][1]) == 3
    assert len({row["image_id"] for row in table["objects"]}) == 2


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"from_run": "nothing"}, CheckpointError, "not a run folder"),
        ({"split": "tset"}, InputError, "there is no split 'tset'"),
        ({"preset": "selfsup"}, InputError, "there is no preset"),
        ({"overrides": {"loss.maks": 1}}, InputError, "Did you mean loss.mask?"),
        ({"share": 0.0}, InputError, "is not between 0 and 1"),
    ],
)
def test_mistakes_leave_nothing_behind(change, error, text, stage1, sample, tmp_path):
    settings = {"from_run": stage1.path, "device": "cpu", **change}
    with pytest.raises(error, match=text.replace("?", r"\?")):
        jobs.adapt(sample, None, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_resuming_a_run_of_another_kind(stage1, sample):
    with pytest.raises(CheckpointError, match="is a run of kind 'synthetic', not 'selfsup'"):
        jobs.adapt(sample, None, stage1.path, stage1.path, resume=True, device="cpu")


@pytest.mark.parametrize(
    "content",
    [
        '{"R_m2c": [[1,0,0],[0,1,0],[0,0,1]], "t_m2c_mm": [10, 20, 500]}',
        '{"R_m2c": [1,0,0,0,1,0,0,0,1], "t_m2c_m": [0.01, 0.02, 0.5]}',
        '{"3": [{"cam_R_m2c": [1,0,0,0,1,0,0,0,1], "cam_t_m2c": [10, 20, 500], "obj_id": 4}]}',
    ],
)
def test_start_poses_in_every_spelling(content, tmp_path):
    (tmp_path / "pose.json").write_text(content)
    pose = read_pose(tmp_path / "pose.json", 4)
    assert np.allclose(pose.t_m2c, [0.01, 0.02, 0.5])
    assert np.allclose(pose.R_m2c, np.eye(3))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '[{"obj_id": 9, "t_m2c": [0, 0, 1]}]', '{"t_m2c": [0, 0, 1]}',
     '{"R_m2c": [[2,0,0],[0,2,0],[0,0,2]], "t_m2c": [0, 0, 1]}', '{"t_m2c": "x", "R_m2c": 3}',
     '{"R_m2c": null, "t_m2c": [NaN, 0, 1]}'],
)  # fmt: skip
def test_start_poses_that_are_none(content, tmp_path):
    (tmp_path / "pose.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_pose(tmp_path / "pose.json", 4)
    assert "pose.json" in caught.value.one_line()


def test_one_start_is_needed(sample, stage1):
    with pytest.raises(InputError, match="one start is needed"):
        jobs.optimize(sample, None, 0, 1)
    with pytest.raises(InputError, match="one start is needed"):
        jobs.optimize(sample, None, 0, 1, from_run=stage1.path, init="x")
