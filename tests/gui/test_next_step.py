"""The bar at the bottom says what comes next, and never offers what is under way or just done."""

from __future__ import annotations

import shutil
from unittest import mock

import pytest
from hands import click
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog

from self6d.runs.folder import RunFolder

pytestmark = pytest.mark.gui


def test_every_step_says_the_next_with_its_button(opened, sample, wait, monkeypatch):
    window, bar = opened, opened.job_bar
    # without a GPU it would be: place the object
    monkeypatch.setattr("studio.shell.wiring.next_step.has_gpu", lambda: True)
    window.workspace.next_step.refresh()
    wait(lambda: bar.go.text() == "Go to stage 1")
    assert bar.text.text() == "Next: train on rendered images (stage 1)."
    click(bar.go)
    assert window.project.step == "synthetic"
    wait(lambda: bar.go.text() == "Train on synthetic images")
    window.opener._add_shipped()  # what comes with the sample when it is opened from the welcome
    wait(lambda: bar.text.text() == "Next: adapt sample-stage1 to this recording, without labels.")
    click(bar.go)
    assert window.project.step == "selfsup"
    wait(lambda: bar.go.text() == "Run self-supervision")
    for name, data in (("elsewhere", "/another/recording"), ("adapted", sample)):
        adapted = RunFolder.create(
            window.settings.runs_folder / name, "selfsup", {}, {"data": str(data)}
        )
        adapted.update(status="stopped")
        (adapted.path / "checkpoints").mkdir(exist_ok=True)
        (adapted.path / "checkpoints" / "step_00000001.json").write_text("{}")
        window.project.add_run(adapted.path)
        window.workspace.next_step.refresh()
        assert (bar.go.text() == "Run self-supervision") == (name == "elsewhere")
    wait(lambda: bar.go.text() == "Go to Evaluate")
    click(bar.go)
    wait(lambda: bar.go.text() == "Evaluate")
    window.workspace.evaluate_page.results = [{"mean": {"recall_10": 0.4}}]
    window.workspace.evaluate_page.evaluated_runs = [adapted.path]
    window.workspace.evaluate_page.evaluated.emit()
    wait(lambda: bar.go.text() == "Go to Export")
    window.project.select_run(window.project.starts()[0].path)  # its package was offered
    click(bar.go)
    assert window.project.step == "export"
    assert window.workspace.export_page.chosen() == adapted.path
    wait(lambda: bar.go.text() == "Export package…")
    window.close_project()
    wait(lambda: bar.text.text() == "No job is running.")
    click(window.header.buttons["selfsup"])  # nothing to do there, and the way back
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Go to Data")
    click(bar.go)
    assert window.project.step == "data"


def test_what_is_under_way_is_not_offered_again(opened, sample, trained, wait, tmp_path):
    """Evaluate stood beside an evaluation, and the package of one run was that of every run."""
    window, bar, page = opened, opened.job_bar, opened.workspace.export_page
    adapted = tmp_path / "adapted"
    shutil.copytree(trained, adapted)
    told = {**RunFolder.open(adapted).info["provenance"], "data": str(sample)}
    RunFolder.open(adapted).update(kind="selfsup", provenance=told)
    for run in (trained, adapted):
        window.project.add_run(run)
    window.show_step("evaluate")
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Evaluate")
    click(bar.go)
    wait(lambda: "are being scored" in bar.text.text())
    assert not bar.go.isVisible()
    window.show_step("data")
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Go to Evaluate")
    click(bar.go)
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Go to Export")
    click(bar.go)
    wait(lambda: bar.go.text() == "Export package…")
    page.onnx.setChecked(False)
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value=str(tmp_path)):
        click(bar.go)
    wait(lambda: "A package is being written" in bar.text.text())
    assert not bar.go.isVisible()
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Show folder")
    page.run.setFocus()
    assert page.chosen() == adapted
    way = Qt.Key.Key_Up if page.run.currentIndex() else Qt.Key.Key_Down
    QTest.keyClick(page.run, way)  # another run: its package is not written
    wait(lambda: bar.go.text() == "Export package…")


def test_runs_opened_alone_offer_their_recording(open_studio, sample, trained, wait, tmp_path):
    """`launch` of what `quick` leaves asked for a recording that the runs themselves name."""
    adapted = tmp_path / "adapted"
    shutil.copytree(trained, adapted)
    told = {**RunFolder.open(adapted).info["provenance"], "data": str(sample)}
    RunFolder.open(adapted).update(kind="selfsup", provenance=told)
    window = open_studio(tmp_path)
    bar = window.job_bar
    wait(lambda: bar.go.isVisible() and bar.go.text() == "Open sample")
    assert "the recording of these runs" in bar.text.text()
    click(bar.go)
    wait(lambda: window.project.recording_path == sample and window.director.frame is not None)
    assert window.focusWidget() is window.workspace.stage.scrubber
