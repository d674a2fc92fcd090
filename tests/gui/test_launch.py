"""`self6d-studio launch` with several paths."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from self6d import cli

pytestmark = pytest.mark.gui


def opened_by(words: list[str], ready) -> object:
    """What `ready` saw in the window of a command, once that was true; the window is closed."""
    seen: list[object] = []

    def look() -> None:
        tops = QApplication.topLevelWidgets()
        window = next((w for w in tops if w.objectName() == "studio" and w.isVisible()), None)
        if window is not None and window.built and (found := ready(window)):
            seen.append(found)
            timer.stop()
            window.close()

    timer = QTimer(interval=50)
    timer.timeout.connect(look)
    timer.start()
    code = cli.run(["launch", *words])
    assert code == 0
    return seen[0]


@pytest.mark.usefixtures("_waits_rest")
def test_several_paths_are_each_taken_for_what_they_are(
    qapp, sample: Path, block_recording: Path, trained: Path, tmp_path, monkeypatch
) -> None:
    """It took one, and a second was a usage error; CAD had to be named by --models."""
    monkeypatch.setenv("SELF6D_STUDIO_CONFIG", str(tmp_path / "studio.ini"))
    flask, boat = tmp_path / "flask.ply", tmp_path / "boats" / "boat.ply"
    shutil.copy(sample / "models" / "obj_000001.ply", flask)
    boat.parent.mkdir()
    shutil.copy(sample / "models" / "obj_000003.ply", boat)
    letter = tmp_path / "letter.txt"
    letter.write_text("no model")

    def ready(window):
        project = window.project
        if project.recording is None or not project.models or not window.banner.isVisible():
            return None
        return (
            project.recording_path, [m.name for m in project.models],
            [run.path for run in project.runs], window.banner.text.text(),
        )  # fmt: skip

    words = [str(path) for path in (trained, flask, letter, sample, block_recording, boat.parent)]
    recording, models, runs, said = opened_by(words, ready)
    assert recording == sample
    assert models == ["flask", "boat"]
    assert trained in runs
    assert "Not opened" in said
    assert "letter.txt" in said
    assert f"opened {sample.name}, left out block." in said
