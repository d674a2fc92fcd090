"""Presets are offered with the time that they take: timed here, published, or not known."""

from __future__ import annotations

import json
import platform
from dataclasses import replace

import pytest
from hands import click, fill
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from self6d.runs.provenance import Provenance
from studio.engine import Engine
from studio.jobs.run_info import RunInfo
from studio.model.project import Project
from studio.model.times import expected
from studio.training.panel import RunPanel

pytestmark = pytest.mark.gui


@pytest.fixture
def timed(tmp_path) -> RunInfo:
    """A run that worked 90 s on 45 steps, on this machine's processor."""
    folder = tmp_path / "timed-01"
    (folder / "checkpoints").mkdir(parents=True)
    for step, worked in ((0, 4.0), (45, 90.0)):
        info = {"elapsed_s": worked, "versions": {"platform": platform.platform()}}
        (folder / "checkpoints" / f"step_{step:08d}.json").write_text(json.dumps({"info": info}))
    return RunInfo(folder, "adapt", "stopped", 45, provenance=Provenance(preset="self6d-tiny"))


def test_what_was_timed_here_comes_before_what_was_published(timed, tmp_path):
    def told(runs, overrides=None, *, gpu=False) -> tuple[str, str]:
        return expected("adapt", "self6d-tiny", 300, overrides or {}, runs, gpu=gpu)

    words, sentence = told([timed])
    assert words == "about 10 min"
    assert sentence == "About 10 min: 300 steps as in timed-01, timed here."
    assert "on two CPU cores" in told([])[1]
    assert told([timed], {"adapt.batch": 64})[0] == "not timed"  # whose steps take longer
    assert told([timed], {"models.unit": "mm"})[0] == "about 10 min"
    assert told([timed], gpu=True)[0] == "not timed"
    elsewhere = replace(timed, path=tmp_path / "elsewhere")
    (elsewhere.path / "checkpoints").mkdir(parents=True)
    info = {"elapsed_s": 9.0, "versions": {"platform": "another machine"}}
    (elsewhere.path / "checkpoints" / "step_00000045.json").write_text(json.dumps({"info": info}))
    assert "timed here" not in told([elsewhere])[1]
    # eight steps are mostly the preparation before them: 55 min were told of a run of 7
    stopped = replace(timed, path=tmp_path / "stopped", step=8)
    (stopped.path / "checkpoints").mkdir(parents=True)
    info = {"elapsed_s": 58.0, "versions": {"platform": platform.platform()}}
    (stopped.path / "checkpoints" / "step_00000008.json").write_text(json.dumps({"info": info}))
    assert "timed here" not in told([stopped])[1]


def test_the_list_says_it_before_the_run(qtbot, settings, timed, monkeypatch):
    monkeypatch.setattr("studio.training.panel.has_gpu", lambda: False)
    project = Project()
    panel = RunPanel("adapt", project, settings, Engine())
    qtbot.addWidget(panel)
    panel.show()
    box = panel.preset
    offered = {box.itemData(i): box.itemText(i) for i in range(box.count())}
    assert not {"laptop", "tracked"} & set(offered)  # learn from a track: the Track tab offers them
    assert offered["self6d-plus-tiny"] == "self6d-plus-tiny, about 7 min"
    assert offered["self6d"] == "self6d, made for a GPU"
    assert "timed with two CPU threads" in box.told.text()
    project.edit_option("adapt:preset", "self6d-tiny", "Change preset")
    assert "timed on two CPU cores that do nothing else, on 150 frames" in box.told.text()
    assert "idle" not in box.told.text()
    project.runs = [timed]
    project.runsChanged.emit()
    assert box.told.text() == "About 8 min: 250 steps as in timed-01, timed here."
    fill(panel.steps, "30")
    assert box.told.text() == "About 1 min: 30 steps as in timed-01, timed here."
    box.setFocus()
    QTest.keyClicks(box, "self6d-plus-t")
    box.activated.emit(box.currentIndex())
    assert panel.option("preset") == "self6d-plus-tiny"
    fill(panel.minutes, "3")
    assert box.told.text().startswith("Its steps end after 3 min at the latest,")
    fill(panel.minutes, "")
    panel.device.setFocus()
    QTest.keyClick(panel.device, Qt.Key.Key_Down)
    assert project.options["adapt:device"] == "cpu"


@pytest.mark.parametrize("kind", ["train", "adapt"])
def test_what_the_other_stage_asks_is_hidden_and_ends_with_the_panel(qtbot, settings, kind):
    """It was a window of its own: it outlived the studio's, and every change of the look took it
    along."""
    panel = RunPanel(kind, Project(), settings, Engine())
    qtbot.addWidget(panel)
    panel.show()
    parts = [part for part in vars(panel).values() if isinstance(part, QWidget)]
    assert all(panel.isAncestorOf(part) for part in parts)
    assert panel.share.isVisible() == panel.split.isVisible() == (kind == "adapt")
    assert panel.camera_like.isVisible() == (kind == "train")


def test_the_sentence_about_the_time_is_never_cut(opened, wait, qtbot):
    """Its third line was, once the form's settings had come."""
    panel, project = opened.workspace.adapt_panel, opened.project
    project.edit_option("adapt:poses", "/a/mustard0-track-02/poses.json", "Learn poses")
    project.edit_option("adapt:preset", "laptop", "Change preset")
    click(opened.header.buttons["selfsup"])
    wait(lambda: panel.form.ready)
    told = panel.preset.told
    wait(lambda: told.text().startswith("Not timed"))
    for _ in range(10):
        qtbot.wait(30)
        assert told.height() >= told.heightForWidth(told.width())
