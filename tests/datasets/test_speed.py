"""Listing large recordings and opening frames at random, measured in processor time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import bags
import cv2
import numpy as np
import psutil
import pytest
import recordings as world

from self6d.datasets import open_dataset

FRAMES = 20_000  # the figures are for 100 000; a fifth of them keeps the suite short
LIST_S = 2.0 * FRAMES / 100_000
SLACK = 2.0  # processor time on a machine busy with other things


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names of many frames, all links to one image."""
    root = tmp_path_factory.mktemp("many")
    scene = root / "bop" / "test" / "000001"
    s = world.shot(0)
    world.save(root / "rgb.png", s.rgb)
    world.save(root / "depth.png", s.depth_mm)
    for kind in ("rgb", "depth"):
        (scene / kind).mkdir(parents=True)
        for n in range(FRAMES):
            os.link(root / f"{kind}.png", scene / kind / f"{n:06d}.png")
    entry = {"cam_K": world.K.reshape(-1).tolist(), "depth_scale": 1.0}
    world.dump(scene / "scene_camera.json", {str(n): entry for n in range(FRAMES)})
    plain = root / "plain"
    plain.mkdir()
    for kind in ("rgb", "depth"):
        (plain / kind).symlink_to(scene / kind)
    camera = {"fx": 60.0, "fy": 60.0, "cx": 30, "cy": 20, "depth_scale": 1.0}
    world.dump(plain / "camera.json", camera)
    return root


def memory() -> int:
    """Bytes in use now; the peak would be that of whatever ran before in this process."""
    return psutil.Process().memory_info().rss


def seconds(act) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        act()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("layout", ["bop", "plain"])
def test_listing(listing: Path, layout: str) -> None:
    assert len(open_dataset(listing / layout)) == FRAMES
    assert seconds(lambda: open_dataset(listing / layout)) <= SLACK * LIST_S


def test_cameras_of_their_own_are_listed_too(tmp_path: Path) -> None:
    """The quick way through a table of equal cameras must not lose one that differs."""
    root = world.bop(tmp_path, range(4))
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    table["2"]["cam_K"][0] = 77.0
    table["3"]["view"] = {"nested": 1}  # no longer regular: read as a whole
    for content in (json.dumps({k: v for k, v in table.items() if k != "3"}), json.dumps(table)):
        path.write_text(content)
        dataset = open_dataset(root)
        focal = [dataset.source(k).intrinsics.K[0, 0] for k in dataset.keys]
        assert focal[:3] == [60.5, 60.5, 77.0]


def test_memory_does_not_grow_with_frames_read(listing: Path) -> None:
    dataset = open_dataset(listing / "bop")
    rng = np.random.default_rng(0)
    for i in rng.integers(0, FRAMES, 200):
        dataset.frame(int(i))
    before = memory()
    for i in rng.integers(0, FRAMES, 1000):
        dataset.frame(int(i))
    assert memory() - before < 20e6


def test_random_access(tmp_path: Path) -> None:
    """640x480 colour and depth, as cameras write them: JPEG beside 16-bit PNG."""
    root = world.folder(tmp_path, range(0))
    rng = np.random.default_rng(0)
    for n in range(6):
        s = world.shot(n, 480, 640)
        rgb = np.clip(s.rgb + rng.normal(0, 4, s.rgb.shape), 0, 255).astype(np.uint8)
        world.save(root / "rgb" / f"{n:04d}.jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 95)
        depth = (s.depth_mm + rng.integers(0, 4, s.depth_mm.shape)).astype(np.uint16)
        world.save(root / "depth" / f"{n:04d}.png", depth)
    world.dump(root / "camera.json", {"fx": 600.0, "fy": 600.0, "cx": 320, "cy": 240,
                                      "depth_scale": 1.0})  # fmt: skip
    dataset = open_dataset(root)
    dataset.frame(0)
    assert seconds(lambda: [dataset.frame(i) for i in (3, 0, 5, 1)]) / 4 <= SLACK * 0.015


@pytest.mark.parametrize("form", bags.FORMS)
def test_random_access_in_a_bag(tmp_path: Path, form: str) -> None:
    """640x480 without compression, as cameras stream it; RealSense's depth is registered too."""
    shots = [world.shot(n, 480, 640) for n in range(3)]
    K = world.K * [[10], [10], [1]]
    rgb, depth = [s.rgb for s in shots] * 7, [s.depth_mm for s in shots] * 7
    dataset = open_dataset(bags.write(tmp_path / "take", form, rgb, depth, K))
    dataset.frame(0)
    order = (20, 3, 11, 0, 15, 7)
    assert seconds(lambda: [dataset.frame(i) for i in order]) / len(order) <= SLACK * 0.030


@pytest.mark.parametrize("form", ["ros1", "db3", "mcap"])
def test_a_long_bag_is_opened_anywhere_in_flat_memory(tmp_path: Path, form: str) -> None:
    count = 3000  # the figures are for 10 000
    shots = [world.shot(n, 24, 32) for n in range(5)]
    K = world.K * [[0.5], [0.5], [1]]
    rgb, depth = [s.rgb for s in shots] * 600, [s.depth_mm for s in shots] * 600
    path = bags.write(tmp_path / "take", form, rgb, depth, K)
    dataset = open_dataset(path)
    assert len(dataset) == count
    rng = np.random.default_rng(0)
    places = [int(i) for i in rng.integers(0, count, 600)]
    for i in places[:200]:
        np.testing.assert_array_equal(dataset.frame(i).rgb, shots[i % 5].rgb)
    before = memory()
    each = seconds(lambda: [dataset.frame(i) for i in places[200:]]) / 400
    assert each <= SLACK * 0.030
    assert memory() - before < 20e6
