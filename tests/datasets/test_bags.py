"""Bags of ROS 1, ROS 2 and RealSense, written with rosbags, give the frames that went in."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import bags
import numpy as np
import pytest
import recordings as world
from bags import Way
from hostile import read_all, survives

from self6d.datasets import open_dataset
from self6d.datasets.registry import is_recording
from self6d.doctor import doctor
from self6d.errors import InputError

COUNT = 4
SIZE = (world.HEIGHT, world.WIDTH)


def write(folder: Path, form: str, way: Way | None = None, count: int = COUNT) -> Path:
    shots = [world.shot(n) for n in range(count)]
    rgb, depth = [s.rgb for s in shots], [s.depth_mm for s in shots]
    return bags.write(folder / "take", form, rgb, depth, world.K, way)


def same(dataset, *, colour: bool = True, atol_m: float = 1e-6) -> None:
    assert len(dataset) == COUNT
    for n in range(COUNT):
        frame, expected = dataset.frame(n), world.shot(n)
        if colour:
            np.testing.assert_array_equal(frame.rgb, expected.rgb)
        np.testing.assert_allclose(frame.camera.K_opencv, world.K, atol=1e-9)
        assert frame.depth_m is not None
        assert frame.depth_m.dtype == np.float32
        np.testing.assert_allclose(frame.depth_m, expected.depth_mm / 1000, atol=atol_m)


@pytest.mark.parametrize("form", bags.FORMS)
def test_frames_come_back(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form)
    dataset = open_dataset(path)
    assert dataset.kind == "bag"
    assert is_recording(path)
    assert dataset.topics.colour in dataset.reason
    assert dataset.topics.depth in dataset.reason
    same(dataset)
    same(pickle.loads(pickle.dumps(dataset)))
    assert dataset.subset([2]).frame(0).image_id == 2
    assert copy.copy(dataset).raw_depth(dataset.keys[1]).shape == SIZE


@pytest.mark.parametrize("form", ["db3", "mcap"])
def test_the_file_inside_rosbag2s_folder_and_the_folder_above(tmp_path: Path, form: str) -> None:
    folder = write(tmp_path, form)
    (file,) = folder.glob(f"*.{form}")
    same(open_dataset(file))
    file.rename(tmp_path / file.name)
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / file.name).rename(alone / file.name)
    same(open_dataset(alone))


def test_compressed_chunks(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Writer
    from rosbags.rosbag2 import CompressionFormat, CompressionMode

    zstd = {"format": CompressionFormat.ZSTD}
    ways = {
        "ros1": {"compression": Writer.CompressionFormat.LZ4},
        "db3": {"compression": CompressionMode.MESSAGE, **zstd},
        "mcap": {"compression": CompressionMode.STORAGE, **zstd},
    }
    for form, options in ways.items():
        (tmp_path / form).mkdir()
        same(open_dataset(write(tmp_path / form, form, Way(options=options))))
    options = {"compression": CompressionMode.FILE, **zstd}
    whole = write(tmp_path, "db3", Way(options=options))
    with pytest.raises(InputError, match="compressed as a whole"):
        open_dataset(whole)


COLOURS = {
    "bgr8": lambda b, rgb, t, f: b.image(rgb[..., ::-1], "bgr8", t, f),
    "padded": lambda b, rgb, t, f: b.image(rgb, "rgb8", t, f, pad=5),
    "rgba8": lambda b, rgb, t, f: b.image(np.dstack([rgb, rgb[..., :1]]), "rgba8", t, f),
    "rgb16": lambda b, rgb, t, f: b.image(rgb.astype(np.uint16) << 8, "rgb16", t, f),
    "compressed": bags.jpeg,
}


@pytest.mark.parametrize("name", COLOURS)
def test_encodings_of_colour(tmp_path: Path, name: str) -> None:
    names = ("/camera/color/image_raw/compressed", bags.DEPTH) if name == "compressed" else None
    way = Way(colour=COLOURS[name], names=names or Way().names)
    same(open_dataset(write(tmp_path, "mcap", way)))


def test_grey_images_are_noted(tmp_path: Path, caplog) -> None:
    way = Way(colour=lambda b, rgb, t, f: b.image(rgb[..., 1], "mono8", t, f))
    frame = open_dataset(write(tmp_path, "ros1", way)).frame(1)
    np.testing.assert_array_equal(frame.rgb, world.shot(1).rgb[..., 1:2].repeat(3, 2))
    assert "grey" in caplog.text


def test_yuyv_and_bayer(tmp_path: Path) -> None:
    """One colour all over: what each encoding says of it is known."""
    red = np.zeros((*SIZE, 2), np.uint8)
    red[..., 0] = 82  # luma of pure red, studio range
    red[:, ::2, 1], red[:, 1::2, 1] = 90, 240
    bayer = np.zeros(SIZE, np.uint8)
    bayer[::2, ::2] = 200  # RGGB: red alone
    for name, pixels, expected in (
        ("yuv422_yuy2", red, (255, 0, 0)), ("bayer_rggb8", bayer, (200, 0, 0)),
    ):  # fmt: skip
        way = Way(colour=lambda b, rgb, t, f, p=pixels, n=name: b.image(p, n, t, f))
        (tmp_path / name).mkdir()
        rgb = open_dataset(write(tmp_path / name, "ros1", way)).frame(0).rgb
        assert np.abs(rgb[10:-10, 10:-10].astype(int) - expected).max() <= 3


DEPTHS = {
    "32FC1": (lambda b, mm, t, f: b.image((mm / 1000).astype(np.float32), "32FC1", t, f), 1e-6),
    "holes": (
        lambda b, mm, t, f: b.image(
            np.where(mm > 0, mm / 1000, np.nan).astype(np.float32), "32FC1", t, f),
        1e-6,
    ),
    "mono16": (lambda b, mm, t, f: b.image(mm, "mono16", t, f), 1e-6),
    "padded": (lambda b, mm, t, f: b.image(mm, "16UC1", t, f, pad=6), 1e-6),
    "compressedDepth": (bags.compressed_depth, 1e-6),
    "compressedDepth rvl": (bags.rvl_depth, 1e-6),
    "inverse": (bags.inverse_depth, 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_encodings_of_depth(tmp_path: Path, name: str, form: str) -> None:
    depth, atol = DEPTHS[name]
    topic = f"{bags.DEPTH}/compressedDepth" if "omp" in name or name == "inverse" else bags.DEPTH
    way = Way(depth=depth, names=(bags.COLOUR, topic))
    same(open_dataset(write(tmp_path, form, way)), atol_m=atol)


def test_stamps_pair_where_recording_was_late(tmp_path: Path) -> None:
    """Depth of each image was written after the next image came."""
    dataset = open_dataset(write(tmp_path, "db3", Way(log_late_ns=40_000_000)))
    same(dataset)


def test_depth_of_another_clock_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "mcap", Way(late_ns=10**12))
    with pytest.raises(InputError, match="within 20 ms") as error:
        open_dataset(path)
    assert "topics.json" in str(error.value.remedy)


@pytest.mark.parametrize("form", ["ros1", "mcap", "realsense"])
def test_depths_own_camera_is_registered_by_the_bags_extrinsics(tmp_path: Path, form: str) -> None:
    """A wall 1 m off, seen by a depth camera 50 mm to the left with a wider lens."""
    own = world.K.copy()
    own[:2, :2] *= 0.5
    wall = [np.full(SIZE, 1000, np.uint16) for _ in range(2)]
    for n, depth in enumerate(wall):
        depth[:, 32 + n :] = 800  # an edge at its column 31.5 + n
    way = Way(
        names=(bags.COLOUR, "/camera/depth/image_rect_raw"),
        infos=("/camera/color/camera_info", "/camera/depth/camera_info"),
        depth_K=own,
        depth_to_colour=(np.eye(3), (0.05, 0.0, 0.0)),
    )
    rgb = [world.shot(n).rgb for n in range(2)]
    dataset = open_dataset(bags.write(tmp_path / "take", form, rgb, wall, world.K, way))
    for n in range(2):
        row = dataset.frame(n).depth_m[24]
        # the near part's first column, and where it is in colour
        x = (32 + n - 0.5 - own[0, 2]) / own[0, 0] * 0.8 + 0.05
        edge = world.K[0, 0] * x / 0.8 + world.K[0, 2]
        near = np.flatnonzero(np.abs(row - 0.8) < 1e-3)
        assert abs(near[0] - edge) <= 1
        assert np.abs(row[: near[0] - 6] - 1.0).max() < 1e-3


def test_depth_of_another_view_without_extrinsics_is_refused(tmp_path: Path) -> None:
    own = world.K.copy()
    own[:2, :2] *= 0.5
    way = Way(
        names=(bags.COLOUR, "/camera/depth/image_rect_raw"),
        infos=("/camera/color/camera_info", "/camera/depth/camera_info"), depth_K=own,
    )  # fmt: skip
    path = write(tmp_path, "ros1", way)
    with pytest.raises(InputError, match="camera of its own"):
        open_dataset(path)
    (tmp_path / "take.bag.topics.json").write_text('{"depth": null}')
    frame = open_dataset(path).frame(0)
    assert frame.depth_m is None
    np.testing.assert_array_equal(frame.rgb, world.shot(0).rgb)


def test_distortion_of_camera_info_is_undone(tmp_path: Path, caplog) -> None:
    path = write(tmp_path, "db3", Way(distortion=(-0.3, 0.1, 0.0, 0.0, 0.0)))
    dataset = open_dataset(path)
    assert dataset.source(dataset.keys[0]).intrinsics.distortion is not None
    frame = dataset.frame(0)
    assert not np.array_equal(frame.rgb, world.shot(0).rgb)
    assert "distortion" in caplog.text


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (Way(), False),  # five zeros
        (Way(distortion=()), True),
        (Way(names=("/camera/color/image_rect_color", bags.DEPTH), distortion=()), False),
        (Way(distortion=(-0.3, 0.1, 0.0, 0.0, 0.0)), False),
    ],
)
def test_zeros_state_that_the_lens_bends_nothing(way, said, tmp_path: Path) -> None:
    """They were "no coefficients are stated", and the lens left open."""
    left_open = doctor.examine(write(tmp_path, "mcap", way), quick=True).unchecked
    assert any("lens" in text for text in left_open) is said


def test_rectified_images_have_the_projections_K(tmp_path: Path) -> None:
    way = Way(names=("/camera/color/image_rect_color", bags.DEPTH), distortion=(-0.3, 0.1, 0, 0, 0))
    same(open_dataset(write(tmp_path, "mcap", way)))


def two_cameras(path: Path) -> Path:
    """Camera a has shots 0 to 3, camera b 10 to 13; an infrared topic beside."""
    with bags.Bag(path, "mcap") as bag:
        for n in range(COUNT):
            time = bags.START_NS + n * bags.STEP_NS
            for name, first in (("a", 0), ("b", 10)):
                s = world.shot(n + first)
                bag.put(f"/{name}/color/camera_info", time, bag.info(world.K, SIZE, time, name))
                image = bag.image(s.rgb, "rgb8", time, name)
                bag.put(f"/{name}/color/image_raw", time, image)
                depth = bag.image(s.depth_mm, "16UC1", time, name)
                bag.put(f"/{name}/aligned_depth_to_color/image_raw", time, depth)
            infrared = bag.image(s.rgb[..., 0], "mono8", time, "ir")
            bag.put("/a/infra1/image_rect_raw", time, infrared)
    return path


def test_other_colour_topics_are_splits(tmp_path: Path, caplog) -> None:
    dataset = open_dataset(two_cameras(tmp_path / "take"))
    assert dataset.split_names() == ("/b/color/image_raw",)
    assert dataset.splits_of_these_frames() == ()
    assert "/b/color/image_raw" in caplog.text  # the choice is told
    same(dataset)
    frame = dataset.split("/b/color/image_raw").frame(1)
    np.testing.assert_array_equal(frame.rgb, world.shot(11).rgb)
    np.testing.assert_allclose(frame.depth_m, world.shot(11).depth_mm / 1000, atol=1e-6)


def test_topics_named_by_the_user(tmp_path: Path) -> None:
    path = two_cameras(tmp_path / "take")
    file = tmp_path / "take.topics.json"
    file.write_text(json.dumps({"color": "/b/color/image_raw"}))
    np.testing.assert_array_equal(open_dataset(path).frame(2).rgb, world.shot(12).rgb)
    file.write_text(json.dumps({"colour": "/c/color"}))
    with pytest.raises(InputError, match="no topic '/c/color'") as error:
        open_dataset(path)
    assert "/b/color/image_raw (Image)" in str(error.value.remedy)
    file.write_text(json.dumps({"rgb": "/b/color/image_raw"}))
    with pytest.raises(InputError, match="no choice"):
        open_dataset(path)


def test_a_K_that_changes_is_each_images_own(tmp_path: Path) -> None:
    with bags.Bag(tmp_path / "take.bag", "ros1") as bag:
        for n in range(COUNT):
            time = bags.START_NS + n * bags.STEP_NS
            K = world.K.copy()
            K[0, 0] += n
            bag.put("/camera/color/camera_info", time, bag.info(K, SIZE, time, "c"))
            bag.put(bags.COLOUR, time, bag.image(world.shot(n).rgb, "rgb8", time, "c"))
    dataset = open_dataset(tmp_path / "take.bag")
    found = [dataset.frame(n).camera.K_opencv[0, 0] for n in range(COUNT)]
    np.testing.assert_allclose(found, [60.5, 61.5, 62.5, 63.5])


def test_a_bag_without_camera_info(tmp_path: Path, caplog) -> None:
    with bags.Bag(tmp_path / "take.bag", "ros1") as bag:
        bag.put(bags.COLOUR, 1, bag.image(world.shot(0).rgb, "rgb8", 1, "c"))
    with pytest.raises(InputError, match="no camera_info"):
        open_dataset(tmp_path / "take.bag")
    camera = {"fx": 60.5, "fy": 61.5, "cx": 31.25, "cy": 23.75}
    world.dump(tmp_path / "camera.json", camera)
    frame = open_dataset(tmp_path / "take.bag").frame(0)
    np.testing.assert_allclose(frame.camera.K_opencv, world.K)
    assert "camera.json beside it is used" in caplog.text


@pytest.mark.parametrize("form", bags.FORMS)
def test_damaged_bags_are_told_in_a_line(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form)
    file = path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")
    data = file.read_bytes()
    for harmed in (b"", b"data", data[: len(data) // 2], data[:64] + bytes(len(data) - 64)):
        file.write_bytes(harmed)
        error = survives(tmp_path, lambda: read_all(path))
        if error is not None:
            assert str(tmp_path) in error.one_line()


def test_what_a_bag_holds_is_told_where_no_colour_is(tmp_path: Path) -> None:
    with bags.Bag(tmp_path / "take.bag", "ros1") as bag:
        bag.put("/speed", 1, bag.make("std_msgs/msg/Float32", data=1.0))
    with pytest.raises(InputError, match="no colour") as error:
        open_dataset(tmp_path / "take.bag")
    assert "/speed (Float32)" in str(error.value.remedy)


def test_several_bags_in_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "ros1").rename(tmp_path / f"{name}.bag")
    with pytest.raises(InputError, match="2 bags") as error:
        open_dataset(tmp_path)
    assert "one.bag" in str(error.value.remedy)
