"""The readers, the models and the doctor on real recordings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.datasets import load_models, open_dataset, upper_bound_truth
from self6d.datasets.bop_writer import write_bop
from self6d.doctor.extents import check_scale

pytestmark = pytest.mark.real

# folder, reader, frames, labels of the first frame, median depth in metres
SETS = {
    "mustard0": ("bop", 150, 0, 0.7),
    "visp_rbt": ("bop", 71, 2, 0.8),
    "lmo": ("bop", 140, 8, 0.9),
    "linemod_original": ("linemod", 6, 1, 1.1),
    "linemod_preprocessed": ("linemod_preprocessed", 4, 1, 1.0),
    "ycb_video": ("ycb_video", 6, 3, 0.65),
    "single/lmo_000003": ("single", 1, 8, 1.1),
    "single/bbq_sauce": ("single", 1, 0, 3.3),
    "single/lm_eggbox": ("single", 1, 0, 1.2),
}


@pytest.mark.parametrize("name", SETS)
def test_reader(real_data: Path, name: str) -> None:
    kind, frames, labels, middle = SETS[name]
    dataset = open_dataset(real_data / name)
    assert (dataset.kind, len(dataset), len(dataset.truth(0))) == (kind, frames, labels)
    frame = dataset.frame(0)
    assert frame.rgb.shape == (480, 640, 3)
    assert np.median(frame.depth_m[frame.depth_m > 0]) == pytest.approx(middle, rel=0.35)


@pytest.mark.parametrize("name", ["mustard0", "lmo"])
def test_splits_and_held_back_labels(real_data: Path, name: str) -> None:
    dataset = open_dataset(real_data / name)
    adapt, held_out = dataset.split("adapt"), dataset.split("eval")
    assert len(adapt) + len(held_out) == len(dataset)
    assert all(adapt.truth(i) == () for i in range(len(adapt)))
    assert all(held_out.truth(i) for i in range(len(held_out)))
    assert all(upper_bound_truth(adapt)(i) for i in range(0, len(adapt), 10))


def test_preprocessed_boxes_are_the_edges_of_their_masks(real_data: Path) -> None:
    dataset = open_dataset(real_data / "linemod_preprocessed")
    for truth in (t for i in range(len(dataset)) for t in dataset.truth(i)):
        rows, columns = np.nonzero(truth.mask_visible)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(truth.box_visible, edges)


@pytest.mark.parametrize("name", ["linemod_original", "linemod_preprocessed", "lmo", "ycb_video"])
def test_labels_agree_with_the_sensor(real_data: Path, name: str) -> None:
    """The labelled model's nearest surface lies where the depth camera measured it."""
    dataset = open_dataset(real_data / name)
    models = {m.object_id: m for m in load_models(dataset.models_path)}
    index = len(dataset) - 1 if name == "ycb_video" else 0
    frame = dataset.frame(index)
    h, w = frame.camera.size
    offsets = []
    for truth in dataset.truth(index):
        model = models.get(truth.object_id)
        if model is None:
            continue
        mesh = trimesh.Trimesh(model.vertices, model.faces, process=False)
        points = truth.pose.transform(np.asarray(mesh.sample(20_000, seed=0)))
        u, v, z = frame.camera.K @ points.T
        column, row = (u / z).astype(int), (v / z).astype(int)
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        nearest = np.full((h, w), np.inf)
        np.minimum.at(nearest, (row[inside], column[inside]), z[inside])
        both = np.isfinite(nearest) & (frame.depth_m > 0)
        offsets.append(np.median(np.abs(nearest[both] - frame.depth_m[both])))
    assert offsets
    assert np.median(offsets) < 0.02


def test_models(real_data: Path) -> None:
    lmo = {m.object_id: m for m in load_models(real_data / "lmo" / "models")}
    info = json.loads((real_data / "lmo" / "models" / "models_info.json").read_text())
    assert sorted(lmo) == sorted(int(k) for k in info)
    for number, model in lmo.items():
        assert model.diameter == pytest.approx(info[str(number)]["diameter"] / 1000)
        assert model.has_color
        assert model.symmetric == (number in (10, 11))
    assert lmo[9].name == "duck"
    (sauce,) = load_models(real_data / "single" / "bbq_sauce" / "meshes")
    assert sauce.object_id == 2
    assert sauce.texture.shape == (2048, 2048, 3)
    assert sauce.uv.shape == (len(sauce.faces), 3, 2)
    assert 0.1 < sauce.diameter < 0.2


def test_round_trip(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(real_data / "lmo")
    part = dataset.subset(range(0, len(dataset), 20))
    out = write_bop(part, tmp_path / "copy", models=real_data / "mustard0" / "models")
    for name in ("scene_camera", "scene_gt", "scene_gt_info"):
        was = json.loads((real_data / f"lmo/test/000002/{name}.json").read_text())
        now = json.loads((out / f"test/000002/{name}.json").read_text())
        assert now == {image: was[image] for image in now}
    for key in part.keys:
        a, b = dataset.source(key), open_dataset(out).source(key)
        for x, y in ((a.rgb, b.rgb), (a.depth, b.depth)):
            assert hashlib.sha1(x.read_bytes()).digest() == hashlib.sha1(y.read_bytes()).digest()


@pytest.mark.parametrize("name", ["mustard0", "linemod_original"])
def test_depth_scale_check(real_data: Path, name: str) -> None:
    """No false alarm at the true scale; a factor of ten is found either way."""
    from dataclasses import replace

    dataset = open_dataset(real_data / name)
    diameters = [m.diameter for m in load_models(dataset.models_path)]
    indices = np.unique(np.linspace(0, len(dataset) - 1, 6).astype(int))
    frames = [dataset.frame(int(i)) for i in indices]
    true = dataset.source(dataset.keys[0]).metres_per_unit
    for wrong in (1, 10):
        read = [replace(f, depth_m=f.depth_m * np.float32(wrong)) for f in frames]
        assert check_scale(read, diameters, true * wrong).metres_per_unit == pytest.approx(true)
