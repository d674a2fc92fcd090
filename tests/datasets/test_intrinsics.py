"""Every spelling of a camera file, and of the depth scale."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import recordings as world

from self6d.datasets import depth_scale, open_dataset
from self6d.datasets.intrinsics import find_camera_file, read_intrinsics
from self6d.errors import InputError
from self6d.files import forget_notes

K = [[600.0, 0.0, 319.5], [0.0, 610.0, 239.5], [0.0, 0.0, 1.0]]
FLAT = [v for row in K for v in row]
NAMED = {"fx": 600.0, "fy": 610.0, "cx": 319.5, "cy": 239.5}

SPELLINGS = {
    "K.txt": "600 0 319.5\n0 610 239.5\n0 0 1\n",
    "cam_K.txt": "# camera\n[[600, 0, 319.5],\n [0, 610, 239.5],\n [0, 0, 1]]\n",
    "intrinsics.txt": "600 610 319.5 239.5\n",
    "camera-intrinsics.txt": "600 0 319.5 0\n0 610 239.5 0\n0 0 1 0\n0 0 0 1\n",
    "camera.json": json.dumps(NAMED | {"width": 640, "height": 480, "depth_scale": 0.1}),
    "intrinsics.json": json.dumps({"K": K}),
    "camera_intrinsics.json": json.dumps({"intrinsic_matrix": K}),
    "intrinsic.json": json.dumps(
        {"width": 640, "height": 480, "intrinsic_matrix": [600, 0, 0, 0, 610, 0, 319.5, 239.5, 1]}
    ),  # Open3D: columns first
    "camera_data.json": json.dumps({"K": K, "resolution": [480, 640]}),
    "camera_info.json": json.dumps({"cam_K": FLAT}),
    "calib.json": json.dumps({"color": {"ppx": 319.5, "ppy": 239.5, "fx": 600, "fy": 610}}),
    "calibration.json": json.dumps(K),
    "camera.yaml": "fx: 600\nfy: 610\ncx: 319.5\ncy: 239.5\nwidth: 640\nheight: 480\n",
    "camera_info.yaml": (
        "image_width: 640\nimage_height: 480\ncamera_name: rgb\ncamera_matrix:\n  rows: 3\n"
        "  cols: 3\n  data: [600, 0, 319.5, 0, 610, 239.5, 0, 0, 1]\ndistortion_model: plumb_bob\n"
    ),  # ROS camera_calibration
    "camera_info.yml": (
        "height: 480\nwidth: 640\ndistortion_model: plumb_bob\nD: [0, 0, 0, 0, 0]\n"
        "K: [600, 0, 319.5, 0, 610, 239.5, 0, 0, 1]\nR: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n"
    ),  # a printed sensor_msgs/CameraInfo
    "calibration.yml": (
        "%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
        "   data: [ 600., 0., 319.5, 0., 610., 239.5, 0., 0., 1. ]\n"
    ),  # OpenCV FileStorage
}


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SPELLINGS[name])
    assert find_camera_file(tmp_path) == tmp_path / name
    intrinsics = read_intrinsics(tmp_path / name)
    np.testing.assert_allclose(intrinsics.K, K)
    camera = intrinsics.camera(640, 480)
    np.testing.assert_allclose(camera.K[:2, 2], [320, 240])
    if intrinsics.width is not None:
        assert (intrinsics.width, intrinsics.height) == (640, 480)


def test_k_of_another_size_is_rescaled(tmp_path: Path, caplog) -> None:
    world.dump(tmp_path / "camera.json", NAMED | {"width": 640, "height": 480})
    with caplog.at_level(logging.WARNING, "self6d"):
        camera = read_intrinsics(tmp_path / "camera.json").camera(320, 240)
    np.testing.assert_allclose(camera.K, [[300, 0, 160], [0, 305, 120], [0, 0, 1]])
    assert "rescaled" in caplog.text
    with pytest.raises(InputError, match="image is 640x640, camera file is for 640x480"):
        read_intrinsics(tmp_path / "camera.json").camera(640, 640)


@pytest.mark.parametrize(
    ("stated", "metres"),
    [(1.0, 1e-3), (0.1, 1e-4), (1000, 1e-3), (5000, 2e-4), (6553.5, 1 / 6553.5), (0.001, 1e-3),
     (0.00025, 0.00025)],
)  # fmt: skip
def test_depth_scale_as_stated(stated: float, metres: float, tmp_path: Path) -> None:
    assert depth_scale.from_statement(stated, tmp_path) == pytest.approx(metres)


@pytest.mark.parametrize(
    ("median", "dtype", "metres", "told"),
    [
        (900, np.uint16, 1e-3, "read as millimetres"),
        (20000, np.uint16, 2e-4, "read as 1/5000 m (TUM)"),
        (60000, np.uint16, 1e-4, "read as 1/10000 m (YCB-Video)"),
        (0.9, np.float32, 1.0, "read as metres"),
        (900, np.float32, 1e-3, "read as millimetres"),
    ],
)
def test_depth_scale_from_values(median, dtype, metres, told, tmp_path, caplog) -> None:
    image = np.full((40, 50), median, dtype)
    image[:5] = 0
    with caplog.at_level(logging.WARNING, "self6d"):
        assert depth_scale.from_values([image], tmp_path) == pytest.approx(metres)
    assert told in caplog.text
    assert "write depth_scale" in caplog.text  # every guess says how to name the right one


def test_float_depth_arrays(tmp_path: Path) -> None:
    root = world.folder(tmp_path, depth=False)
    (root / "depth").mkdir()
    for n in range(4):
        depth = world.shot(n).depth_mm / 1000
        depth[5, 5:9] = (np.nan, np.inf, -np.inf, -1)
        np.save(root / "depth" / f"{n:04d}.npy", depth)
    frame = open_dataset(root).frame(1)
    assert frame.depth_m.dtype == np.float32
    assert not frame.depth_m[5, 5:9].any()
    np.testing.assert_allclose(frame.depth_m[6:], world.shot(1).depth_mm[6:] / 1000, rtol=1e-6)
