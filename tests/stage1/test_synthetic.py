"""Stage 1: schedule, averaging, exact resume, learning, validation, several processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from self6d.benchmarks.train import bench_train
from self6d.config import to_dict
from self6d.engine.averaging import MovingAverage
from self6d.engine.finite import SKIPPED
from self6d.engine.schedule import TrainConfig, learning_rate
from self6d.errors import InputError
from self6d.geometry import Camera, axis_angle_to_matrix
from self6d.network import Detections, NetworkConfig
from self6d.scene import ObjectModel, Symmetry
from self6d.scene.models_copy import save_models
from self6d.stage1 import training, validation
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig

SMALL = {
    "network": replace(
        NetworkConfig.preset("tiny"), crop_size=32, crop_backbone="resnet18-w16",
        pyramid_channels=32, head_channels=32, loss_points=64, rois_per_image=3,
    ),
    "synthesis": SynthesisConfig(
        height=64, instances_min=2, instances_max=3, distractors_max=1, background_pool=4,
        apparent_min=0.4, apparent_max=0.7, camera_effects=0.3,
    ),
    "train": TrainConfig(
        steps=25, batch=4, lr=3e-3, warmup=4, validate_every=0, validation_images=4
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def models() -> list[ObjectModel]:
    return two_objects()


def two_objects() -> list[ObjectModel]:
    """A brick with sides of different colours, and a ring that looks the same all round."""
    brick = trimesh.creation.box(extents=(0.06, 0.09, 0.14)).subdivide()
    ring = trimesh.creation.annulus(0.03, 0.05, 0.04, sections=16)
    made = []
    for object_id, mesh in ((3, brick), (7, ring)):
        vertices = np.asarray(mesh.vertices, np.float32)
        colors = np.clip(0.5 + vertices * 6, 0, 1) if object_id == 3 else vertices * 0 + 0.7
        axis = np.array([[0, 0, 1.0]]) if object_id == 7 else np.zeros((0, 3))
        diameter = float(np.linalg.norm(vertices[:, None] - vertices, axis=-1).max())
        made.append(
            ObjectModel(
                object_id, f"object {object_id}", vertices, np.asarray(mesh.faces, np.int32),
                colors.astype(np.float32), diameter, Symmetry(axes=axis, offsets=axis * 0),
            )
        )  # fmt: skip
    return made


@pytest.fixture
def task(models) -> SyntheticTask:
    return SyntheticTask(models, **SMALL)


def test_learning_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(steps=1000, lr=0.1, warmup=100, flat=0.72)
    assert learning_rate(0, config) == pytest.approx(0.001)
    assert learning_rate(49, config) == pytest.approx(0.05)
    assert learning_rate(99, config) == learning_rate(720, config) == pytest.approx(0.1)
    assert learning_rate(860, config) == pytest.approx(0.05)  # half way down the cosine
    assert learning_rate(790, config) == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))
    assert learning_rate(1000, config) == pytest.approx(0)
    rates = [learning_rate(step, config) for step in range(1001)]
    assert max(rates) == pytest.approx(0.1)
    assert all(rate >= 0 for rate in rates)


def test_averaged_weights_follow_the_recurrence() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.5)
    expected = network.weight.item()
    for step, value in enumerate((3.0, -1.0, 4.0, 1.0)):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert float(average.network.weight) == pytest.approx(expected, rel=1e-6)
    assert float(average.network.running_mean) != 0
    assert not average.network.weight.requires_grad
    assert not average.network.training


def test_images_that_are_not_finite_leave_no_trace(task, monkeypatch) -> None:
    """Weights, moments, batch-norm statistics and the average that is exported."""
    task.step(0)
    make = task.maker.make

    def spoilt(*arguments):
        batch = make(*arguments)
        batch.images[0, :, 3, 4] = float("nan")
        return batch

    monkeypatch.setattr(task.maker, "make", spoilt)
    assert bool(task.step(1)[SKIPPED])
    state = task.state_dict()["tensors"]
    assert all(v.isfinite().all() for v in state.values())
    monkeypatch.undo()
    assert not bool(task.step(2)[SKIPPED])


def test_a_short_training_learns(task) -> None:
    batch = task.maker.make(6, 123, 0)
    task.network.train()

    def loss() -> dict[str, float]:
        with torch.no_grad():
            return {k: float(v) for k, v in task.network.losses(batch).items()}

    before = loss()
    for step in range(SMALL["train"].steps):
        values = task.step(step)
        assert math.isfinite(float(values["loss/total"]))
    after = loss()
    assert after["total"] < 0.85 * before["total"]
    assert after["class"] < 0.7 * before["class"]
    assert float(values["lr"]) == learning_rate(SMALL["train"].steps - 1, task.config)
    assert task.result()["images"] == 4 * SMALL["train"].steps


def test_the_learning_rate_follows_the_clock(task) -> None:
    task.clock.follow(0.9)
    assert float(task.step(0)["lr"]) == learning_rate(0, task.config, 0.9)
    assert learning_rate(0, task.config, 0.9) != learning_rate(0, task.config)


def test_resuming_is_exact(models) -> None:
    straight = SyntheticTask(models, **SMALL)
    for step in range(3):
        straight.step(step)
    first = SyntheticTask(models, **SMALL)
    for step in range(2):
        first.step(step)
    state = first.state_dict()
    state["meta"] = json.loads(json.dumps(state["meta"]))
    second = SyntheticTask(models, **SMALL, seed=0)
    second.load_state_dict(state)
    for step in range(2, 3):
        second.step(step)
    for a, b in ((straight.network, second.network),
                 (straight.average.network, second.average.network)):  # fmt: skip
        other = b.state_dict()
        for name, value in a.state_dict().items():
            assert torch.equal(value, other[name]), name
    assert second.images_made == 12


def test_the_seed_decides(models) -> None:
    a, b, c = (SyntheticTask(models, **SMALL, seed=s) for s in (1, 1, 2))
    assert float(a.step(0)["loss/total"]) == float(b.step(0)["loss/total"])
    assert float(c.step(0)["loss/total"]) != float(a.step(0)["loss/total"])


def test_exported_state_names_what_inference_needs(task, models) -> None:
    state = task.state_dict()
    assert state["meta"]["object_ids"] == [3, 7]
    assert state["meta"]["network_config"]["crop_size"] == 32
    assert state["meta"]["camera"]["size"] == [64, 85]
    names = [name for name in state["tensors"] if name.startswith("network.")]
    assert len(names) == len(task.network.state_dict())


def test_previews_show_images_and_poses(task) -> None:
    previews = task.previews(5)
    assert [p.name for p in previews] == ["train/gallery", "train/0", "train/1"]
    assert previews[0].arrays["gallery"].dtype == np.uint8
    assert previews[1].arrays["rgb"].shape == (64, 85, 3)


def test_live_values(task) -> None:
    task.set_live({"train.lr": 1e-5, "network.mask_weight": 0.0, "loss.mask": 1.0})
    assert task.config.lr == 1e-5
    values = task.step(10)
    assert float(values["loss/mask"]) == 0.0
    assert values["lr"] == pytest.approx(1e-5)
    with pytest.raises(InputError, match="nonsense_weight"):
        task.set_live({"network.nonsense_weight": 1.0})


def test_the_batch_is_halved_down_to_one(task) -> None:
    assert task.halve_batch()
    assert task.batch_size == 2
    assert len(task.batches.take(0, task.batch_size).images) == 2
    assert task.halve_batch()
    assert not task.halve_batch()


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match=r"train\.batch: 0 is out of range"):
        TrainConfig(batch=0)
    with pytest.raises(InputError, match=r"train\.flat: 1\.5 is out of range"):
        TrainConfig(flat=1.5)


def detections(batch, instance: torch.Tensor, R: torch.Tensor, t: torch.Tensor) -> Detections:
    n = len(instance)
    masks = torch.full((n, 1, 8, 8), -5.0)
    return Detections(
        batch.image_index[instance], batch.object_index[instance], torch.ones(n),
        batch.box_visible[instance], R, t, masks, batch.box_amodal[instance],
    )  # fmt: skip


def test_pose_errors_by_hand(task) -> None:
    batch = task.maker.make(4, 0, 0)
    rows = torch.arange(len(batch.t))
    shift = torch.tensor([0.0, 0.03, 0.04])
    moved = detections(batch, rows, batch.R, batch.t + shift)
    error = validation.detection_errors(task.network, moved, batch, rows)
    diameter = task.network.objects.diameter[batch.object_index]
    brick = batch.object_index == 0
    assert torch.allclose(error[brick], 0.05 / diameter[brick], rtol=1e-4)
    # half a turn about its axis does not matter to the ring, but it does to the brick
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi]))
    turned = detections(batch, rows, batch.R @ turn, batch.t)
    error = validation.detection_errors(task.network, turned, batch, rows)
    assert (error[brick] > 0.3).all()
    assert (error[~brick] < 0.002).all()


def test_mask_overlap(task) -> None:
    batch = task.maker.make(2, 0, 0)
    row = batch.visible_fraction.argmax()[None]
    found = detections(batch, row, batch.R[row], batch.t[row])
    assert float(validation.region_mask_iou(found, batch, row)) == 0.0
    side = found.mask_logits.shape[-1]
    box = found.roi_box[0]
    y = (box[1] + (torch.arange(side) + 0.5) / side * (box[3] - box[1])).long()
    x = (box[0] + (torch.arange(side) + 0.5) / side * (box[2] - box[0])).long()
    truth = batch.mask_visible(row)[0][y][:, x]
    found.mask_logits[0, 0] = torch.where(truth, 5.0, -5.0)
    assert float(validation.region_mask_iou(found, batch, row)) > 0.8


WORKER = """
import json, sys
import torch
import test_synthetic as t
from self6d.engine import distributed
task = t.SyntheticTask(t.two_objects(), **t.SMALL)
if task.world.rank == 0:
    for step in range(2):
        task.step(step)
    task.world.announce(None)
else:
    count = 1
    while (told := task.world.wait_for_step(count)) is not None:
        task.step(told[0])
        count += 1
total = sum(p.double().abs().sum().item() for p in task.network.parameters())
first = task.batches.make(0, 4).images.double().sum().item()
with open(f"{sys.argv[1]}/{task.world.rank}.json", "w") as file:
    json.dump([total, first, task.images_made], file)
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    here = Path(__file__).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", str(script), str(tmp_path)]  # fmt: skip
    paths = [str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    (a, images_a, count), (b, images_b, _) = (
        json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)
    )
    assert a == pytest.approx(b, rel=1e-7)  # the same weights
    assert images_a != images_b  # learnt from different images
    assert count == 2 * 2 * 4


def test_camera_of_another_size_is_scaled(models) -> None:
    camera = Camera(np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), 640, 480)
    task = SyntheticTask(models, camera, **SMALL)
    assert task.camera.size == (64, 85)
    assert task.camera.K[0, 0] == pytest.approx(600 * 85 / 640)


def test_bench_names_every_stage(models, tmp_path: Path) -> None:
    save_models(models, tmp_path / "models")
    sections = {name: to_dict(SMALL[name]) for name in SMALL}
    rows = bench_train(
        tmp_path / "models", preset="tiny", device="cpu", steps=1, overrides=sections
    )
    assert [row["stage"] for row in rows] == [
        "make", "augment", "forward", "backward", "update", "step", "first steps",
    ]  # fmt: skip
    for row in rows[:-1]:
        assert row["batch"] == 4
        assert row["images_per_s"] == pytest.approx(4000 / row["ms"])


@pytest.mark.parametrize(
    ("wanted", "steps", "minutes", "works", "cuda", "compiled"),
    [
        ("auto", 4000, 0.0, True, True, True), ("auto", 500, 0.0, True, True, False),
        ("auto", 4000, 3.0, True, True, False), ("auto", 4000, 9.0, True, True, True),
        ("auto", 4000, 0.0, False, True, False), ("auto", 4000, 0.0, True, False, False),
        ("on", 1, 0.0, False, False, True), ("off", 4000, 0.0, True, True, False),
    ],
)  # fmt: skip
def test_long_runs_are_compiled(monkeypatch, wanted, steps, minutes, works, cuda, compiled) -> None:
    monkeypatch.setattr(training, "can_compile", lambda: works)
    config = TrainConfig(compile=wanted, steps=steps, minutes=minutes)
    assert training.is_compiled(config, cuda) is compiled
