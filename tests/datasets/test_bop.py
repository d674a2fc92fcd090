"""BOP: several scenes and splits, labels held back, targets, the paper's splits, writing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import recordings as world

from self6d.datasets import FrameKey, open_dataset, upper_bound_truth
from self6d.datasets.bop_writer import Corrections, write_bop
from self6d.datasets.paper_splits import LMO_BOP200, OBJECTS
from self6d.datasets.readers.bop import BopTarget, read_targets
from self6d.datasets.readers.cropped import CroppedRecording
from self6d.errors import InputError
from self6d.files import read_json
from self6d.scene import Symmetry
from self6d.scene.models_info import read_models_info


@pytest.fixture
def two_scenes(tmp_path: Path) -> Path:
    for scene in (1, 2):
        world.bop_scene(tmp_path / "test" / f"{scene:06d}", range(4 * scene))
    return tmp_path


def test_scenes_in_order(two_scenes: Path) -> None:
    dataset = open_dataset(two_scenes)
    assert dataset.keys[:2] == (FrameKey(1, 0), FrameKey(1, 1))
    assert dataset.keys[-1] == FrameKey(2, 7)
    assert dataset.index(3, scene_id=2) == 4 + 3
    with pytest.raises(InputError, match="2 scenes have a frame 3"):
        dataset.index(3)


@pytest.mark.parametrize(
    ("entries", "keys"),
    [
        ([5, 7], [(2, 5), (2, 7)]),
        ({"1": [0], "000002": [5]}, [(1, 0), (2, 5)]),
        (["1/0", "000002/000005"], [(1, 0), (2, 5)]),
        ([[1, 3], [2, 3]], [(1, 3), (2, 3)]),
    ],
)
def test_spellings_of_splits(two_scenes: Path, entries, keys) -> None:
    world.dump(two_scenes / "splits.json", {"adapt": entries})
    split = open_dataset(two_scenes).split("adapt")
    assert [(k.scene_id, k.image_id) for k in split.keys] == keys


def test_a_bare_number_of_two_scenes_is_refused(two_scenes: Path) -> None:
    world.dump(two_scenes / "splits.json", {"adapt": [0]})
    with pytest.raises(InputError, match="which 2 scenes have"):
        open_dataset(two_scenes)


def test_other_split_folders_are_splits(tmp_path: Path) -> None:
    world.bop_scene(tmp_path / "test" / "000001", range(2))
    world.bop_scene(tmp_path / "train_pbr" / "000000", range(3))
    world.bop_scene(tmp_path / "val" / "primesense" / "000007", range(5))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert "train_pbr" in dataset.reason
    assert len(dataset.split("train_pbr")) == 3
    assert len(dataset.split("val/primesense")) == 5


def test_homebrewed_scene_names(tmp_path: Path) -> None:
    world.bop_scene(tmp_path / "hb" / "val_primesense" / "scene_02", range(20))
    dataset = open_dataset(tmp_path / "hb")
    assert dataset.keys[0] == FrameKey(2, 0)
    adapt, held_out = dataset.split("hb3-adapt"), dataset.split("hb3-eval")
    assert len(adapt) == 3
    assert len(held_out) == 17
    assert not set(adapt.keys) & set(held_out.keys)


def test_held_back_labels_need_the_explicit_way(tmp_path: Path) -> None:
    root = world.bop(tmp_path)
    scene = root / "test" / "000001"
    truth = read_json(scene / "scene_gt.json")
    world.dump(scene / "scene_gt_upper_bound_only.json", {"0": truth.pop("0")})
    world.dump(scene / "scene_gt.json", truth)
    dataset = open_dataset(root)
    assert dataset.truth(0) == ()
    (held_back,) = upper_bound_truth(dataset)(0)
    np.testing.assert_allclose(held_back.pose.t_m2c, world.shot(0).t_mm / 1000)
    (ordinary,) = upper_bound_truth(dataset)(1)
    np.testing.assert_allclose(ordinary.pose.t_m2c, world.shot(1).t_mm / 1000)


def test_held_back_labels_are_not_opened_by_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.bop(tmp_path)
    held_back = root / "test" / "000001" / "scene_gt_upper_bound_only.json"
    held_back.write_text("not even JSON")
    dataset = open_dataset(root)
    opened = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: opened.append(p) or read_bytes(p))
    for i in range(len(dataset)):
        dataset.frame(i)
        dataset.truth(i)
    assert opened
    assert held_back not in opened


def test_targets(tmp_path: Path) -> None:
    root = world.bop(tmp_path)
    targets = [{"im_id": 2, "inst_count": 1, "obj_id": 1, "scene_id": 1}]
    path = world.dump(root / "test_targets_bop19.json", targets)
    assert read_targets(path) == [BopTarget(1, 2, 1, 1)]
    assert open_dataset(root).split("bop19").keys == (FrameKey(1, 2),)
    world.dump(path, [{"im_id": "x"}])
    with pytest.raises(InputError, match="no target"):
        open_dataset(root)


def test_camera_json_stands_in(tmp_path: Path) -> None:
    root = world.bop(tmp_path)
    (root / "test" / "000001" / "scene_camera.json").unlink()
    with pytest.raises(InputError, match=r"no scene_camera\.json"):
        open_dataset(root)
    camera = {"fx": 60.5, "fy": 61.5, "cx": 31.25, "cy": 23.75, "depth_scale": 0.5}
    world.dump(root / "camera.json", camera)
    frame = open_dataset(root).frame(0)
    np.testing.assert_allclose(frame.camera.K_opencv, world.K)
    np.testing.assert_allclose(frame.depth_m, world.shot(0).depth_mm / 2000, atol=1e-6)


def linemod_models(root: Path, *ids: int) -> None:
    from self6d.scene.known import LINEMOD

    world.dump(root / "models" / "models_info.json", {i: {"diameter": LINEMOD[i][1]} for i in ids})


@pytest.mark.parametrize("models", [True, False])
def test_several_datasets_are_no_recording(tmp_path: Path, models: bool) -> None:
    """The first was opened, and the others were its splits, with its models under their numbers."""
    for name in ("lm", "tless"):
        for split in ("test", "train"):
            world.bop_scene(tmp_path / name / split / "000001", range(2))
        if models:
            (tmp_path / name / "models").mkdir()
    with pytest.raises(InputError, match=r"holds 2 BOP datasets.*: lm, tless") as told:
        open_dataset(tmp_path)
    assert told.value.remedy == f"Name one of them, such as {tmp_path / 'lm'}."
    assert open_dataset(tmp_path / "lm").split_names() == ("train",)


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("a/test", "b/test"), ("b/test",)),  # of the models that lie beside both
        (("test/kinect", "test/xtion"), ("test/xtion",)),
        (("left", "right"), ("right",)),
    ],
)
def test_folders_of_one_dataset(tmp_path: Path, folders, splits) -> None:
    (tmp_path / "models").mkdir()
    for folder in folders:
        world.bop_scene(tmp_path / folder / "000001", range(2))
    assert open_dataset(tmp_path).split_names() == splits


def test_paper_split_of_lmo(tmp_path: Path) -> None:
    assert len(LMO_BOP200) == 200
    world.bop_scene(tmp_path / "test" / "000002", (3, 8, 9, 10, 17))
    linemod_models(tmp_path, *OBJECTS["lmo8"])
    dataset = open_dataset(tmp_path)
    assert [k.image_id for k in dataset.split("lmo-bop200").keys] == [3, 8, 17]
    assert [k.image_id for k in dataset.split("lmo-adapt").keys] == [9, 10]


def test_paper_splits_of_lm(tmp_path: Path) -> None:
    for scene in (1, 3, 8):  # 3, the bowl, is not one of the thirteen
        world.bop_scene(tmp_path / "test" / f"{scene:06d}", range(4), object_id=scene)
    linemod_models(tmp_path, 1, 3, 8)
    (tmp_path / "image_set").mkdir()
    (tmp_path / "image_set" / "ape_train.txt").write_text("000000\n000002\n")
    (tmp_path / "test" / "000008" / "training_range.txt").write_text("1\n")
    dataset = open_dataset(tmp_path)
    adapt, held_out = dataset.split("lm13-adapt"), dataset.split("lm13-eval")
    assert [(k.scene_id, k.image_id) for k in adapt.keys] == [(1, 0), (1, 2), (8, 1)]
    assert len(held_out) == 5


def test_cropped_linemod(tmp_path: Path) -> None:
    scene = tmp_path / "test" / "000001"
    s = world.shot(0, 480, 640)
    world.save(scene / "rgb" / "000000.png", s.rgb)
    world.save(scene / "depth" / "000000.png", s.depth_mm)
    K = [600.0, 0, 320, 0, 600, 240, 0, 0, 1]
    world.dump(scene / "scene_camera.json", {"0": {"cam_K": K, "depth_scale": 1.0}})
    world.dump(scene / "scene_gt.json", {"0": [world.label(s, 1)]})
    linemod_models(tmp_path, 1)
    (tmp_path / "image_set_lm_crop").mkdir()
    (tmp_path / "image_set_lm_crop" / "lm_crop_test_ape.txt").write_text("0\n")
    crops = open_dataset(tmp_path).split("lmcrop11-test")
    assert isinstance(crops, CroppedRecording)
    frame = crops.frame(0)
    assert frame.rgb.shape == (64, 64, 3)
    assert frame.depth_m.shape == (64, 64)
    (instance,) = crops.truth(0)
    u, v, w = frame.camera.K @ instance.pose.t_m2c
    np.testing.assert_allclose([u / w, v / w], [32, 32], atol=0.3)  # the object is in the middle
    whole = open_dataset(tmp_path).frame(0)
    corner = np.linalg.inv(whole.camera.K) @ [256, 176, 1]  # a ray keeps its direction
    x, y = (frame.camera.K @ corner)[:2]
    np.testing.assert_array_equal(
        frame.rgb[int(y), int(x)], frame.rgb[round(y - 0.5), round(x - 0.5)]
    )
    assert open_dataset(tmp_path, kind="cropped_linemod").keys == crops.keys


def test_bop_round_trip_is_identical(tmp_path: Path) -> None:
    root = world.bop(tmp_path / "data")
    world.dump(root / "splits.json", {"adapt": [0, 1], "eval": [2, 3]})
    out = write_bop(open_dataset(root), tmp_path / "copy")
    for path in sorted((root / "test").rglob("*")):
        if path.is_file():
            twin = out / path.relative_to(root)
            if path.suffix == ".json":
                assert json.loads(twin.read_text()) == json.loads(path.read_text()), path.name
            else:
                assert twin.read_bytes() == path.read_bytes(), path.name
    assert (out / "models" / "obj_000001.ply").read_bytes() == (
        root / "models" / "obj_000001.ply"
    ).read_bytes()
    again = open_dataset(out)
    assert again.keys == open_dataset(root).keys
    assert [k.image_id for k in again.split("eval").keys] == [2, 3]


@pytest.mark.parametrize("write", [world.ycb_video, world.linemod_preprocessed, world.folder])
def test_any_layout_to_bop(tmp_path: Path, write) -> None:
    dataset = open_dataset(write(tmp_path / "data"))
    again = open_dataset(write_bop(dataset, tmp_path / "out"))
    assert again.kind == "bop"
    assert again.keys == dataset.keys
    for i in range(len(dataset)):
        a, b = dataset.frame(i), again.frame(i)
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_allclose(a.depth_m, b.depth_m, atol=1e-6)
        np.testing.assert_allclose(a.camera.K, b.camera.K, atol=1e-12)
        for x, y in zip(dataset.truth(i), again.truth(i), strict=True):
            assert x.object_id == y.object_id
            np.testing.assert_allclose(x.pose.matrix, y.pose.matrix, atol=1e-12)
            np.testing.assert_array_equal(x.mask_visible, y.mask_visible)
            np.testing.assert_allclose(x.box_visible, y.box_visible)
    for name in dataset.split_names():
        assert again.split(name).keys == dataset.split(name).keys


def test_the_writer_overwrites_nothing(tmp_path: Path) -> None:
    dataset = open_dataset(world.bop(tmp_path / "data"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        write_bop(dataset, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    root = world.bop(tmp_path / "data")
    dataset = open_dataset(root)
    shutil.rmtree(root / "test" / "000001" / "rgb")
    (tmp_path / "place").mkdir()
    with pytest.raises(Exception, match="out"):
        write_bop(dataset, tmp_path / "place" / "out")
    assert list((tmp_path / "place").iterdir()) == []


def test_corrections_on_the_way(tmp_path: Path) -> None:
    dataset = open_dataset(world.bop(tmp_path / "data"))
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:3, 3] = 0.01
    corrections = Corrections(
        depth_factor=10,
        k_factor=0.5,
        skip=frozenset({(1, 2)}),
        symmetries={1: Symmetry(turn[None], np.eye(3)[:1], np.full((1, 3), 0.002))},
    )
    out = open_dataset(write_bop(dataset, tmp_path / "out", corrections=corrections))
    out.checked = False  # K is now for half the size
    assert [k.image_id for k in out.keys] == [0, 1, 3]
    np.testing.assert_allclose(out.frame(0).depth_m, 10 * dataset.frame(0).depth_m, rtol=1e-6)
    np.testing.assert_allclose(out.frame(0).camera.K[:2], dataset.frame(0).camera.K[:2] / 2)
    symmetry = read_models_info(out.models_path)[1].symmetry
    np.testing.assert_allclose(symmetry.discrete[0], turn)
    np.testing.assert_allclose(symmetry.offsets, np.full((1, 3), 0.002))


def test_a_copy_states_what_size_its_camera_is_of(tmp_path: Path) -> None:
    """The set's one camera.json is of larger images than these: the copy could not be opened."""
    root = world.bop(tmp_path / "set")
    (root / "test" / "000001" / "scene_camera.json").unlink()
    fx, fy, (cx, cy) = 2 * world.K[0, 0], 2 * world.K[1, 1], 2 * world.K[:2, 2] + 0.5
    size = {"width": 2 * world.WIDTH, "height": 2 * world.HEIGHT}
    world.dump(root / "camera.json", {"fx": fx, "fy": fy, "cx": cx, "cy": cy, **size})
    copy = open_dataset(write_bop(open_dataset(root), tmp_path / "copy"))
    np.testing.assert_allclose(copy.frame(0).camera.K_opencv, world.K)
