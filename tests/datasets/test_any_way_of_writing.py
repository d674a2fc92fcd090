"""The sample, written in 200 ways drawn at random, gives back the same metres, K and colours."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_once import one_at_a_time
from spellings import SPELLINGS
from variations import Shots, Way, read, sample_shots, write

from self6d.datasets import open_dataset

START = 1663251800013000000  # nanoseconds
STAMPS = {
    "s": lambda t: f"{t / 1e9:.6f}",
    "ms": lambda t: str(t // 10**6),
    "us": lambda t: str(t // 10**3),
    "ns": str,
}
NAMES = {
    "padded": lambda i: f"{i + 220:06d}",
    "plain": lambda i: str(i + 8),
    "text": lambda i: f"frame_{i:03d}",
}
LATER = 4_711_003  # nanoseconds from colour to depth
FOLDERS = [("rgb", "depth"), ("color", "depth"), ("images", "depth_raw"), ("colour", "depths"),
           ("color", "aligned_depth"), ("rgb", "aligned_depth_to_color")]  # fmt: skip
UNITS_MM = {"mm": 1.0, "0.1 mm": 0.1, "0.25 mm": 0.25, "1/5000 m": 0.2}


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Shots:
    with one_at_a_time("sample"):
        return sample_shots(tmp_path_factory.mktemp("shots"), 3, (72, 96))


def drawn(rng: np.random.Generator, shots: Shots) -> tuple[Way, str, float]:
    """A way of writing, its layout, and the millimetres by which depth is rounded."""

    def one(options):
        return options[int(rng.integers(len(options)))]

    layout = one(["folder", "folder", "folder", "folder", "bop", "tum"])
    kind = one([*NAMES, *STAMPS]) if layout == "folder" else "s" if layout == "tum" else "plain"
    if kind in STAMPS:
        times = [START + i * 33_333_333 for i in range(3)]
        later = LATER if rng.random() < 0.7 else 0
        rgb_names = [STAMPS[kind](t) for t in times]
        depth_names = [STAMPS[kind](t + later) for t in times]
    else:
        rgb_names = depth_names = [NAMES[kind](i) for i in range(3)]
    unit = UNITS_MM[one(list(UNITS_MM))]
    decimals = layout == "folder" and rng.random() < 0.2
    hole = one([0, 0, 65535, 4095 << 4])
    if decimals:
        unit, hole = 1000.0, one([0, np.nan, np.inf, -1.0])
    D = one([(), (), (), (-0.3, 0.1, 0.0, 0.0), (0.2, -0.05, 0.001, -0.002), (-0.2, 0.03, 0, 0)])
    suffix = one([".png", ".jpg"])
    more = {"exif": int(rng.integers(1, 9)), "tail": one([0, 0, 9000])}
    if suffix == ".png":
        more = {"bits": one([8, 8, 10, 12, 16]), "extra": one(["", "", "alpha"])}
    if layout == "tum":
        unit, hole, decimals = 0.2, one([0, 65535]), False
    spell = SPELLINGS["rows" if layout == "tum" else one(list(SPELLINGS))]
    file, text = spell(shots.K, 96, 72, D, 1.0 if decimals else unit)
    rgb_folder, depth_folder = one(FOLDERS) if layout == "folder" else ("rgb", "depth")
    way = Way(
        rgb_names, depth_names, {file: text}, rgb_folder=rgb_folder, depth_folder=depth_folder,
        suffix=suffix, depth_suffix=".npy" if decimals else ".png", unit_mm=unit, hole=hole,
        distortion=D, macos=rng.random() < 0.2, **more,
    )  # fmt: skip
    return way, layout, 0.51 * (0.001 if decimals else max(unit, 0.5))


def put(root: Path, shots: Shots, way: Way, layout: str) -> int:
    """Write it; how many instances an image has (of BOP, else 0)."""
    if layout == "bop":
        scene = root / "test" / "000003"
        bent = list(way.distortion)
        entry = {"cam_K": shots.K.reshape(-1).tolist(), "depth_scale": way.unit_mm}
        count = len(way.rgb_names[0]) + way.bits % 3
        pose = {"cam_R_m2c": np.eye(3).reshape(-1).tolist(), "cam_t_m2c": [0, 0, 700], "obj_id": 2}
        way.camera = {
            "scene_camera.json": json.dumps(
                {n: {**entry, **({"dist_coeffs": bent} if bent else {})} for n in way.rgb_names}
            ),
            "scene_gt.json": json.dumps({n: [pose] * count for n in way.rgb_names}),
        }
        write(scene, shots, way)
        return count
    if layout == "tum":
        for name, names, suffix in (("rgb", way.rgb_names, way.suffix),
                                    ("depth", way.depth_names, way.depth_suffix)):  # fmt: skip
            way.camera[f"{name}.txt"] = "\n".join(f"{n} {name}/{n}{suffix}" for n in names)
    write(root, shots, way)
    return 0


@pytest.mark.parametrize("seed", range(200))
def test_the_same_comes_back(tmp_path: Path, shots: Shots, caplog, seed: int) -> None:
    way, layout, rounding = drawn(np.random.default_rng(seed), shots)
    count = put(tmp_path, shots, way, layout)
    frames, notes = read(tmp_path, caplog)
    assert len(frames) == 3, way
    assert len(open_dataset(tmp_path).truth(0)) == count
    edge = 4 if len(way.distortion) else 0
    inner = (slice(edge, 72 - edge), slice(edge, 96 - edge))
    for frame, rgb, depth in zip(frames, shots.rgb, shots.depth_mm, strict=True):
        np.testing.assert_allclose(frame.camera.K_opencv, shots.K, atol=1e-6)
        off = np.abs(frame.rgb[inner].astype(float) - rgb[inner]).mean()
        assert off < (4.0 if len(way.distortion) else 2.5), way
        metres = frame.depth_m[inner].astype(float)
        if not len(way.distortion):
            np.testing.assert_allclose(1000 * metres, depth, atol=rounding, err_msg=str(way))
            continue
        seen = _seen(shots, way)[inner]  # by the nearest pixel twice: a neighbour's depth
        low = cv2.erode(depth.astype(float), np.ones((5, 5)))[inner]
        high = cv2.dilate(depth.astype(float), np.ones((5, 5)))[inner]
        fits = (1000 * metres >= low - rounding) & (1000 * metres <= high + rounding)
        assert (fits | ~seen).mean() > 0.999, way
    assert ("distortion" in notes) == bool(len(way.distortion))


def _seen(shots: Shots, way: Way) -> np.ndarray:
    """Pixels of the pinhole image that the lens saw."""
    x, y = cv2.initUndistortRectifyMap(
        shots.K, np.array(way.distortion), None, shots.K, (96, 72), cv2.CV_32FC1
    )
    return (x >= 1) & (x <= 94) & (y >= 1) & (y <= 70)
