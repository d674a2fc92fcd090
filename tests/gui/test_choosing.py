"""File dialogs: what is chosen in them is opened, and where they start."""

from __future__ import annotations

import shutil
from unittest import mock

import pytest
from PySide6.QtWidgets import QFileDialog

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
