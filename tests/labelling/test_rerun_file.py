"""A recording with poses for the viewer Rerun, read back with Rerun's own reader."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.labelling import write_rrd
from self6d.scene.models_copy import save_models

PRINT = [sys.executable, "-m", "rerun_cli", "rrd", "print", "-vvv"]
AWAY = 1  # the frame that the block is lost in


@pytest.fixture
def tracked(tmp_path: Path) -> tuple[Path, Path]:
    """Three frames with a block, and its track."""
    root, file = tmp_path / "block", tmp_path / "poses.json"
    write_recording(root, [pose_at(i, ()) for i in range(3)])
    save_models([block()], root / "models")
    rows = []
    for index, key in enumerate(open_dataset(root).keys):
        lost = index == AWAY
        state = TrackState.LOST if lost else TrackState.TRACKED
        pose = None if lost else pose_at(index, ())
        rows.append(TrackedPose(key, block().object_id, 0, state, pose, 0.0 if lost else 0.9))
    write_pose_track(file, rows)
    return root, file


def test_without_the_package_it_says_what_to_install(tracked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("self6d.labelling.rerun_file.have_rerun", lambda: False)
    out = tmp_path / "out.rrd"
    assert cli.run(["rrd", str(tracked[0]), "--out", str(out)]) != 0
    assert 'pip install "self6d-studio[rerun]"' in capsys.readouterr().err
    assert not out.exists()


def test_a_track_in_rerun(tracked, tmp_path, capsys):
    pytest.importorskip("rerun")
    root, file = tracked
    out = tmp_path / "out.rrd"
    command = ["rrd", str(root), "--poses", str(file), "--out", str(out), "--quiet"]
    assert cli.run(command) == 0
    assert cli.run(command) != 0  # nothing is overwritten
    assert "exists already" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if ".tmp" in p.suffixes] == []
    told = subprocess.run([*PRINT, out], capture_output=True, text=True)
    text = told.stdout
    name = block().name
    for entity in ("/camera/image", "/camera/depth", f"/camera/poses/track/{name}/cad",
                   f"/scores/track/{name}"):  # fmt: skip
        assert entity in text, entity
    numbers = r"\[\[(-?[\d.e-]+, -?[\d.e-]+, -?[\d.e-]+)\]\]"
    found = np.array([[float(x) for x in row.split(", ")] for row in re.findall(numbers, text)])
    for wanted in (pose_at(0, ()).t_m2c, pose_at(2, ()).t_m2c, np.zeros(3)):  # lost: no size
        assert np.abs(found - wanted).max(1).min() < 1e-4
    assert not (np.abs(found - pose_at(AWAY, ()).t_m2c).max(1) < 1e-4).any()


def test_curves_of_runs_in_rerun(tracked, tmp_path):
    pytest.importorskip("rerun")
    out, steps = tmp_path / "out.rrd", np.arange(0.0, 30.0, 10.0)
    curves = {"run-1": {"loss/total": (steps, 7.25 + steps)}}
    write_rrd(out, open_dataset(tracked[0]), (), {}, curves=curves)
    told = subprocess.run([*PRINT, out], capture_output=True, text=True)
    (chunk,) = (part for part in told.stdout.split("Chunk(") if "/curves/run-1/loss/total" in part)
    for word in ("step", "7.25", "17.25", "27.25"):
        assert word in chunk
