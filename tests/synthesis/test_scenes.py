"""Generated scenes against the reference renderer, and their promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache

import pytest
import torch

from self6d.errors import InputError
from self6d.fusing import unfused
from self6d.rendering import pack_models, render
from self6d.scene.batch import LabelledBatch
from self6d.synthesis import SceneMaker, SynthesisConfig, default_camera
from self6d.synthesis.config import scaled_camera


def reference(batch: LabelledBatch, models) -> tuple[torch.Tensor, torch.Tensor]:
    """Silhouettes (N, H, W) bool and depth (N, H, W) of the whole instances."""
    rendering = render(
        batch.R,
        batch.t,
        batch.K[batch.image_index],
        pack_models(models),
        tuple(batch.images.shape[-2:]),
        object_index=batch.object_index,
        soft_mask=False,
        backend="reference",
    )
    return rendering.covered, rendering.depth_m


@pytest.fixture(scope="module")
def batch(maker) -> LabelledBatch:
    return maker.make(6, seed=5, step=2)


def box_of(mask: torch.Tensor) -> list[float]:
    y, x = mask.nonzero(as_tuple=True)
    if len(y) == 0:
        return [0, 0, 0, 0]
    return [x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1]


def test_shapes_and_types(batch, config, camera) -> None:
    n = len(batch.t)
    assert batch.images.shape == (6, 3, 96, 128)
    assert batch.images.dtype == torch.float32
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    assert batch.instance_map.dtype == torch.int32
    assert batch.mask_amodal.shape == (n, 96, 128)
    assert batch.mask_amodal.dtype == torch.bool
    counts = torch.bincount(batch.image_index, minlength=6)
    assert counts.min() >= config.instances_min
    assert counts.max() <= config.instances_max
    assert torch.equal(batch.image_index, batch.image_index.sort().values)
    assert torch.allclose(batch.R @ batch.R.mT, torch.eye(3).expand(n, 3, 3), atol=1e-5)
    assert torch.allclose(batch.K[0], torch.from_numpy(camera.K).float())


def test_masks_and_boxes_are_those_of_the_reference_renderer(batch, models) -> None:
    covered, _ = reference(batch, models)
    # windows shift the principal point: a ray on an edge may round to the other side
    assert (covered != batch.mask_amodal).float().mean() < 1e-4
    for i, mask in enumerate(batch.mask_amodal):
        assert batch.box_amodal[i].tolist() == box_of(mask)
        visible = batch.mask_visible(torch.tensor([i]))[0]
        assert batch.box_visible[i].tolist() == box_of(visible)
        assert not (visible & ~mask).any()


def test_the_nearest_thing_is_seen(batch, models) -> None:
    covered, depth = reference(batch, models)
    far = torch.where(covered, depth, torch.inf)
    for b in range(len(batch.images)):
        rows = (batch.image_index == b).nonzero()[:, 0]
        nearest, which = far[rows].min(0)
        seen = batch.instance_map[b]
        shown = seen >= 0
        # a shown instance is the nearest one; a distractor may hide it, never the other way round
        agree = rows[which][shown] == seen[shown]
        assert agree.float().mean() > 0.999
        assert torch.allclose(batch.depth_m[b][shown], nearest[shown], atol=1e-3)
        hidden = ~shown & nearest.isfinite()
        assert (batch.depth_m[b][hidden] <= nearest[hidden] + 1e-4).all()


def test_visible_fraction_counts_what_lies_outside_the_image(batch, models) -> None:
    h, w = batch.images.shape[-2:]
    K = batch.K[batch.image_index].clone()
    K[:, 0, 2] += w
    K[:, 1, 2] += h
    whole = render(
        batch.R, batch.t, K, pack_models(models), (3 * h, 3 * w),
        object_index=batch.object_index, soft_mask=False,
    ).covered.sum((1, 2))  # fmt: skip
    visible = torch.stack(
        [batch.mask_visible(torch.tensor([i])).sum() for i in range(len(batch.t))]
    )
    assert torch.allclose(batch.visible_fraction, visible / whole, atol=0.02)
    truncated = (batch.box_amodal[:, :2] == 0).any(1) & (batch.visible_fraction < 1)
    assert truncated.any()


def test_same_seed_same_batch_to_the_bit(maker, models, camera, config) -> None:
    other = SceneMaker(models, camera, config)
    a, b = maker.make(3, 1, 4), other.make(3, 1, 4)
    for f in fields(LabelledBatch):
        assert torch.equal(getattr(a, f.name), getattr(b, f.name)), f.name
    c, d = maker.make(3, 1, 5), maker.make(3, 2, 4)
    assert not torch.equal(a.images, c.images)
    assert not torch.equal(a.images, d.images)


def test_occlusion_is_strong_enough(models, camera, config) -> None:
    config = replace(config, instances_min=5, instances_max=8)
    batch = SceneMaker(models, camera, config).make(16, 3, 0, effects=False)
    assert 0.5 < batch.visible_fraction.mean() < 0.85
    assert (batch.visible_fraction < 0.3).float().mean() > 0.05


def test_given_distractors_keep_their_size_and_have_no_label(models, camera, config) -> None:
    maker = SceneMaker(models[:1], camera, config, distractors=models[1:])
    batch = maker.make(8, 0, 0, effects=False)
    assert (batch.object_index == 0).all()
    assert maker.setting.true_size == 2


def test_a_perfect_camera_and_plain_material(models, camera) -> None:
    config = SynthesisConfig(
        height=96, background_pool=4, camera_effects=0, material_jitter=0, light_variety=0,
        resting=0, distractors_min=0, distractors_max=0, instances_max=4,
    )  # fmt: skip
    maker = SceneMaker(models, camera, config)
    with_effects = maker.make(2, 0, 0)
    without = maker.make(2, 0, 0, effects=False)
    assert torch.equal(with_effects.images, without.images)
    shown = without.instance_map[0] >= 0
    assert without.images[0][:, shown].std() > 0.02


def test_an_empty_list_of_models_is_refused(camera, config) -> None:
    with pytest.raises(InputError, match="no object models"):
        SceneMaker([], camera, config)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"instances_min": 5, "instances_max": 2}, "instances_min is greater"),
        ({"instances_min": 0}, r"synthesis\.instances_min: 0 is out of range"),
        ({"height": 8}, r"synthesis\.height: 8 is out of range"),
        ({"distance_near_m": 2.0, "distance_far_m": 1.0}, "distance_near_m is greater"),
    ],
)
def test_wrong_settings_are_named(wrong, message) -> None:
    with pytest.raises(InputError, match=message):
        SynthesisConfig(**wrong)


def test_cameras_are_scaled_to_the_height_asked_for(camera) -> None:
    assert scaled_camera(camera, 96) is camera
    half = scaled_camera(camera, 48)
    assert half.size == (48, 64)
    assert half.K[0, 0] == pytest.approx(75)
    assert scaled_camera(None, 240) == default_camera(240)
    assert default_camera(240).size == (240, 320)


def test_work_that_is_traced_as_a_whole_makes_the_same_images(models, camera, config) -> None:
    """What torch.compile would make kernels of: nothing in it is left to Python."""

    @cache
    def traced(work: Callable) -> Callable:
        return torch.compile(work, dynamic=False, fullgraph=True, backend="eager")

    few = replace(config, instances_min=1, instances_max=1, distractors_max=1)
    plain, whole = (SceneMaker(models, camera, few, work=w) for w in (unfused, traced))
    one, other = plain.make(1, 5, 1), whole.make(1, 5, 1)
    for f in fields(LabelledBatch):
        torch.testing.assert_close(getattr(one, f.name), getattr(other, f.name), atol=1e-4, rtol=0)
