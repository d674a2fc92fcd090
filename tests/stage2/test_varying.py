"""Occluders drawn into labelled frames hide what they cover; turned objects keep their colours."""

from dataclasses import replace

import pytest
import stage2_scene as stage2
import torch

from self6d.rendering import pack_models, render
from self6d.scene.batch import FrameBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_augmentation import (
    OCCLUDER_SIDES,
    blurred,
    occluders,
    turned_objects,
    varied_batch,
)

SIZE = (stage2.HEIGHT, stage2.WIDTH)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def frames():
    """Rendered frames, one object each; sensor, packed models, poses, indices."""
    R, t = (part[:6] for part in stage2.poses())
    models, index = pack_models([stage2.MODEL]), torch.arange(6)
    K = stage2.K.expand(6, 3, 3).clone()
    objects = torch.zeros(6, dtype=torch.int64)
    view = render(R, t, K, models, SIZE, object_index=objects, soft_mask=False)
    return FrameBatch(view.rgb, view.depth_m, K), models, (R, t), index, objects


def test_covered_pixels_are_hidden_and_show_something_else(frames) -> None:
    sensor, *rest = frames
    plain = varied_batch(sensor, *rest, AdaptConfig(), seeded())
    torch.testing.assert_close(plain.images, sensor.images, atol=1e-5, rtol=0)
    batch = varied_batch(sensor, *rest, AdaptConfig(cover=1.0), seeded())
    changed = (batch.images - plain.images).abs().amax(1) > 1e-3
    assert 0.02 < changed.float().mean() < 0.5
    hidden = (plain.instance_map >= 0) & (batch.instance_map < 0)
    assert hidden.sum() > 100
    assert not (batch.instance_map[~hidden] != plain.instance_map[~hidden]).any()
    assert torch.equal(batch.mask_amodal, plain.mask_amodal)
    assert (batch.visible_fraction <= plain.visible_fraction).all()
    assert batch.visible_fraction.mean() < plain.visible_fraction.mean() - 0.03
    torch.testing.assert_close(batch.t, plain.t)


def test_covers_keep_to_their_share_and_sizes() -> None:
    drawn = occluders(400, (96, 128), 0.25, seeded())
    assert drawn.flatten(1).any(1).float().mean().item() == pytest.approx(0.25, abs=0.06)
    area = drawn.flatten(1).sum(1)
    assert area.max() < 6 * (OCCLUDER_SIDES[1] * 96) ** 2
    assert torch.equal(drawn, occluders(400, (96, 128), 0.25, seeded()))
    assert not occluders(4, (96, 128), 0.0, seeded()).any()


def test_what_covers_show_is_another_frame_without_detail() -> None:
    images = torch.rand(3, 3, 64, 96, generator=seeded())
    shown = blurred(images)
    assert shown.shape == images.shape
    assert shown.std() < images.std() / 4
    still = torch.zeros(2, 3, 64, 96)
    still[1] = 1.0
    torch.testing.assert_close(blurred(still), still.flip(0))


@pytest.fixture(scope="module")
def before_walls(frames):
    """The same frames before a grey wall."""
    sensor, *rest = frames
    wall = torch.full_like(sensor.images, 0.5)
    images = torch.where(sensor.depth_m[:, None] > 0, sensor.images, wall)
    depth = torch.where(sensor.depth_m > 0, sensor.depth_m, 3.0)
    return FrameBatch(images, depth, sensor.K), *rest


def test_turned_objects_look_as_rendered_at_their_new_poses(before_walls) -> None:
    sensor, models, poses, index, objects = before_walls
    made, (R, t) = turned_objects(sensor, models, poses, index, objects, 40, seeded(1))
    turn = (R @ poses[0].mT).diagonal(dim1=1, dim2=2).sum(1)
    angle = torch.rad2deg(((turn - 1) / 2).clamp(-1, 1).acos())
    assert (angle < 40).all()
    assert angle.max() > 15
    view = render(R, t, sensor.K, models, SIZE, object_index=objects, soft_mask=False)
    inner = torch.nn.functional.max_pool2d((~view.covered).float(), 3, 1, 1) == 0
    difference = (made.images - view.rgb).abs().amax(1)
    assert difference[inner].quantile(0.9) < 0.05
    assert difference[inner].mean() < 0.25 * (sensor.images - view.rgb).abs().amax(1)[inner].mean()
    torch.testing.assert_close(made.depth_m[view.covered], view.depth_m[view.covered])
    outside = torch.nn.functional.max_pool2d(view.covered.float(), 5, 1, 2) == 0
    left = made.images.permute(0, 2, 3, 1)[outside]
    assert (left - 0.5).abs().max() < 0.05  # nothing of where it was, the wall is not known to end
    batch = varied_batch(made, models, (R, t), index, objects, AdaptConfig(), seeded())
    assert (batch.visible_fraction > 0.99).all()


def test_turned_objects_bring_the_colours_of_the_frame(before_walls) -> None:
    """Frames in another light than the model's: their colours stay, whatever the model's are."""
    sensor, models, poses, index, objects = before_walls
    grey = replace(models, colors=torch.full_like(models.colors, 0.3))
    made, (R, t) = turned_objects(sensor, grey, poses, index, objects, 10, seeded(1))
    view = render(R, t, sensor.K, models, SIZE, object_index=objects, soft_mask=False)
    inner = torch.nn.functional.max_pool2d((~view.covered).float(), 3, 1, 1) == 0
    assert (made.images - view.rgb).abs().amax(1)[inner].median() < 0.05


def test_what_hides_an_object_hides_it_turned(before_walls) -> None:
    sensor, *rest = before_walls
    depth = sensor.depth_m.clone()
    depth[:, :, : SIZE[1] // 2] = 0.1
    images = sensor.images.clone()
    images[..., : SIZE[1] // 2] = 0.9
    hidden = FrameBatch(images, depth, sensor.K)
    made, _ = turned_objects(hidden, *rest, 40, seeded(2))
    assert (made.images[..., : SIZE[1] // 2 - 3] - 0.9).abs().max() < 0.02


def test_turned_by_nothing_a_frame_stays_as_it_was(before_walls) -> None:
    sensor, models, poses, index, objects = before_walls
    made, (R, t) = turned_objects(sensor, models, poses, index, objects, 0, seeded(2))
    torch.testing.assert_close(R, poses[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(t, poses[1], atol=1e-5, rtol=0)
    borders = (sensor.depth_m < 2).float()[:, None]  # are soft afterwards
    borders = torch.nn.functional.max_pool2d(borders, 5, 1, 2) != -torch.nn.functional.max_pool2d(
        -borders, 5, 1, 2
    )
    difference = (made.images - sensor.images).abs() * ~borders
    assert difference.max() < 1e-3
    assert (made.depth_m - sensor.depth_m)[sensor.depth_m < 2].abs().max() < 1e-4
