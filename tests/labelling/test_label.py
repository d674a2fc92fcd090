"""Labels out of a track: what they say, who can read them, what they keep quiet about nothing."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from self6d import cli
from self6d.datasets import open_dataset
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import TrackedPose, TrackState, write_pose_track
from self6d.errors import InputError
from self6d.evaluation.bop_results import read_bop_results
from self6d.geometry import Camera, Pose
from self6d.labelling import draw_labels, label
from self6d.rendering import pack_models
from self6d.runs.folder import RunFolder
from self6d.sample.sample import make_sample, models_folder
from self6d.scene import Frame
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models

UNSURE, LOST = 1, 2  # frames in which the first object is so


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("label") / "sample"
    return make_sample(root, 7, 1, 2, size=(120, 160))


@pytest.fixture(scope="module")
def poses(sample) -> list[TrackedPose]:
    """The sample's truth as a track would have it, in the three frames whose masks are known."""
    dataset, found = open_dataset(sample), []
    for index in range(3):
        for number, t in enumerate(dataset.truth(1 + index)):
            state, pose, sure = TrackState.TRACKED, t.pose, 0.9 + 0.01 * index
            if number == 0 and index == UNSURE:
                state, sure = TrackState.WEAK, 0.4
            if number == 0 and index == LOST:
                state, pose, sure = TrackState.LOST, None, 0.0
            found.append(TrackedPose(dataset.keys[1 + index], t.object_id, 0, state, pose, sure))
    return found


@pytest.fixture(scope="module")
def track(poses, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("track") / "poses.json"
    write_pose_track(path, poses)
    return path


def test_the_run_s_own_copy_of_the_models(sample, poses, tmp_path):
    """A plain recording brings none; the folder of the track has them."""
    plain, run = tmp_path / "plain", tmp_path / "run"
    shutil.copytree(sample, plain, ignore=shutil.ignore_patterns("models*"))
    run.mkdir()
    write_pose_track(run / "poses.json", poses)
    with pytest.raises(InputError, match="brings no CAD models"):
        label(plain, run, None, tmp_path / "none")
    folder = RunFolder.create(run / "of", "track", {})
    (run / "poses.json").rename(folder.path / "poses.json")
    save_models(load_models(models_folder()), folder.models_path)
    for number, track in enumerate((folder.path, folder.path / "poses.json")):
        out = tmp_path / str(number)
        assert label(plain, track, None, out, format="csv").accepted
    assert label(plain, folder.path, models_folder(), tmp_path / "same", format="csv").accepted
    # other CAD files under the same numbers: masks were drawn of them without a word
    first, second, *others = load_models(models_folder())
    exchanged = [
        replace(second, object_id=first.object_id),
        replace(first, object_id=second.object_id),
    ]
    save_models([*exchanged, *others], tmp_path / "other")
    with pytest.raises(InputError, match=f"poses of object 1 are of {first.name} .*, not of"):
        label(plain, folder.path, tmp_path / "other", tmp_path / "wrong", format="csv")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_a_track_of_another_recording_is_said(sample, poses, tmp_path, caplog, moved):
    """Frames are known by their numbers alone, which most recordings count from 0."""
    made = tmp_path / "made"
    shutil.copytree(sample, made)
    run = RunFolder.create(tmp_path / "run", "track", {}, {"data": str(made)})
    write_pose_track(run.path / "poses.json", poses)
    save_models(load_models(models_folder()), run.models_path)
    label(made / ".." / "made", run.path, None, tmp_path / "same", format="csv")
    assert "was made on" not in caplog.text
    if moved:
        made.rename(tmp_path / "elsewhere")
    there = tmp_path / "elsewhere" if moved else sample
    label(there, run.path / "poses.json", None, tmp_path / "other", format="csv")
    gone = ", which is no longer there" if moved else ""
    assert caplog.text.count(f"was made on {made}{gone}, not on {there}: its poses") == 1


def accepted(poses) -> dict[FrameKey, list[TrackedPose]]:
    found: dict[FrameKey, list[TrackedPose]] = {}
    for tracked in poses:
        if tracked.confidence >= 0.8:
            found.setdefault(tracked.key, []).append(tracked)
    return found


def within_a_pixel(mask: np.ndarray, other: np.ndarray) -> bool:
    """Wherever they differ, the border of one is at most a pixel away."""
    kernel = np.ones((3, 3), np.uint8)
    wide = [cv2.dilate(m.astype(np.uint8), kernel).astype(bool) for m in (mask, other)]
    return not (mask & ~wide[1]).any() and not (other & ~wide[0]).any()


@pytest.fixture(scope="module")
def bop(sample, track, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bop") / "labels"
    label(sample, track, None, out)
    return out


def test_our_reader_finds_the_same_poses_and_pixels(sample, bop, poses):
    before, after = open_dataset(sample), open_dataset(bop)
    expected = accepted(poses)
    assert list(after.keys) == sorted(expected)
    for index, key in enumerate(after.keys):
        old, new = before.frame(before.keys.index(key)), after.frame(index)
        np.testing.assert_array_equal(new.rgb, old.rgb)
        np.testing.assert_array_equal(new.depth_m, old.depth_m)
        np.testing.assert_array_equal(new.camera.K, old.camera.K)
        truth = after.truth(index)
        assert [t.object_id for t in truth] == [t.object_id for t in expected[key]]
        for found, tracked in zip(truth, expected[key], strict=True):
            np.testing.assert_allclose(found.pose.matrix, tracked.pose.matrix, atol=1e-12)
    models = load_models(bop / "models")
    for found, given in zip(models, load_models(sample / "models"), strict=True):
        np.testing.assert_allclose(found.vertices, given.vertices, atol=1e-7)
    assert not (bop / "test").exists()


def test_masks_are_those_of_the_sensors_own_renderer(sample, bop):
    """The sample's masks were drawn by another rasteriser, which knows of no depth tolerance."""
    before, after = open_dataset(sample), open_dataset(bop)
    compared = 0
    for index, key in enumerate(after.keys):
        drawn = {t.object_id: t for t in before.truth(before.keys.index(key))}
        for found in after.truth(index):
            other = drawn[found.object_id]
            if other.mask_visible is None or other.visible_fraction < 0.98:
                continue
            assert within_a_pixel(found.mask_visible, other.mask_visible)
            assert found.visible_fraction == pytest.approx(other.visible_fraction, abs=0.05)
            compared += 1
    assert compared >= 2


def test_the_tables_agree_with_the_masks(bop):
    scene = bop / "train_real" / "000001"
    info = json.loads((scene / "scene_gt_info.json").read_text())
    rows = [(image, n, row) for image, found in info.items() for n, row in enumerate(found)]
    assert len(rows) == len(list((scene / "mask").iterdir()))
    for image, number, row in rows:
        name = f"{int(image):06d}_{number:06d}.png"
        whole = cv2.imread(str(scene / "mask" / name), cv2.IMREAD_UNCHANGED) > 0
        seen = cv2.imread(str(scene / "mask_visib" / name), cv2.IMREAD_UNCHANGED) > 0
        assert not (seen & ~whole).any()
        assert row["px_count_visib"] == seen.sum()
        assert row["px_count_all"] >= whole.sum()
        assert row["visib_fract"] == pytest.approx(seen.sum() / row["px_count_all"])
        y, x = np.nonzero(seen)
        assert row["bbox_visib"] == [x.min(), y.min(), np.ptp(x), np.ptp(y)]  # BOP's, max - min


def test_what_is_left_out_is_said(bop, poses):
    table = json.loads((bop / "labels.json").read_text())
    assert table["source"] == "track"
    assert (table["labels"], table["unsure"], table["lost"]) == (len(poses) - 2, 1, 1)
    assert len(table["partly_labelled_frames"]) == 2
    page = (bop / "report.html").read_text()
    assert "not ground truth" in page
    assert "2 of the frames show an object that carries no label" in page
    assert page.count("data:image/jpeg") == len(poses) - 2
    assert page.index(", 0.90, tracked") < page.index(", 0.92, tracked")  # the least sure first


def test_coco_boxes_and_masks(sample, track, poses, bop, tmp_path):
    label(sample, track, None, tmp_path / "coco", format="coco")
    table = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(table["images"]) == len(accepted(poses))
    assert {c["id"] for c in table["categories"]} == {1, 2, 3}
    key = {i["id"]: FrameKey(*map(int, Path(i["file_name"]).stem.split("_")))
           for i in table["images"]}  # fmt: skip
    for image in table["images"]:
        assert (tmp_path / "coco" / image["file_name"]).is_file()
    after = open_dataset(bop)
    for annotation in table["annotations"]:
        counts = annotation["segmentation"]["counts"]
        values = np.arange(len(counts)) % 2 == 1
        size = annotation["segmentation"]["size"]
        mask = np.repeat(values, counts).reshape(size, order="F")
        truth = after.truth(after.keys.index(key[annotation["image_id"]]))
        (same,) = [t for t in truth if t.object_id == annotation["category_id"]]
        np.testing.assert_array_equal(mask, same.mask_visible)
        assert annotation["area"] == mask.sum()
        x, y, w, h = annotation["bbox"]
        assert mask[y : y + h, x : x + w].sum() == mask.sum()
        assert mask[:, x].any()
        assert mask[:, x + w - 1].any()


def test_csv_is_a_results_file(sample, track, poses, tmp_path, capsys):
    out = tmp_path / "csv"
    words = ["label", str(sample), str(track), "--out", str(out), "--format", "csv", "--quiet"]
    assert cli.run(words) == 0
    said = capsys.readouterr().out
    assert f"{len(poses) - 2} labels in 3 of " in said
    assert "not ground truth" in said
    (path,) = out.glob("*.csv")
    found = read_bop_results(path)
    sure = [p for p in poses if p.confidence >= 0.8]
    for row, tracked in zip(found, sure, strict=True):
        assert (row.image_id, row.object_id) == (tracked.key.image_id, tracked.object_id)
        assert row.score == pytest.approx(tracked.confidence)
        np.testing.assert_allclose(row.t, tracked.pose.t_m2c, atol=1e-12)
    with open(path) as file:
        assert next(csv.reader(file))[0] == "scene_id"


def test_nothing_is_overwritten(sample, track, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        label(sample, track, None, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": FrameKey(1, 9999)}, "frames that the recording has not, such as image 9999"),
        ({"object_id": 77}, "object 77, which has no CAD model here"),
        ({"confidence": 0.1}, "no pose with a confidence of 0.8. Its surest has 0.10"),
    ],
)
def test_a_track_of_something_else_is_refused(sample, poses, change, words, tmp_path):
    write_pose_track(tmp_path / "t.json", [replace(poses[-1], **change)])
    with pytest.raises(InputError, match=words):
        label(sample, tmp_path / "t.json", None, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["t.json"]


def box_frame(depth_m: float | None, near: float = 0.0) -> Frame:
    """An empty view; its left half is measured `near`, if that is not 0."""
    camera = Camera(np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), 128, 96)
    depth = None if depth_m is None else np.full((96, 128), depth_m, np.float32)
    if depth is not None and near:
        depth[:, :64] = near
    return Frame(np.zeros((96, 128, 3), np.uint8), depth, camera)


@pytest.fixture(scope="module")
def things():
    models = load_models(models_folder())
    return models, pack_models(models)


def at(x: float, z: float, object_id: int = 1) -> TrackedPose:
    pose = Pose(np.eye(3), [x, 0, z])
    return TrackedPose(FrameKey(0, 0), object_id, 0, TrackState.TRACKED, pose, 1.0)


def test_depth_in_front_hides(things):
    (free,) = draw_labels(box_frame(0.9), [at(0, 0.5)], *things)
    (hidden,) = draw_labels(box_frame(0.9, near=0.2), [at(0, 0.5)], *things)
    (colour,) = draw_labels(box_frame(None), [at(0, 0.5)], *things)
    np.testing.assert_array_equal(free.mask_visib, free.mask)
    np.testing.assert_array_equal(colour.mask_visib, free.mask)
    assert not hidden.mask_visib[:, :64].any()
    np.testing.assert_array_equal(hidden.mask_visib[:, 64:], free.mask[:, 64:])
    np.testing.assert_array_equal(hidden.mask, free.mask)
    assert 0.2 < hidden.visib_fract < 0.8


def test_unknown_depth_hides_nothing(things):
    (label,) = draw_labels(box_frame(0.0), [at(0, 0.5)], *things)
    np.testing.assert_array_equal(label.mask_visib, label.mask)
    assert label.px_count_valid == 0


def test_a_nearer_object_hides_and_is_not_hidden(things):
    near, far = draw_labels(box_frame(None), [at(0, 0.3), at(0.02, 0.6, 2)], *things)
    assert near.visib_fract == 1
    assert far.visib_fract < 1
    assert not (near.mask_visib & far.mask_visib).any()


def test_what_leaves_the_image_counts(things):
    """All of it, as a camera sees it whose image is three times as wide and as high."""
    K = np.array([[100.0, 0, 64 + 128], [0, 100, 48 + 96], [0, 0, 1]])
    wide = Frame(np.zeros((288, 384, 3), np.uint8), None, Camera(K, 384, 288))
    (whole,) = draw_labels(wide, [at(-0.32, 0.5)], *things)
    (leaving,) = draw_labels(box_frame(None), [at(-0.32, 0.5)], *things)
    (gone,) = draw_labels(box_frame(None), [at(-0.6, 0.5)], *things)
    assert leaving.box[0] < 0
    assert 0 < leaving.px_count_visib < leaving.px_count_all
    assert leaving.px_count_all == whole.mask.sum()
    np.testing.assert_array_equal(leaving.box, whole.box - [128, 96, 128, 96])
    assert gone.px_count_visib == 0
    assert gone.px_count_all > 0
    assert gone.box_visib is None
