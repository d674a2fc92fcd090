"""A recording that changes on disk while it is open: said where the user looks."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tracked_block import pose_at, write_recording

from studio.engine.types import PoseData
from studio.shell.wiring.on_disk import SETTLE_MS

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
    data, project = Path(window.project.recording.root), window.project
    noted: list[str] = []
    seen: list[object] = []  # by the helper that judges, predicts and films

    def look(index: int) -> None:
        window.worker.request("frame", str(data), index, done=seen.append, failed=seen.append)

    look(5)
    wait(lambda: seen)
    window.noted.connect(lambda level, text: noted.append(text))
    project.select_frame(2)
    project.put_poses(2, [PoseData(1, np.eye(3), np.array([0, 0, 0.4]))], "hand")
    more = write_recording(tmp_path / "more", [pose_at(i) for i in range(9)])
    for file in sorted((more / SCENE).rglob("*.*")):
        there = data / file.relative_to(more)
        if not there.exists() or there.suffix == ".json":
            shutil.copy(file, there)
    banner = window.banner
    wait(lambda: banner.isVisible() and "9 frames now; 6 were there" in banner.text.text(), 20)
    assert banner.action.text() == "Open again"
    banner.action.click()
    wait(lambda: len(project.recording) == 9 and project.models)
    assert not banner.isVisible() or "6 were there" not in banner.text.text()
    assert (project.frame_index, list(project.poses)) == (2, [(2, 1)])  # what was done stays
    look(8)
    wait(lambda: len(seen) == 2)
    assert [getattr(frame, "index", frame) for frame in seen] == [5, 8]
    assert len([text for text in noted if "frames now" in text]) == 1


def test_frames_that_are_gone_are_left_out_where_it_is_opened_again(window, wait):
    data, project, banner = Path(window.project.recording.root), window.project, window.banner
    for name in ("rgb", "depth"):
        sorted((data / SCENE / name).iterdir())[0].unlink()
    cameras = json.loads((data / SCENE / "scene_camera.json").read_text())
    cameras.pop(min(cameras, key=int))
    (data / SCENE / "scene_camera.json").write_text(json.dumps(cameras))
    wait(lambda: banner.isVisible() and "only 5 frames now" in banner.text.text(), 20)
    before = project.recording.keys
    banner.action.click()
    wait(lambda: project.recording.keys == before[1:] and project.models)


def test_an_image_that_is_replaced_is_said_to_be(window, wait):
    """Frames were counted, and another image of the same name went unnoticed."""
    data, project, banner = Path(window.project.recording.root), window.project, window.banner
    image = sorted((data / SCENE / "rgb").iterdir())[2]
    cv2.imwrite(str(image.with_name("part.png")), np.zeros((120, 160, 3), np.uint8))
    image.with_name("part.png").replace(image)
    wait(lambda: banner.isVisible() and f"such as {image.name}" in banner.text.text(), 20)
    assert banner.text.text().startswith("1 file of ")
    banner.action.click()
    wait(lambda: banner.isHidden())
    project.select_frame(2)
    wait(lambda: window.director.frame is not None and window.director.frame.index == 2)
    assert not window.director.frame.rgb.any()


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


def test_a_recording_that_is_gone_is_said_to_be_until_it_is_back(window, wait):
    data, banner = Path(window.project.recording.root), window.banner
    data.rename(data.with_name("elsewhere"))
    wait(lambda: banner.isVisible() and f"{data} is gone" in banner.text.text(), 20)
    data.with_name("elsewhere").rename(data)
    wait(lambda: not banner.isVisible(), 20)
    shutil.rmtree(data.parent)
    wait(lambda: banner.isVisible() and f"{data} is gone" in banner.text.text(), 20)


def test_a_window_that_was_closed_starts_no_helper_for_what_changes_then(window, wait):
    """A helper process outlived the window, and nobody was left to end it."""
    data, engine = Path(window.project.recording.root), window.engine
    window.close()
    assert engine.pid is None
    picture = next((data / SCENE / "rgb").iterdir())
    shutil.copy(picture, picture.with_name("000099.png"))
    until = time.monotonic() + SETTLE_MS / 1000 + 1
    wait(lambda: time.monotonic() > until)
    assert engine.pid is None
