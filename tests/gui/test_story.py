"""The whole story by clicks, drops and keys: from the sample to an exported network and back."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hands import answer, click, click_cell, click_item, drop, fill
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog

from studio.jobs import JobState

pytestmark = pytest.mark.gui

# A network of two steps is sure of nothing: stage 2 takes what it finds, and little of it.
SETTINGS = {
    "adapt.batch": "2",
    "adapt.max_objects": "2",
    "adapt.region": "64",
    "adapt.detection_score": "0.01",
    "adapt.health_frames": "2",
    "adapt.collapse": "0",
    "adapt.refresh_every": "0",
    "loop.preview_every": "1",
}


@pytest.fixture
def prepared(sample: Path) -> Path:
    """The small sample where "Open sample" keeps the generated one: it is opened, not made."""
    out = Path(os.environ["SELF6D_STATE"]) / "sample"
    if not out.exists():
        shutil.copytree(sample, out)
    return out


def test_from_the_sample_to_an_export_and_back(
    open_studio, prepared, trained, settings, wait, monkeypatch, tmp_path
):
    window = open_studio()
    project, space = window.project, window.workspace

    # first run: the welcome page, the sample, the doctor
    click(window.welcome.sample_button)
    wait(lambda: window.director.frame is not None and project.models)
    assert project.recording_path == prepared
    wait(lambda: space.doctor_panel.report)
    assert window.header.state("data") in ("ok", "warn")
    assert space.doctor_panel.verdict.text()

    # the sample brings its trained stage 1
    shipped = settings.runs_folder / "sample-stage1"
    wait(lambda: [run.path for run in project.runs] == [shipped])
    wait(lambda: window.job_bar.go.text() == "Go to stage 2")

    # scrub with keys, drop a trained run
    space.stage.scrubber.setFocus()
    QTest.keyClick(space.stage.scrubber, Qt.Key.Key_Right)
    wait(lambda: window.director.frame.index == 1)
    drop(window, trained)
    wait(lambda: [run.path for run in project.runs] == [shipped, trained])
    assert project.run == trained

    # settings of stage 2, each typed into the form
    click(window.header.buttons["selfsup"])
    panel = space.adapt_panel
    wait(lambda: panel.weights.weight("mask") > 0)
    fill(panel.steps, "100000")
    for key, text in SETTINGS.items():
        fill(panel.form.filter, key.split(".")[1])
        fill(panel.form.editor(key).box, text)
    assert panel.overrides()["adapt.batch"] == 2
    assert ("--no-check" in panel.spec().arguments()) is False
    panel.no_check.click()
    assert "--no-check" in panel.spec().arguments()
    panel.no_check.click()

    # run; curves grow
    click(panel.run_button)
    job = window.runs.job
    assert job.run.parent == settings.runs_folder
    curves = space.curves
    wait(lambda: (str(job.run) in curves.runs and curves.runs[str(job.run)].last_step >= 1)
         or job.state.over)  # fmt: skip
    assert not job.state.over, (job.ending, job.details)
    before = curves.runs[str(job.run)].last_step
    wait(lambda: curves.runs[str(job.run)].last_step > before)
    assert {"total", "mask", "geometry"} <= set(curves.terms())
    wait(lambda: space.stage.probes.newest is not None)
    assert space.stage.page == "probes"

    # a weight changed while it runs is marked on the curve; muting the mask asks first
    fill(panel.weights.boxes["mask"], "0.5")
    wait(lambda: curves.runs[str(job.run)].marks)
    assert [text for _, text in curves.runs[str(job.run)].marks] == ["mask → 0.5"]
    QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(lambda: len(curves.runs[str(job.run)].marks) == 2)
    assert curves.runs[str(job.run)].marks[1][1] == "mask → 1"
    fill(panel.weights.boxes["mask"], "0.5")
    questions = []
    answer("keep", questions.append)
    click(panel.weights.mutes["mask"])
    assert questions == ["Mute the mask term?"]
    assert panel.weights.weight("mask") == 0.5

    # pause, resume, stop
    click(window.job_bar.pause)
    wait(lambda: job.state is JobState.PAUSED)
    assert window.job_bar.pause.text() == "Resume"
    at = job.last_progress.step
    click(window.job_bar.pause)
    wait(lambda: job.state is JobState.RUNNING and job.last_progress.step > at)
    click(window.job_bar.stop)
    wait(lambda: job.state.over)
    assert job.state is JobState.STOPPED, job.details

    # evaluate; a cell, then its worst frame
    click(window.header.buttons["evaluate"])
    page = space.evaluate_page
    assert page.chosen() == [trained, job.run]  # before and after
    click(page.go)
    wait(lambda: page.results)
    click_cell(page.table, 0, 1)
    assert page.worst.count() > 0
    shown = page.worst.item(0).data(Qt.ItemDataRole.UserRole)[1]
    click_item(page.worst, 0)
    assert project.step == "selfsup"
    assert project.recording.keys[project.frame_index] == (shown["scene_id"], shown["image_id"])

    # export
    click(window.header.buttons["export"])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path))
    click(space.export_page.onnx)
    click(space.export_page.package)
    wait(lambda: window.header.state("export") == "ok")
    package = tmp_path / f"{job.run.name}-package-01"
    assert any(package.glob("*.safetensors"))
    assert json.loads((job.run / "run.json").read_text())["status"] == "stopped"

    # close with the keyboard, open again: everything is back
    frame = project.frame_index
    QTest.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    wait(lambda: not window.isVisible())
    again = open_studio(restore=True)
    wait(lambda: again.director.frame is not None and again.project.models)
    wait(lambda: again.banner.isVisible())
    project = again.project
    assert project.recording_path == prepared
    assert project.frame_index == frame
    assert {run.path for run in project.runs} == {shipped, trained, job.run}
    assert project.step == "export"
    assert again.workspace.adapt_panel.overrides()["adapt.batch"] == 2
    assert again.workspace.adapt_panel.steps.text() == "100000"
    assert again.workspace.evaluate_page.results
    assert again.header.state("selfsup") == "ok"
