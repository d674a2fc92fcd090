"""Depth of another camera: registered where the files say how it stands, refused where not."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
from variations import read

from self6d.datasets import open_dataset
from self6d.errors import InputError

COLOUR = {"fx": 280.0, "fy": 281.0, "cx": 161.5, "cy": 118.0, "width": 320, "height": 240}
DEPTH = {"fx": 150.0, "fy": 150.0, "cx": 80.0, "cy": 61.0, "width": 160, "height": 120}
R = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]  # depth's axes to colour's
T = np.array([0.025, 0.002, -0.001])
NORMAL, NEAR, FAR = np.array([0.1, 0.3, 1.0]), 0.55, 0.9  # planes of the colour camera


def rays(camera: dict) -> np.ndarray:
    x, y = np.meshgrid(np.arange(camera["width"]), np.arange(camera["height"]))
    return np.stack([(x - camera["cx"]) / camera["fx"], (y - camera["cy"]) / camera["fy"],
                     np.ones(x.shape)], -1)  # fmt: skip


def seen(camera: dict, own_R: np.ndarray, own_t: np.ndarray) -> np.ndarray:
    """Depth (H, W) in metres that a camera sees of a plane and of a square before it."""
    turned = rays(camera) @ own_R.T
    z = (FAR - NORMAL @ own_t) / (turned @ NORMAL)
    front = (NEAR - own_t[2]) / turned[..., 2]
    at = turned * front[..., None] + own_t
    square = (np.abs(at[..., 0]) < 0.08) & (np.abs(at[..., 1] - 0.02) < 0.06)
    return np.where(square, front, z)


def recording(root: Path, files: dict, depth_folder: str = "depth") -> Path:
    raw = seen(DEPTH, R, T) * 1000
    for n in range(2):
        world.save(root / "rgb" / f"{n:04d}.png", world.shot(n, 240, 320).rgb)
        world.save(root / depth_folder / f"{n:04d}.png", np.round(raw).astype(np.uint16))
    for name, value in files.items():
        path = root / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return root


M = np.vstack([np.column_stack([R, T]), [0, 0, 0, 1]])
BACK = np.linalg.inv(M)
REALSENSE = {"rotation": R.T.reshape(-1).tolist(), "translation": T.tolist()}
STATED = {
    "one file": {"camera.json": {"color": COLOUR, "depth": DEPTH, "depth_to_color": M.tolist()}},
    "realsense": {"calibration.json": {"color": COLOUR,
                                       "depth": {**DEPTH, "extrinsics": REALSENSE}}},
    "rows": {"camera.json": COLOUR, "depth_intrinsics.json": DEPTH,
             "depth_to_color.json": {"R": R.tolist(), "t": T.tolist()}},
    "millimetres": {"camera.json": COLOUR, "depth_intrinsics.json": DEPTH,
                    "extrinsics.json": {"R": R.tolist(), "t": (1000 * T).tolist()}},
    "text": {"rgb_intrinsics.json": COLOUR, "depth_intrinsics.json": DEPTH,
             "T_depth_to_color.txt": "\n".join(" ".join(map(str, row)) for row in M)},
    "the way back": {"camera.json": {"color": COLOUR, "depth": DEPTH,
                                     "color2depth": BACK.tolist()}},
    "columns first": {"camera.json": {"color": COLOUR, "depth": DEPTH,
                                      "depth2color": M.T.reshape(-1).tolist()}},
}  # fmt: skip


@pytest.mark.parametrize("case", STATED)
def test_depth_is_registered_by_its_extrinsics(tmp_path: Path, caplog, case: str) -> None:
    frames, notes = read(recording(tmp_path, STATED[case]), caplog)
    true = seen(COLOUR, np.eye(3), np.zeros(3))
    found = frames[0].depth_m
    assert frames[0].camera.K_opencv[0, 0] == 280
    assert "registered to colour by the stated extrinsics" in notes
    assert ("columns first" in notes) == (case == "realsense")
    near, far = cv2.erode(true, np.ones((7, 7))), cv2.dilate(true, np.ones((7, 7)))
    flat = (far - near < 0.1) & (found > 0)  # not at the square's edges
    assert flat.mean() > 0.75
    assert np.abs(found - true)[flat].max() < 0.006  # a depth pixel is two of colour
    assert np.median(np.abs(found - true)[flat]) < 0.0012
    middle = true[118:122, 155:165]
    np.testing.assert_allclose(found[118:122, 155:165], middle, atol=0.002)
    assert (found[60:180, 80:240] > 0).mean() > 0.97  # no gaps but the square's shadow


def test_another_camera_without_extrinsics_is_refused(tmp_path: Path) -> None:
    recording(tmp_path, {"camera.json": {"color": COLOUR, "depth": DEPTH}})
    with pytest.raises(InputError, match="cannot be registered to colour"):
        open_dataset(tmp_path)


def test_aligned_depth_is_left_as_it_is(tmp_path: Path, caplog) -> None:
    files = {"camera.json": {"color": COLOUR, "depth": DEPTH, "depth_to_color": M.tolist()}}
    frames, notes = read(recording(tmp_path, files, "aligned_depth_to_color"), caplog)
    assert "registered to colour by" not in notes
    assert frames[0].depth_m.shape == (240, 320)


def test_extrinsics_that_are_no_pose(tmp_path: Path) -> None:
    for value, says in (([[1, 2], [3, 4]], "no pose"), ((2 * M).tolist(), "no rotation")):
        files = {"camera.json": {"color": COLOUR, "depth": DEPTH, "depth_to_color": value}}
        recording(tmp_path, files)
        with pytest.raises(InputError, match=says):
            open_dataset(tmp_path)
