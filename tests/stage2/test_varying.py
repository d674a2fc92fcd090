"""Occluders drawn into labelled frames hide what they cover, and nothing else changes."""

import pytest
import stage2_scene as stage2
import torch

from self6d.rendering import pack_models, render
from self6d.scene.batch import FrameBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_augmentation import OCCLUDER_SIDES, blurred, occluders, varied_batch

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
