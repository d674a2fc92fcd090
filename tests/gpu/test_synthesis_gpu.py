"""Scenes and stage 1 on CUDA: the same scenes as on the CPU, no waiting, overlap that is exact."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from self6d.fusing import can_compile, fused
from self6d.geometry import Camera
from self6d.layers.usable import kernels
from self6d.network import NetworkConfig
from self6d.rng import step_generator
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.task import SyntheticTask, TrainConfig
from self6d.synthesis import SceneMaker, SynthesisConfig, default_camera
from self6d.synthesis.appearance import Paint, apply_paint
from self6d.synthesis.effects import convolve
from self6d.synthesis.layout import sample_layout

pytestmark = pytest.mark.gpu

CONFIG = SynthesisConfig(height=240, background_pool=8)


@pytest.fixture(scope="module")
def models() -> list[ObjectModel]:
    made = []
    for object_id, mesh in ((1, trimesh.creation.box((0.06, 0.09, 0.14))),
                            (2, trimesh.creation.cone(0.05, 0.12, sections=32))):  # fmt: skip
        vertices = np.asarray(mesh.vertices, np.float32)
        diameter = float(np.linalg.norm(vertices[:, None] - vertices, axis=-1).max())
        colors = np.clip(0.5 + 4 * vertices, 0, 1)
        made.append(
            ObjectModel(
                object_id, str(object_id), vertices, np.asarray(mesh.faces, np.int32), colors,
                diameter,
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def camera() -> Camera:
    return default_camera(240)


def test_labels_are_those_of_the_cpu(models, camera) -> None:
    on_cpu = SceneMaker(models, camera, CONFIG).make(4, 0, 0, effects=False)
    on_gpu = SceneMaker(models, camera, CONFIG, "cuda").make(4, 0, 0, effects=False)
    for f in fields(LabelledBatch):
        assert getattr(on_gpu, f.name).is_cuda
    for name in ("K", "R", "t", "image_index", "object_index"):
        assert torch.equal(getattr(on_cpu, name), getattr(on_gpu, name).cpu()), name
    agree = on_cpu.instance_map == on_gpu.instance_map.cpu()
    assert agree.float().mean() > 0.999
    assert torch.allclose(on_cpu.visible_fraction, on_gpu.visible_fraction.cpu(), atol=0.01)
    shown = agree & (on_cpu.instance_map >= 0)
    depth = (on_cpu.depth_m - on_gpu.depth_m.cpu()).abs()[shown]
    assert depth.quantile(0.99) < 1e-3


def test_same_seed_same_batch(models, camera) -> None:
    maker = SceneMaker(models, camera, CONFIG, "cuda")
    a, b = maker.make(4, 0, 1), maker.make(4, 0, 1)
    assert torch.equal(a.instance_map, b.instance_map)
    assert torch.allclose(a.images, b.images, atol=1e-4)


def test_making_never_waits_for_the_device(models, camera) -> None:
    maker = SceneMaker(models, camera, CONFIG, "cuda")
    maker.make(4, 0, 0)  # kernels are compiled once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        maker.make(4, 0, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_things_are_repainted_as_on_the_cpu() -> None:
    m, g = 7, torch.Generator().manual_seed(0)
    paint = Paint(
        matrix=torch.rand(m, 3, 3, generator=g),
        tone=torch.rand(m, generator=g) - 0.5,
        waves=200 * torch.randn(m, 4, 3, generator=g),
        phase=3 * torch.randn(m, 4, generator=g),
        hardness=10 ** torch.rand(m, generator=g),
        stain=0.5 * torch.randn(m, 2, 3, generator=g),
    )
    K = torch.tensor([[500.0, 0, 20], [0, 510, 17], [0, 0, 1]]).repeat(m, 1, 1)
    K[:, 0, 2] += torch.arange(m)
    rgb, depth = torch.rand(m, 3, 37, 41, generator=g), 0.3 + torch.rand(m, 37, 41, generator=g)
    painted = apply_paint(rgb.clone(), depth, K, paint)
    there = apply_paint(rgb.cuda(), depth.cuda(), K.cuda(), paint.map(Tensor.cuda))
    torch.testing.assert_close(there.cpu(), painted, atol=2e-3, rtol=0)
    assert kernels("self6d.synthesis.gpu.paint_kernels", torch.cuda.current_device())


def test_images_are_blurred_as_on_the_cpu() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 41, 37, generator=g).mul(0.9)
    for sides in ((13, 13), (1, 11), (11, 1), (5, 1)):
        weights = torch.rand(5, *sides, generator=g)
        weights /= weights.sum((1, 2), keepdim=True)
        there = convolve(images.cuda(), weights.cuda())
        right = convolve(images.double(), weights.double())
        torch.testing.assert_close(there.cpu().double(), right, atol=1e-6, rtol=0)
    assert kernels("self6d.synthesis.gpu.blur_kernels", torch.cuda.current_device())


def test_batches_made_beside_training_are_the_same(models, camera) -> None:
    task = SyntheticTask(
        models, camera, NetworkConfig.preset("tiny"), CONFIG,
        TrainConfig(steps=6, batch=4, compile="off", validate_every=0), device="cuda",
    )  # fmt: skip
    for step in range(3):
        task.step(step)
        batch = task.batches.take(step + 1, 4)
        expected = task.batches.make(step + 1, 4)
        assert torch.equal(batch.t, expected.t)
        assert torch.equal(batch.instance_map, expected.instance_map)
        assert torch.allclose(batch.images, expected.images, atol=1e-4)


def test_making_is_fast(models) -> None:
    config = replace(CONFIG, height=480, instances_min=8, instances_max=8)
    maker = SceneMaker(models, default_camera(480), config, "cuda")
    for step in range(3):
        maker.make(32, 0, step)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(10):
        maker.make(32, 0, step)
    torch.cuda.synchronize()
    assert (time.perf_counter() - start) / 10 < 0.08


def test_the_layout_costs_little_host_time(models) -> None:
    maker = SceneMaker(models, default_camera(480), CONFIG, "cuda")
    sample_layout(maker.setting, 32, step_generator(0, 0))
    start = time.perf_counter()
    for step in range(20):
        sample_layout(maker.setting, 32, step_generator(0, step))
    assert (time.perf_counter() - start) / 20 < 0.02


def test_compiled_making_makes_the_same_images(models, camera) -> None:
    if not can_compile():
        pytest.skip("torch.compile does not work here")
    plain = SceneMaker(models, camera, CONFIG, "cuda")
    few_kernels = SceneMaker(models, camera, CONFIG, "cuda", work=fused)
    for step in range(3):
        size = 4 + step
        one, other = plain.make(size, 0, step), few_kernels.make(size, 0, step)
        for f in fields(LabelledBatch):
            a, b = getattr(one, f.name), getattr(other, f.name)
            # a rounding that falls to the other side of a JPEG step moves a block
            wrong = (a.float() - b.float()).abs() > (2e-3 if f.name == "images" else 0)
            assert wrong.float().mean() < 1e-3, (f.name, step)
