"""predict takes an exported package as it takes the run that the package was made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_runs import as_options
from tracked_block import pose_at, write_recording

from self6d import cli, jobs
from self6d.datasets.pose_track import read_pose_track
from self6d.errors import CheckpointError, InputError
from self6d.jobs.pack import pack
from self6d.packaging import export_run
from self6d.paths import is_package, resource
from self6d.sample.sample import make_sample

RUN = resource("sample/stage1")
FEW = {"track.points": 128, "track.candidates": 60, "track.steps": 4, "track.region": 64}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("exported") / "package"
    export_run(RUN, to, onnx=False, refiner="shipped")
    return to


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return write_recording(tmp_path_factory.mktemp("seen") / "data", [pose_at(0)])


def test_the_poses_are_those_of_the_run(package: Path, recording: Path, tmp_path: Path) -> None:
    options = {"score_threshold": 0.02, "instances": 2, "views": 2, "device": "cpu"}
    ours, theirs = (jobs.predict(recording, source, **options) for source in (package, RUN))
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a["object"] == b["object"]
        np.testing.assert_allclose(a["t_m2c"], b["t_m2c"], rtol=1e-3)
        np.testing.assert_allclose(a["R_m2c"], b["R_m2c"], atol=1e-3)
    out = tmp_path / "poses.json"
    command = ["predict", str(recording), "--from", str(package), "--device", "cpu", "--quiet"]
    assert cli.run([*command, "--instances", "2", "--score", "0.02", "--json", str(out)]) == 0
    assert {row["object"] for row in json.loads(out.read_text())} <= {r["object"] for r in ours}


def test_its_refiner_is_the_package_s_own(package: Path, recording: Path) -> None:
    said: list = []
    rows = jobs.predict(
        recording, package, refine="rgb", score_threshold=0.02, instances=1, device="cpu",
        listener=said.append,
    )  # fmt: skip
    assert all("confidence" in row for row in rows)
    assert any("refiner in this package" in getattr(event, "text", "") for event in said)


def test_track_takes_it_too(package: Path, tmp_path: Path) -> None:
    """It was refused as no run. Models and refiner are the package's own as well."""
    data = make_sample(tmp_path / "data", frames=1, eval_frames=1)
    shutil.rmtree(data / "models")
    rows = {}
    for name, source in (("run", RUN), ("package", package)):
        words = ["track", str(data), "--from", str(source), "--object", "1", "--split", "eval"]
        words += as_options(FEW)
        assert cli.run([*words, "--quiet", "--device", "cpu", "--out", str(tmp_path / name)]) == 0
        rows[name] = read_pose_track(tmp_path / name)
    poses = [[row.pose for row in track] for track in rows.values()]
    assert any(poses[0])
    for a, b in zip(*poses, strict=True):
        np.testing.assert_allclose(a.t_m2c, b.t_m2c, atol=0.002)
    folder = pack([*words, "--out", "elsewhere/run"], tmp_path / "job")
    assert is_package(folder / "from")


def test_what_a_package_cannot_do_is_said(package: Path, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Name the run that it was exported from"):
        jobs.predict(recording, package, refine="depth", device="cpu")
    with pytest.raises(InputError, match="views"):
        jobs.predict(recording, package, views=99, device="cpu")
    with pytest.raises(CheckpointError, match="neither a run nor an exported package"):
        jobs.predict(recording, tmp_path, device="cpu")


def test_images_of_another_height_and_ones_too_small_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "camera.json").write_text(
        json.dumps({"fx": 300, "fy": 300, "cx": 160, "cy": 120, "width": 320, "height": 240})
    )

    def warnings(width: int, height: int) -> list[str]:
        image = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "i.png"), image)
        said: list = []
        jobs.predict(
            tmp_path / "i.png", RUN, camera=tmp_path / "camera.json", device="cpu",
            listener=said.append,
        )  # fmt: skip
        return [e.text for e in said if getattr(e, "level", "") == "warning"]

    assert not any("rows high" in text for text in warnings(320, 240))
    (text,) = (text for text in warnings(640, 480) if "rows high" in text)
    assert text.startswith("the images are 480 rows high")
    assert "learned from 240" in text
    assert "as much larger" in text
    assert any("as much smaller" in text for text in warnings(160, 120))
    with pytest.raises(InputError, match="images of 16x12 pixels are too small for the network"):
        warnings(16, 12)
