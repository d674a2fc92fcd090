"""The recording's colours, taken, looked at and used in the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from block_shapes import block
from hands import click
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from tracked_block import pose_at

from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.runs.folder import RunFolder
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models

pytestmark = pytest.mark.gui


@pytest.fixture
def grey(tmp_path) -> Path:
    save_models([replace(block(), has_color=False)], tmp_path / "grey")
    return tmp_path / "grey"


@pytest.fixture
def tracked(block_recording, tmp_path) -> Path:
    """A run of `track`, as it lies on disk when it is done."""
    about = {"data": str(block_recording)}
    run = RunFolder.create(tmp_path / "runs" / "block-track", "track", {}, about)
    run.update(status="done")
    rows = [
        TrackedPose(FrameKey(1, i), 1, 0, TrackState.TRACKED, pose_at(i), 0.95)
        for i in (0, 1, 2, 4, 5)
    ]
    write_pose_track(run.path / "poses.json", rows)
    return run.path


def test_taken_looked_at_used_and_undone(open_studio, block_recording, grey, tracked, wait):
    window = open_studio(block_recording)
    project, space = window.project, window.workspace
    part = space.track_panel.colours
    wait(lambda: project.models)
    window.opener.load_models([grey])
    wait(lambda: project.model_paths == [grey])
    space.show_track()
    assert not part.take.isEnabled()
    assert part.way.text().startswith("Track the recording first")
    window.opener.open_run(tracked)
    wait(lambda: part.take.isEnabled())
    assert part.way.text() == "At the poses of block-track that are sure enough."

    click(part.take)
    assert space.unfinished() == ["the models' colours"]
    assert not part.take.isEnabled()
    wait(lambda: not space.unfinished())
    wait(lambda: not part.use.visibleRegion().isEmpty())  # it came below the panel's edge
    assert "vertices" in part.result.text()
    assert "from 5 of 5 frames" in part.result.text()
    picture = part.picture.pixmap().toImage()
    middle = [picture.pixelColor(round(x * picture.width()), picture.height() // 2).hslSaturation()
              for x in (0.125, 0.375, 0.625, 0.875)]  # fmt: skip
    assert max(middle[:2]) < 5  # grey before
    assert min(middle[2:]) > 40
    made = Path(part.result.text().rpartition("Written: ")[2])

    click(part.use)
    wait(lambda: project.model_paths == [made])
    assert part.use.text() == "In use"
    assert space.adapt_panel.project.model_paths == [made]  # what the next run takes
    (model,) = load_models(made)
    own = block()
    shown = project.models[0]
    assert (shown.object_id, shown.name) == (own.object_id, own.name)
    wrong = np.abs(model.colors[: len(own.vertices)] - 230 / 255 * own.colors).max(1)
    assert (wrong < 0.03).sum() > 60  # the inner parts of the two sides that were seen
    QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert project.model_paths == [grey]
    assert part.use.isEnabled()
