"""What scanning programs write: ScanNet, Record3D, Stray Scanner, Open3D, BOP's many cameras."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world

from self6d.datasets import FrameKey, open_dataset
from self6d.datasets.bop_writer import write_bop
from self6d.errors import InputError

COUNT = 3


def matrix_text(K: np.ndarray, size: int = 4) -> str:
    whole = np.eye(size)
    whole[:3, :3] = K
    return "\n".join(" ".join(f"{v:f}" for v in row) for row in whole)


def same_as_written(dataset, colour_atol: int = 0) -> None:
    assert len(dataset) == COUNT
    for n in range(COUNT):
        frame, expected = dataset.frame(n), world.shot(n)
        np.testing.assert_allclose(frame.camera.K_opencv, world.K, atol=1e-4)
        error = np.abs(frame.rgb.astype(int) - expected.rgb)
        assert error.mean() <= colour_atol
        assert frame.depth_m is not None
        np.testing.assert_allclose(frame.depth_m, expected.depth_mm / 1000, atol=1e-6)


def scannet(root: Path, depth_K: np.ndarray = world.K) -> Path:
    for n in range(COUNT):
        world.save(root / "color" / f"{n}.png", world.shot(n).rgb)
        world.save(root / "depth" / f"{n}.png", world.shot(n).depth_mm)
    (root / "intrinsic").mkdir()
    for name, K in (("intrinsic_color", world.K), ("intrinsic_depth", depth_K)):
        (root / "intrinsic" / f"{name}.txt").write_text(matrix_text(K))
    for name in ("extrinsic_color", "extrinsic_depth"):
        (root / "intrinsic" / f"{name}.txt").write_text(matrix_text(np.eye(3)))
    (root / "pose").mkdir()
    (root / "pose" / "0.txt").write_text(matrix_text(np.eye(3)))
    return root


def test_scannet(tmp_path: Path) -> None:
    dataset = open_dataset(scannet(tmp_path))
    assert dataset.kind == "scannet"
    same_as_written(dataset)


def test_scannet_depth_is_seen_by_its_own_camera(tmp_path: Path, caplog) -> None:
    """A wider lens at the same place: what it saw at its own middle lies at colour's middle."""
    wide = world.K.copy()
    wide[:2, :2] *= 0.8
    frame = open_dataset(scannet(tmp_path, wide)).frame(0)
    assert "registered to colour" in caplog.text
    x, y = np.meshgrid(np.arange(world.WIDTH), np.arange(world.HEIGHT))
    u = (x - world.K[0, 2]) * 0.8 + world.K[0, 2]
    v = (y - world.K[1, 2]) * 0.8 + world.K[1, 2]
    expected = (700 + 3 * u + 2 * v) / 1000
    assert frame.depth_m is not None
    inner = frame.depth_m[8:-8, 8:-8]
    np.testing.assert_allclose(inner, expected[8:-8, 8:-8], atol=0.004)  # a pixel is 3 mm


def test_scannet_without_colours_intrinsics_is_told_so(tmp_path: Path) -> None:
    root = scannet(tmp_path)
    (root / "intrinsic" / "intrinsic_color.txt").write_text("1 0 0")
    with pytest.raises(InputError, match="3 numbers instead of 9"):
        open_dataset(root)


def record3d(root: Path, **table) -> Path:
    for n in range(COUNT):
        world.save(root / "rgb" / f"{n}.png", world.shot(n).rgb)
        (root / "depth").mkdir(exist_ok=True)
        np.save(root / "depth" / f"{n}.npy", (world.shot(n).depth_mm / 1000).astype(np.float32))
    columns = world.K.T.reshape(-1).tolist()
    size = {"w": world.WIDTH, "h": world.HEIGHT, "dw": world.WIDTH, "dh": world.HEIGHT}
    world.dump(root / "metadata.json", {"K": columns, **size, "fps": 30, **table})
    return root


def test_record3d(tmp_path: Path) -> None:
    dataset = open_dataset(record3d(tmp_path))
    assert dataset.kind == "record3d"
    same_as_written(dataset)


def test_record3d_states_a_lens_for_each_frame(tmp_path: Path) -> None:
    K = world.K
    rows = [[K[0, 0] + n, K[1, 1] + n, K[0, 2], K[1, 2]] for n in range(COUNT)]
    dataset = open_dataset(record3d(tmp_path, perFrameIntrinsicCoeffs=rows))
    found = [dataset.frame(n).camera.K_opencv[0, 0] for n in range(COUNT)]
    np.testing.assert_allclose(found, [60.5, 61.5, 62.5])


def test_record3d_depth_of_half_size_lies_under_its_colour(tmp_path: Path, caplog) -> None:
    root = record3d(tmp_path)
    for n in range(COUNT):
        depth = world.shot(n).depth_mm[::2, ::2] / 1000
        np.save(root / "depth" / f"{n}.npy", depth.astype(np.float16))
    frame = open_dataset(root).frame(1)
    assert frame.depth_m is not None
    assert frame.depth_m.shape == frame.rgb.shape[:2]
    np.testing.assert_allclose(frame.depth_m[8:], world.shot(1).depth_mm[8:] / 1000, atol=0.007)
    assert "enlarged" in caplog.text


def test_record3d_packed_depth_names_the_tool(tmp_path: Path) -> None:
    root = record3d(tmp_path)
    (root / "rgb").rename(root / "rgbd")
    with pytest.raises(InputError, match="LZFSE") as error:
        open_dataset(root)
    assert "pyliblzfse" in str(error.value.remedy)


def film(path: Path, numbers=range(COUNT)) -> Path:
    path.parent.mkdir(exist_ok=True)
    size = (world.WIDTH, world.HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, size)
    for n in numbers:
        writer.write(cv2.cvtColor(world.shot(n).rgb, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def stray(root: Path, numbers=range(COUNT)) -> Path:
    film(root / "rgb.mp4", numbers)
    for n in numbers:
        world.save(root / "depth" / f"{n:06d}.png", world.shot(n).depth_mm)
    rows = "\n".join(",".join(f"{v:f}" for v in row) for row in world.K)
    (root / "camera_matrix.csv").write_text(rows + "\n")
    (root / "odometry.csv").write_text("timestamp, frame, x, y, z, qx, qy, qz, qw\n")
    return root


def test_stray_scanner(tmp_path: Path) -> None:
    dataset = open_dataset(stray(tmp_path))
    assert dataset.kind == "stray"
    same_as_written(dataset, colour_atol=6)  # a film loses a little


def test_pictures_of_a_film_in_any_order(tmp_path: Path) -> None:
    dataset = open_dataset(stray(tmp_path, range(30)))
    assert len(dataset) == 30
    for n in (29, 3, 4, 17, 0, 16):
        error = np.abs(dataset.frame(n).rgb.astype(int) - world.shot(n).rgb).mean()
        others = np.abs(dataset.frame(n).rgb.astype(int) - world.shot(n + 1).rgb).mean()
        assert error < 8 < others


def test_a_film_is_a_recording_of_colour_alone(tmp_path: Path, caplog) -> None:
    """It was sent to ffmpeg."""
    path = film(tmp_path / "take" / "take.mp4", range(12))
    with pytest.raises(InputError, match="has no intrinsics file") as error:
        open_dataset(path)
    assert "--camera FILE" in error.value.remedy
    table = {"fx": world.K[0, 0], "fy": world.K[1, 1], "cx": world.K[0, 2], "cy": world.K[1, 2]}
    (path.parent / "camera.json").write_text(json.dumps(table))
    for named in (path, path.parent):
        dataset = open_dataset(named)
        assert (dataset.kind, len(dataset)) == ("film", 12)
        frame = dataset.frame(7)
        assert frame.depth_m is None
        np.testing.assert_allclose(frame.camera.K_opencv, world.K, atol=1e-6)
        assert np.abs(frame.rgb.astype(int) - world.shot(7).rgb).mean() < 8
    assert not caplog.text
    film(path.parent / "b.avi")
    with pytest.raises(InputError, match="holds 2 films"):
        open_dataset(path.parent)


def test_a_film_that_was_cut_off_gives_what_there_is(tmp_path: Path, caplog) -> None:
    path = film(tmp_path / "take.avi", range(12))
    (tmp_path / "camera.json").write_text(json.dumps({"fx": 60, "fy": 60, "cx": 32, "cy": 24}))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    dataset = open_dataset(path)
    assert len(dataset) == 6  # the last of them is the one that was cut: FFmpeg fills it up
    assert "states 12 pictures; 6 of it can be read" in caplog.text
    for n in range(5):
        assert np.abs(dataset.frame(n).rgb.astype(int) - world.shot(n).rgb).mean() < 8


def test_stray_scanners_low_confidence_is_unknown(tmp_path: Path, caplog) -> None:
    root = stray(tmp_path)
    trust = np.full((world.HEIGHT, world.WIDTH), 2, np.uint8)
    trust[:, :10] = 0
    world.save(root / "confidence" / "000000.png", trust)
    depth = open_dataset(root).frame(0).depth_m
    assert depth is not None
    assert not depth[:, :10].any()
    assert depth[10:, 10:].all()
    assert "low confidence" in caplog.text


def test_open3d_capture(tmp_path: Path) -> None:
    """The folder of Open3D's recorders: intrinsic.json with columns first and the depth scale."""
    for n in range(COUNT):
        world.save(tmp_path / "color" / f"{n:05d}.png", world.shot(n).rgb)
        world.save(tmp_path / "depth" / f"{n:05d}.png", world.shot(n).depth_mm)
    table = {
        "width": world.WIDTH, "height": world.HEIGHT, "depth_scale": 1000.0, "fps": 30,
        "intrinsic_matrix": world.K.T.reshape(-1).tolist(), "device_name": "RealSense",
    }  # fmt: skip
    (tmp_path / "intrinsic.json").write_text(json.dumps(table))
    same_as_written(open_dataset(tmp_path))


def many_cameras(root: Path) -> Path:
    """Two cameras in every scene, numbered alike; the second's images are the first's plus 10."""
    for name, first, fx in (("cam1", 0, 60.5), ("cam2", 10, 70.5)):
        scene = root / "test" / "000002"
        camera, truth = {}, {}
        for n in range(COUNT):
            s = world.shot(n + first)
            world.save(scene / f"rgb_{name}" / f"{n:06d}.png", s.rgb)
            world.save(scene / f"depth_{name}" / f"{n:06d}.png", s.depth_mm)
            mask = s.mask.astype(np.uint8) * 255
            world.save(scene / f"mask_visib_{name}" / f"{n:06d}_000000.png", mask)
            K = world.K.copy()
            K[0, 0] = fx
            camera[str(n)] = {"cam_K": K.reshape(-1).tolist(), "depth_scale": 1.0}
            truth[str(n)] = [world.label(s)]
        world.dump(scene / f"scene_camera_{name}.json", camera)
        world.dump(scene / f"scene_gt_{name}.json", truth)
    return root


@pytest.mark.parametrize("inside", ["", "test", "test/000002"])
def test_bop_cameras_are_splits(tmp_path: Path, inside: str) -> None:
    dataset = open_dataset(many_cameras(tmp_path) / inside)
    assert dataset.kind == "bop"
    assert "cam2" in dataset.split_names()
    assert "camera 'cam1'" in dataset.reason
    same_as_written(dataset)
    other = dataset.split("cam2")
    assert other.keys == tuple(FrameKey(2, n) for n in range(COUNT))
    frame, (truth,) = other.frame(1), other.truth(1)
    np.testing.assert_array_equal(frame.rgb, world.shot(11).rgb)
    assert frame.camera.K_opencv[0, 0] == pytest.approx(70.5)
    np.testing.assert_allclose(truth.pose.t_m2c, world.shot(11).t_mm / 1000)
    np.testing.assert_array_equal(truth.mask_visible, world.shot(11).mask)


def test_a_copy_of_one_camera_is_a_plain_bop_set(tmp_path: Path) -> None:
    dataset = open_dataset(many_cameras(tmp_path / "set")).split("cam2")
    copy = open_dataset(write_bop(dataset, tmp_path / "copy"))
    np.testing.assert_array_equal(copy.frame(2).rgb, world.shot(12).rgb)
    (truth,) = copy.truth(2)
    np.testing.assert_array_equal(truth.mask_visible, world.shot(12).mask)
    assert copy.frame(2).camera.K_opencv[0, 0] == pytest.approx(70.5)


@pytest.mark.parametrize(
    ("name", "tool"), [("take.mkv", "azure_kinect_mkv_reader"), ("scene.sens", "SensReader"),
                       ("take.r3d", "Record3D")],
)  # fmt: skip
def test_what_another_program_unpacks(tmp_path: Path, name: str, tool: str) -> None:
    (tmp_path / name).write_bytes(b"data")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(InputError) as error:
            open_dataset(path)
        assert tool in str(error.value.remedy)
        assert "\n" not in error.value.one_line()
