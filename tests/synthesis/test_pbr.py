"""A rendered data set on disk gives back the labels it was made with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.network import NetworkConfig
from self6d.scene.batch import LabelledBatch
from self6d.stage1.task import SyntheticTask, TrainConfig
from self6d.synthesis.pbr import PbrScenes


def write_bop(batch: LabelledBatch, object_ids: list[int], root: Path) -> None:
    """One scene of a BOP set: colour, depth in tenths of millimetres, cameras, truth."""
    scene = root / "train_pbr" / "000000"
    for name in ("rgb", "depth"):
        (scene / name).mkdir(parents=True)
    cameras, truth = {}, {}
    for i in range(len(batch.images)):
        rgb = (batch.images[i].permute(1, 2, 0) * 255).round().byte().numpy()
        cv2.imwrite(str(scene / "rgb" / f"{i:06d}.png"), rgb[..., ::-1])
        depth = (batch.depth_m[i].numpy() * 10000).round().astype(np.uint16)
        cv2.imwrite(str(scene / "depth" / f"{i:06d}.png"), depth)
        K = batch.K[i].double().numpy().copy()
        K[:2, 2] -= 0.5  # files put pixel centres at whole numbers
        cameras[str(i)] = {"cam_K": K.ravel().tolist(), "depth_scale": 0.1}
        truth[str(i)] = [
            {
                "cam_R_m2c": batch.R[n].double().ravel().tolist(),
                "cam_t_m2c": (batch.t[n].double() * 1000).tolist(),
                "obj_id": object_ids[int(batch.object_index[n])],
            }
            for n in (batch.image_index == i).nonzero()[:, 0].tolist()
        ]
    (scene / "scene_camera.json").write_text(json.dumps(cameras))
    (scene / "scene_gt.json").write_text(json.dumps(truth))


@pytest.fixture
def made(maker, models, tmp_path) -> LabelledBatch:
    batch = maker.make(1, 11, 0, effects=False)
    write_bop(batch, [model.object_id for model in models], tmp_path)
    return batch


def test_labels_come_back(made, models, camera, config, tmp_path) -> None:
    scenes = PbrScenes(tmp_path / "train_pbr", models, camera, config)
    read = scenes.make(2, 0, 0, effects=False)
    n = len(made.t)
    assert read.image_index.tolist() == [0] * n + [1] * n  # the only image, twice
    assert torch.allclose(read.images[0], made.images[0], atol=0.003)
    assert torch.allclose(read.t[:n], made.t, atol=1e-5)
    assert torch.allclose(read.K[0], made.K[0], atol=1e-3)
    assert (read.mask_amodal[:n] != made.mask_amodal).float().mean() < 1e-3
    assert torch.equal(read.object_index[n:], made.object_index)
    # seen through depth: occluders without a label included
    agree = read.instance_map[0] == made.instance_map[0]
    assert agree.float().mean() > 0.99
    assert torch.allclose(read.visible_fraction[:n], made.visible_fraction, atol=0.05)
    shown = made.visible_fraction > 0.2
    assert (read.box_visible[:n] - made.box_visible)[shown].abs().max() <= 2


def test_batches_are_repeatable_and_scaled(made, models, camera, config, tmp_path) -> None:
    half = camera.resized(64, 48)
    scenes = PbrScenes(tmp_path, models, half, replace(config, camera_effects=0.5))
    scenes.prepare(3, 0, 5)
    ahead = scenes.make(3, 0, 5)
    again = scenes.make(3, 0, 5)
    assert torch.equal(ahead.images, again.images)
    assert ahead.images.shape == (3, 3, 48, 64)
    assert torch.allclose(ahead.K[0, 0], made.K[0, 0] / 2, atol=1e-3)
    assert ahead.mask_amodal.shape == (3 * len(made.t), 48, 64)


def test_depth_is_sampled_at_the_centres_of_smaller_pixels(
    made, models, camera, config, tmp_path
) -> None:
    whole = PbrScenes(tmp_path, models, camera, config)._read(0).depth_m
    for height, width in ((32, 64), (48, 128)):  # a third and a half of each side, in turn
        part = PbrScenes(tmp_path, models, Camera(camera.K, width, height), config)._read(0).depth_m
        rows = np.floor((np.arange(height) + 0.5) * (len(whole) / height)).astype(int)
        columns = np.floor((np.arange(width) + 0.5) * (whole.shape[1] / width)).astype(int)
        assert np.array_equal(part, whole[rows][:, columns])


def test_objects_of_other_models_only_occlude(made, models, camera, config, tmp_path) -> None:
    scenes = PbrScenes(tmp_path, models[1:], camera, config)
    read = scenes.make(1, 0, 0, effects=False)
    rows = made.object_index == 1
    assert len(read.t) == rows.sum()
    assert torch.allclose(read.visible_fraction, made.visible_fraction[rows], atol=0.05)


def test_a_set_without_the_objects_is_refused(made, models, camera, config, tmp_path) -> None:
    strangers = [replace(model, object_id=model.object_id + 50) for model in models]
    with pytest.raises(InputError, match="shows none of the objects"):
        PbrScenes(tmp_path, strangers, camera, config)
    with pytest.raises(InputError):
        PbrScenes(tmp_path / "nowhere", models, camera, config)


def test_training_mixes_both_kinds_of_images(made, models, camera, config, tmp_path) -> None:
    task = SyntheticTask(
        models,
        camera,
        NetworkConfig.preset("tiny"),
        replace(config, pbr=str(tmp_path), pbr_share=0.5),
        TrainConfig(batch=2, steps=40),
    )
    kinds = [task.batches.is_pbr(step) for step in range(40)]
    assert 10 < sum(kinds) < 30
    n = len(made.t)
    for step in (kinds.index(True), kinds.index(False)):
        batch = task.batches.make(step, 2)
        same = len(batch.t) == 2 * n and torch.allclose(batch.t[:n], made.t, atol=1e-5)
        assert same == kinds[step]
