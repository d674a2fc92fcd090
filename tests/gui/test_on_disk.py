"""A recording that changes on disk while it is open: said where the user looks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tracked_block import pose_at, write_recording

pytestmark = pytest.mark.gui
SCENE = Path("test", "000001")


@pytest.fixture
def window(open_studio, block_recording, tmp_path, wait):
    """A window with a copy of six frames."""
    data = tmp_path / "my data" / "block"
    shutil.copytree(block_recording, data)
    window = open_studio(data)
    wait(lambda: window.director.frame is not None)
    return window


def test_a_recording_that_grows_is_offered_again(window, tmp_path, wait):
    """It kept its length, and nobody was told that there was more."""
    data = Path(window.project.recording.root)
    more = write_recording(tmp_path / "more", [pose_at(i) for i in range(9)])
    for file in sorted((more / SCENE).rglob("*.*")):
        there = data / file.relative_to(more)
        if not there.exists() or there.suffix == ".json":
            shutil.copy(file, there)
    banner = window.banner
    wait(lambda: banner.isVisible() and "9 frames now; 6 were there" in banner.text.text(), 20)
    assert banner.action.text() == "Open again"
    banner.action.click()
    wait(lambda: len(window.project.recording) == 9 and window.project.models)
    assert not banner.isVisible() or "6 were there" not in banner.text.text()


def test_a_frame_that_is_gone_leaves_no_other_in_its_place(window, wait):
    """The picture of the frame before stayed, under the new number."""
    data, stage = Path(window.project.recording.root), window.workspace.stage
    gone = sorted((data / SCENE / "rgb").iterdir())[4]
    content = gone.read_bytes()
    gone.unlink()
    window.project.select_frame(4)
    canvas = stage.frame_view.canvas
    wait(lambda: window.director.frame is None)
    assert stage.frame_view.frame is None
    assert canvas.message.startswith(f"Frame 5: {gone}: ")
    assert "Check the path." in canvas.message
    assert "cannot be read" in stage.cloud_view.message.text()
    gone.write_bytes(content)
    window.project.select_frame(3)
    wait(lambda: window.director.frame is not None and window.director.frame.index == 3)
    window.project.select_frame(4)
    wait(lambda: window.director.frame.index == 4)
    assert stage.frame_view.frame.index == 4


def test_a_recording_that_is_deleted_is_said_to_be(window, wait):
    data = Path(window.project.recording.root)
    shutil.rmtree(data)
    banner = window.banner
    wait(lambda: banner.isVisible() and f"{data} is gone" in banner.text.text(), 20)
