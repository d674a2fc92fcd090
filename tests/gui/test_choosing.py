"""File dialogs: what is chosen in them is opened, and where they start."""

from __future__ import annotations

import shutil
from unittest import mock

import pytest
from hands import name_file
from PySide6.QtWidgets import QFileDialog, QWidget

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
def test_a_name_without_an_ending_gets_that_of_its_kind(typed, kind, path, qtbot, tmp_path):
    window = QWidget()
    qtbot.addWidget(window)
    name_file(tmp_path / typed)
    assert new_file(window, "Save as", tmp_path, kind) == tmp_path / path
