"""File dialogs: what is chosen in them is opened, and where they start."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import pytest
from hands import drop, name_file
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.model.settings import Settings
from studio.toolkit.asking import new_file

pytestmark = pytest.mark.gui


def test_a_folder_of_runs_opens_all_of_them(opened, trained, tmp_path, wait):
    """`launch` took it, File > Open run refused it."""
    folder = tmp_path / "runs of a demo"
    for name in ("stage1", "adapted"):
        shutil.copytree(trained, folder / name)
    action = opened.actions_registry["file.run"]
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value=str(folder)):
        action.trigger()
    wait(lambda: {run.name for run in opened.project.runs} == {"stage1", "adapted"})
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value=str(tmp_path)):
        action.trigger()
    assert "not a run folder" in opened.banner.text.text()


@pytest.mark.parametrize(
    ("typed", "kind", "path"),
    [
        ("scores", "*.csv", "scores.csv"),
        ("scores.csv", "*.csv", "scores.csv"),
        ("scores.txt", "*.csv", "scores.txt"),
        ("session", "Rerun (*.rrd)", "session.rrd"),
    ],
)
def test_a_name_without_an_ending_gets_that_of_its_kind(
    typed, kind, path, qtbot, settings, tmp_path
):
    window = QWidget()
    qtbot.addWidget(window)
    name_file(tmp_path / typed)
    assert new_file(window, settings, "table", "Save as", kind) == tmp_path / path
    seen = []
    name_file(tmp_path / typed, lambda dialog: seen.append(dialog.directory().path()))
    new_file(window, settings, "table", "Save as", kind, "offered")
    assert seen == [str(tmp_path)]


def test_dialogs_start_where_the_last_thing_of_their_kind_lies(open_studio, sample, tmp_path, wait):
    """They started in the home folder each time, in the next session too."""
    window = open_studio()
    actions, near = window.actions_registry, str(sample.parent)
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value="") as ask:
        actions["file.open"].trigger()
        assert ask.call_args.args[2] == str(Path.home())
        drop(window, sample)
        wait(lambda: window.project.recording is not None)
        actions["file.open"].trigger()
        assert ask.call_args.args[2] == near
        actions["file.run"].trigger()  # another kind
        assert ask.call_args.args[2] == str(window.settings.runs_folder)
    models = [str(path) for path in sorted((sample / "models").glob("*.ply"))]
    with mock.patch.object(QFileDialog, "getOpenFileNames", return_value=(models, "")) as ask:
        actions["file.models"].trigger()
        actions["file.models"].trigger()
    assert ask.call_args.args[2] == str(sample / "models")
    again = Settings(window.settings.file)
    assert str(again.place("recording")) == near
    again.keep_place("recording", tmp_path / "gone")
    assert again.place("recording") == Path.home()


def test_a_recording_is_launched_with_cad_models_from_elsewhere(
    open_studio, block_recording, tmp_path, wait
):
    data, cad = tmp_path / "rec", tmp_path / "cad"
    shutil.copytree(block_recording, data)
    (data / "models").rename(cad)
    window = open_studio(data, cad)
    wait(lambda: window.director.frame is not None and window.project.models)
    assert window.project.recording.root == str(data)
    assert {path.parent for path in window.project.model_paths} <= {cad, tmp_path}
