"""The generated sample: layout, repeatability, truth kept apart, truth that fits the pictures."""

import hashlib
import json

import cv2
import numpy as np
import pytest
import torch

from self6d.datasets import load_models, open_dataset, upper_bound_truth
from self6d.errors import InputError
from self6d.rendering import pack_models, render
from self6d.sample.models import make_sample_models
from self6d.sample.sample import make_sample, models_folder


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return make_sample(
        tmp_path_factory.mktemp("sample") / "data", seed=3, frames=4, eval_frames=2, size=(120, 160)
    )


def _bytes_of(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_models_on_disk_are_the_generators(tmp_path):
    make_sample_models(tmp_path / "models")
    made, shipped = load_models(tmp_path / "models"), load_models(models_folder())
    assert [m.object_id for m in made] == [m.object_id for m in shipped] == [1, 2, 3]
    for a, b in zip(made, shipped, strict=True):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-6)
        np.testing.assert_array_equal(a.faces, b.faces)
    assert sum(p.stat().st_size for p in models_folder().iterdir()) < 1.5e6


def test_models_are_small_and_one_of_them_is_symmetric():
    models = load_models(models_folder())
    assert [m.symmetric for m in models] == [True, False, False]
    assert all(0.08 < m.diameter < 0.20 and 2000 < len(m.faces) < 6000 for m in models)
    spread = [m.colors.std(0).sum() for m in models]
    assert spread[1] < 1e-4 < spread[0] < spread[2]


def test_flask_is_unchanged_by_its_declared_turns():
    flask = load_models(models_folder())[0]
    radius = np.linalg.norm(flask.vertices[:, :2], axis=1)
    for turn in flask.symmetry.transforms(steps=8):
        moved = flask.vertices @ turn[:3, :3].T + turn[:3, 3]
        np.testing.assert_allclose(moved[:, 2], flask.vertices[:, 2], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(moved[:, :2], axis=1), radius, atol=1e-6)


def test_boxes_as_bop_counts_them_come_back_as_edges_of_the_masks(sample):
    eval_frames = open_dataset(sample).split("eval")
    seen = 0
    for truth in (t for i in range(len(eval_frames)) for t in eval_frames.truth(i)):
        if truth.box_visible is not None:
            rows, columns = np.nonzero(truth.mask_visible)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(truth.box_visible, edges)
            seen += 1
    assert seen >= 2


def test_same_seed_same_bytes_other_seed_other_pictures(sample, tmp_path):
    again = make_sample(tmp_path / "again", seed=3, frames=4, eval_frames=2, size=(120, 160))
    assert _bytes_of(again) == _bytes_of(sample)
    other = make_sample(tmp_path / "other", seed=4, frames=4, eval_frames=2, size=(120, 160))
    assert (
        _bytes_of(other)["test/000001/rgb/000000.jpg"]
        != _bytes_of(sample)["test/000001/rgb/000000.jpg"]
    )


def test_adapt_truth_lies_only_in_the_upper_bound_file(sample):
    splits = json.loads((sample / "splits.json").read_text())
    scene = sample / "test" / "000001"
    truth = json.loads((scene / "scene_gt.json").read_text())
    apart = json.loads((scene / "scene_gt_upper_bound_only.json").read_text())
    info = json.loads((scene / "scene_gt_info.json").read_text())
    assert len(splits["adapt"]) == 4
    assert len(splits["eval"]) == 2
    assert len(splits["moved"]) == 1
    labelled = {*splits["eval"], *splits["moved"]}
    assert sorted([*splits["adapt"], *labelled]) == list(range(7))
    assert {int(k) for k in truth} == {int(k) for k in info} == labelled
    assert {int(k) for k in apart} == set(splits["adapt"])
    masks = {int(p.name[:6]) for p in (scene / "mask_visib").iterdir()}
    assert masks == labelled


def test_reader_sees_what_was_written(sample):
    dataset = open_dataset(sample)
    adapt, held_out = dataset.split("adapt"), dataset.split("eval")
    assert (len(adapt), len(held_out)) == (4, 2)
    assert all(adapt.truth(i) == () for i in range(4))
    assert [t.object_id for t in held_out.truth(0)] == [1, 2, 3]
    assert len(upper_bound_truth(adapt)(0)) == 3
    frame = adapt.frame(0)
    assert frame.rgb.shape == (120, 160, 3)
    assert frame.depth_m is not None
    assert 0.5 < (frame.depth_m > 0).mean() < 1


def test_truth_fits_masks_and_depth(sample):
    dataset = open_dataset(sample).split("eval")
    models = load_models(models_folder())
    packed = pack_models(models)
    for index in range(len(dataset)):
        frame, truth = dataset.frame(index), dataset.truth(index)
        R = torch.tensor(np.stack([t.pose.R_m2c for t in truth]), dtype=torch.float32)
        t = torch.tensor(np.stack([t.pose.t_m2c for t in truth]), dtype=torch.float32)
        K = torch.tensor(frame.camera.K, dtype=torch.float32)
        which = torch.tensor([x.object_id - 1 for x in truth])
        ours = render(R, t, K, packed, frame.camera.size, object_index=which, soft_mask=False)
        for entry, covered, depth in zip(truth, ours.covered, ours.depth_m, strict=True):
            seen = entry.mask_visible
            assert not (seen & ~covered.numpy()).sum() > 0.02 * seen.sum()
            inside = cv2.erode(seen.astype(np.uint8), np.ones((3, 3))) & (frame.depth_m > 0)
            bias = (frame.depth_m - depth.numpy())[inside.astype(bool)]
            assert 0 < np.median(bias) < 0.008
            assert np.abs(bias - np.median(bias)).mean() < 0.004


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        make_sample(tmp_path / "mine", frames=1, eval_frames=0)
    with pytest.raises(InputError, match="not empty"):
        make_sample_models(tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(InputError, match="cannot make"):
        make_sample(tmp_path / "none", frames=0)
    assert not (tmp_path / "none").exists()
