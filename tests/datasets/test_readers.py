"""Every layout, written as its set is, gives the frames, cameras and labels that went in."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import recordings as world

from self6d.datasets import FrameKey, UnlabelledFrames, load_models, open_dataset
from self6d.datasets.readers.linemod import K_LINEMOD
from self6d.datasets.readers.single import read_poses
from self6d.errors import InputError
from self6d.geometry import Camera

# writer, kind, key of the first frame, its shot, object number, has labels
LAYOUTS = {
    "bop": (world.bop, "bop", FrameKey(1, 0), 0, 1, True),
    "folder": (world.folder, "folder", FrameKey(0, 0), 0, None, False),
    "tum": (world.tum, "tum", FrameKey(0, 0), 0, None, False),
    "linemod_preprocessed": (
        world.linemod_preprocessed, "linemod_preprocessed", FrameKey(1, 0), 0, 1, True,
    ),
    "ycb_video": (world.ycb_video, "ycb_video", FrameKey(48, 1), 1, 5, True),
    "single": (world.single, "single", FrameKey(0, 0), 0, 1, True),
    "happypose": (world.happypose, "single", FrameKey(0, 0), 0, None, False),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_frames_come_back_as_written(tmp_path: Path, name: str) -> None:
    write, kind, key, number, object_id, labelled = LAYOUTS[name]
    dataset = open_dataset(write(tmp_path / "data"))
    assert dataset.kind == kind
    assert dataset.reason
    assert dataset.keys[0] == key
    expected = world.shot(number)
    frame = dataset.frame(0)
    np.testing.assert_array_equal(frame.rgb, expected.rgb)
    assert frame.rgb.dtype == np.uint8
    assert frame.depth_m is not None
    assert frame.depth_m.dtype == np.float32
    np.testing.assert_allclose(frame.depth_m, expected.depth_mm / 1000, atol=1e-6)
    assert frame.camera == Camera.from_opencv(world.K, world.WIDTH, world.HEIGHT)
    assert (frame.scene_id, frame.image_id) == (key.scene_id, key.image_id)
    truth = dataset.truth(0)
    assert bool(truth) == labelled
    for instance in truth:
        assert instance.object_id == object_id
        np.testing.assert_allclose(instance.pose.R_m2c, expected.R, atol=1e-7)
        np.testing.assert_allclose(instance.pose.t_m2c, expected.t_mm / 1000, atol=1e-9)
        if instance.mask_visible is not None:
            np.testing.assert_array_equal(instance.mask_visible, expected.mask)
        if instance.box_visible is not None:
            np.testing.assert_allclose(instance.box_visible, [21, 11, 40, 30])


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("depth", [False, True])
def test_a_folder_without_depth_is_not_called_rgb_d(tmp_path: Path, depth: bool, flat: bool):
    root = world.folder(tmp_path / "data", depth=depth)
    if flat:
        for path in list(root.glob("*/*.png")):
            path.rename(root / f"{path.parent.name}_{path.name}")
        for folder in [p for p in root.iterdir() if p.is_dir()]:
            folder.rmdir()
    dataset = open_dataset(root)
    assert (dataset.frame(0).depth_m is not None) == depth
    assert ("RGB-D" in dataset.reason) == depth
    assert ("without depth" in dataset.reason) != depth


def test_linemod_original(tmp_path: Path) -> None:
    dataset = open_dataset(world.linemod(tmp_path))
    assert dataset.kind == "linemod"
    assert dataset.keys[0] == FrameKey(8, 0)  # the driller's number
    expected = world.shot(0, 480, 640)
    frame = dataset.frame(0)
    assert np.abs(frame.rgb.astype(int) - expected.rgb).mean() < 2  # JPEG
    np.testing.assert_allclose(frame.depth_m, expected.depth_mm / 1000, atol=1e-6)
    np.testing.assert_allclose(frame.camera.K_opencv, K_LINEMOD)
    (instance,) = dataset.truth(0)
    assert instance.object_id == 8
    np.testing.assert_allclose(instance.pose.t_m2c, expected.t_mm / 1000, atol=1e-9)
    (model,) = load_models(dataset.models_path)
    assert (model.object_id, model.name) == (8, "driller")
    assert model.diameter == pytest.approx(0.1 * 3**0.5)
    for inner in ("driller", "driller/data"):
        assert open_dataset(tmp_path / inner).keys == dataset.keys


@pytest.mark.parametrize(
    ("write", "paths"),
    [
        (world.bop, ("test", "test/000001")),
        (world.ycb_video, ("data", "data/0048")),
        (world.linemod_preprocessed, ("data", "data/01")),
    ],
)
def test_inner_folders_open_too(tmp_path: Path, write, paths) -> None:
    whole = open_dataset(write(tmp_path))
    for path in paths:
        part = open_dataset(tmp_path / path)
        assert part.keys == whole.keys
        np.testing.assert_array_equal(part.frame(1).rgb, whole.frame(1).rgb)


def test_an_image_opens_as_itself(tmp_path: Path) -> None:
    world.single(tmp_path)
    dataset = open_dataset(tmp_path / "rgb.png")
    assert (dataset.kind, len(dataset)) == ("single", 1)
    assert dataset.frame(0).depth_m is not None


@pytest.mark.parametrize("name", [n for n, row in LAYOUTS.items() if row[1] != "single"])
def test_an_image_of_a_recording_has_its_camera_and_depth(tmp_path: Path, name, caplog) -> None:
    """A camera file was asked for, which the folder above has."""
    whole = open_dataset(LAYOUTS[name][0](tmp_path / "data"))
    index = len(whole) - 2
    image = whole.source(whole.keys[index]).rgb
    one, frame = open_dataset(image), whole.frame(index)
    assert one.keys == (whole.keys[index],)
    assert one.split_names() == () or name == "bop"  # whose folders are splits
    np.testing.assert_array_equal(one.frame(0).rgb, frame.rgb)
    np.testing.assert_array_equal(one.frame(0).depth_m, frame.depth_m)
    np.testing.assert_array_equal(one.frame(0).camera.K, frame.camera.K)
    assert f"is frame {whole.keys[index].image_id} of the {whole.kind} recording" in caplog.text


def test_an_image_of_nothing(tmp_path: Path) -> None:
    world.folder(tmp_path)
    (tmp_path / "camera.json").unlink()
    with pytest.raises(InputError, match="intrinsics"):
        open_dataset(tmp_path / "rgb" / "0002.png")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Three images in one folder, the second without depth, and the labels of all."""
    for n in range(3):
        s = world.shot(n)
        world.save(tmp_path / f"{n:04d}-rgb.png", s.rgb)
        if n != 1:
            world.save(tmp_path / f"{n:04d}-depth.png", s.depth_mm)
    world.dump(tmp_path / "scene_gt.json", {str(n): [world.label(world.shot(n))] for n in range(3)})
    np.savetxt(tmp_path / "K.txt", world.K)
    return tmp_path


def test_an_image_of_a_flat_folder_has_its_own_depth_and_labels(flat: Path, caplog) -> None:
    """Depth was dropped where one of the others had none, and it had the labels of all."""
    dataset = open_dataset(flat / "0002-rgb.png")
    np.testing.assert_allclose(dataset.frame(0).depth_m * 1000, world.shot(2).depth_mm, atol=1e-3)
    (truth,) = dataset.truth(0)
    np.testing.assert_allclose(truth.pose.t_m2c * 1000, world.shot(2).t_mm)
    bare = open_dataset(flat / "0001-rgb.png")
    assert bare.frame(0).depth_m is None
    assert "of the 2 depth images here none is its own" in caplog.text
    assert len(bare.truth(0)) == 1


def test_a_single_image_with_two_depth_images_takes_one_and_says_which(tmp_path, caplog) -> None:
    world.single(tmp_path)
    shutil.copyfile(tmp_path / "depth.png", tmp_path / "aligned_depth.png")
    source = open_dataset(tmp_path).source(FrameKey(0, 0))
    assert source.depth == tmp_path / "aligned_depth.png"
    assert "is used as depth, not depth.png" in caplog.text


def test_decimals_of_a_single_image_are_metres_whatever_scale_is_stated(tmp_path: Path) -> None:
    """They came out a thousand times too near; those of a folder did not."""
    many, one = world.folder(tmp_path / "many", range(1), depth=False), tmp_path / "one"
    (many / "depth").mkdir()
    one.mkdir()
    shutil.copyfile(many / "rgb" / "0000.png", one / "rgb.png")
    shutil.copyfile(many / "camera.json", one / "camera.json")  # depth_scale 1.0
    metres = (world.shot(0).depth_mm / 1000).astype(np.float32)
    for file in (many / "depth" / "0000.npy", one / "depth.npy"):
        np.save(file, metres)
    for folder in (many, one):
        np.testing.assert_array_equal(open_dataset(folder).frame(0).depth_m, metres)


def test_happypose_boxes(tmp_path: Path) -> None:
    dataset = open_dataset(world.happypose(tmp_path))
    ((number, box),) = dataset.boxes()
    assert number == 2
    np.testing.assert_allclose(box, [21, 11, 40, 30])
    assert load_models(dataset.models_path)[0].object_id == 2


def test_a_layout_can_be_asked_for(tmp_path: Path) -> None:
    world.single(tmp_path)
    assert open_dataset(tmp_path, kind="folder").kind == "folder"
    with pytest.raises(InputError, match="unknown"):
        open_dataset(tmp_path, kind="nothing")


def test_splits_by_name(tmp_path: Path) -> None:
    dataset = open_dataset(world.linemod_preprocessed(tmp_path))
    assert dataset.split_names() == ("test", "train")
    assert [k.image_id for k in dataset.split("train").keys] == [0, 2]
    with pytest.raises(InputError, match="Splits here: test, train"):
        dataset.split("nothing")
    ycb = open_dataset(world.ycb_video(tmp_path / "ycb"))
    assert [k.image_id for k in ycb.split("keyframe").keys] == [1, 3]


def test_subset_keeps_addresses(tmp_path: Path) -> None:
    dataset = open_dataset(world.bop(tmp_path))
    part = dataset.subset([2, 0])
    assert [k.image_id for k in part.keys] == [2, 0]
    np.testing.assert_array_equal(part.frame(0).rgb, world.shot(2).rgb)
    assert len(dataset) == 4
    assert part.index(2) == 0
    with pytest.raises(InputError, match="no frame 3"):
        part.index(3)


def test_unlabelled_frames_have_no_way_to_a_label(tmp_path: Path) -> None:
    frames = UnlabelledFrames(open_dataset(world.bop(tmp_path)))
    assert len(list(frames)) == 4
    assert not hasattr(frames, "truth")
    assert not hasattr(frames[0], "truth")
    with pytest.raises(AttributeError):
        frames.dataset = None


def test_no_depth_is_none(tmp_path: Path) -> None:
    dataset = open_dataset(world.folder(tmp_path, depth=False))
    assert dataset.frame(0).depth_m is None


def test_tum_pairs_by_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world.tum(tmp_path)
    lines = (tmp_path / "depth.txt").read_text().splitlines()
    (tmp_path / "depth.txt").write_text("\n".join(lines[:-1]))
    with caplog.at_level(logging.WARNING, "self6d"):
        assert len(open_dataset(tmp_path)) == 3
    assert "no depth within 20 ms" in caplog.text


def test_tum_known_camera(tmp_path: Path) -> None:
    root = world.tum(tmp_path / "rgbd_dataset_freiburg3_desk")
    (root / "K.txt").unlink()
    source = open_dataset(root).source(FrameKey(0, 0))
    assert source.intrinsics.K[0, 0] == 535.4
    assert source.metres_per_unit == 1 / 5000


def test_folder_of_files_side_by_side(tmp_path: Path) -> None:
    for n in range(3):
        s = world.shot(n)
        world.save(tmp_path / f"frame-{n:06d}.color.png", s.rgb)
        world.save(tmp_path / f"frame-{n:06d}.depth.png", s.depth_mm)
        world.save(tmp_path / f"frame-{n:06d}.mask.png", s.mask.astype(np.uint8))
    np.savetxt(tmp_path / "camera-intrinsics.txt", world.K)
    dataset = open_dataset(tmp_path)
    assert [k.image_id for k in dataset.keys] == [0, 1, 2]
    np.testing.assert_allclose(dataset.frame(2).depth_m, world.shot(2).depth_mm / 1000, atol=1e-6)


def test_grey_bop_images_become_three_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.bop_scene(tmp_path / "test" / "000005", rgb="gray")
    with caplog.at_level(logging.WARNING, "self6d"):
        dataset = open_dataset(tmp_path)
        assert dataset.frame(0).rgb.shape == (world.HEIGHT, world.WIDTH, 3)
        dataset.frame(1)
    assert caplog.text.count("grey image") == 1  # once for the folder, not once a frame


@pytest.mark.parametrize("columns", [False, True])
def test_a_matrix_of_a_pose_by_rows_or_columns(tmp_path: Path, columns: bool, caplog) -> None:
    """By columns it was a turned pose at the camera itself."""
    s, T = world.shot(2), np.eye(4)
    T[:3, :3], T[:3, 3] = s.R, s.t_mm / 1000
    path = world.dump(tmp_path / "pose.json", (T.T if columns else T).tolist())
    ((_, pose),) = read_poses(path)
    np.testing.assert_allclose(pose.R_m2c, s.R)
    np.testing.assert_allclose(pose.t_m2c, s.t_mm / 1000)
    assert ("read as columns first" in caplog.text) == columns
    T[3] = [0.1, 0, 0, 1]
    with pytest.raises(InputError, match="no pose"):
        read_poses(world.dump(path, T.tolist()))
