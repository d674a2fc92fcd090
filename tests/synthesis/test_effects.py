"""Camera effects, each on a case known by hand, and the random camera as a whole."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from self6d.synthesis import augment, effects


@pytest.fixture
def images() -> torch.Tensor:
    """A smooth colourful picture, (2, 3, 40, 56)."""
    y, x = torch.meshgrid(torch.linspace(0, 6, 40), torch.linspace(0, 8, 56), indexing="ij")
    a = torch.stack((0.5 + 0.4 * x.sin(), 0.5 + 0.3 * (x + y).cos(), 0.5 + 0.4 * y.sin()))
    return torch.stack((a, a.flip(-1)))


def both(value: float) -> torch.Tensor:
    return torch.full((2,), float(value))


def test_neutral_parameters_change_nothing(images) -> None:
    same = [
        effects.exposure(images, both(0.0)),
        effects.white_balance(images, torch.ones(2, 3)),
        effects.contrast(images, both(1)),
        effects.saturation(images, both(1)),
        effects.gamma(images, both(1)),
        effects.vignette(images, both(0)),
        effects.sensor_noise(images, both(0), both(0), torch.randn_like(images)),
        effects.defocus(images, both(1e-3)),
        effects.motion_blur(images, both(0), both(1.0)),
        effects.sharpen(images, both(0)),
        effects.cutout(images, torch.zeros(2, 3, 4), torch.zeros(2, 3)),
    ]
    for result in same:
        assert torch.allclose(result, images, atol=1e-5)


def test_exposure_is_in_stops_of_linear_light(images) -> None:
    brighter = effects.exposure(images, both(1.0))
    assert torch.allclose(brighter**2.2, 2 * images**2.2, rtol=1e-4)


def test_saturation_zero_is_grey(images) -> None:
    grey = effects.saturation(images, both(0))
    assert torch.allclose(grey[:, 0], grey[:, 2])
    assert torch.allclose(grey[:, :1], effects.grey(images))


def test_contrast_keeps_the_mean(images) -> None:
    stronger = effects.contrast(images, both(1.7))
    assert torch.allclose(
        effects.grey(stronger).mean((1, 2, 3)), effects.grey(images).mean((1, 2, 3)), atol=1e-5
    )
    assert (stronger.std((1, 2, 3)) > images.std((1, 2, 3))).all()


def test_noise_has_the_deviation_asked_for(generator) -> None:
    flat = torch.full((2, 3, 100, 100), 0.25)
    normal = torch.randn(flat.shape, generator=generator)
    noisy = effects.sensor_noise(flat, torch.tensor([0.03, 0.0]), torch.tensor([0.0, 0.1]), normal)
    deviation = (noisy - flat).std((1, 2, 3))
    assert deviation.tolist() == pytest.approx([0.03, 0.1 * math.sqrt(0.25)], rel=0.03)


def test_bayer_keeps_grey_ramps_and_loses_fine_colour(images) -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    assert torch.allclose(effects.bayer(ramp)[..., 2:-2], ramp[..., 2:-2], atol=1e-5)
    checker = torch.zeros(1, 3, 16, 16)
    checker[:, 0, 0::2, 0::2] = 1  # red exactly under the red filters looks red everywhere
    assert effects.bayer(checker)[0, 0, 4:12, 4:12].min() > 0.99


def test_blurs_spread_a_point_as_they_say() -> None:
    point = torch.zeros(2, 3, 31, 31)
    point[..., 15, 15] = 1
    soft = effects.defocus(point, both(1.5))
    assert torch.allclose(soft.sum((2, 3)), torch.ones(2, 3), atol=1e-4)
    x = torch.arange(31.0) - 15
    variance = (soft[0, 0].sum(0) * x**2).sum()
    assert variance == pytest.approx(1.5**2, rel=0.03)
    streak = effects.motion_blur(point, torch.tensor([7.0, 7.0]), torch.tensor([0, math.pi / 2]))
    assert streak[0, 0, 15].sum() == pytest.approx(1, abs=1e-4)  # along the row
    assert streak[1, 0, :, 15].sum() == pytest.approx(1, abs=1e-4)  # along the column
    assert (streak[0, 0, 15] > 0.05).sum() in (7, 8, 9)


def test_jpeg_loses_what_the_real_one_loses(images) -> None:
    big = torch.nn.functional.interpolate(images, (80, 112), mode="bilinear")
    big = (big + 0.05 * torch.randn(big.shape, generator=torch.Generator().manual_seed(0))).clamp(
        0, 1
    )
    ours = effects.jpeg(big, torch.tensor([30.0, 80.0])).clamp(0, 1)
    for i, quality in enumerate((30, 80)):
        rgb = (big[i].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                 cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip
        data = cv2.imencode(".jpg", rgb[..., ::-1], flags)[1]
        real = torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy())
        real = real.permute(2, 0, 1) / 255
        loss = (real - big[i]).square().mean().sqrt()
        assert (ours[i] - big[i]).square().mean().sqrt() == pytest.approx(float(loss), rel=0.05)
        assert (ours[i] - real).square().mean().sqrt() < 0.4 * loss


def test_jpeg_of_any_size(images) -> None:
    odd = images[..., :37, :51]
    assert effects.jpeg(odd, both(100)).shape == odd.shape
    assert (effects.jpeg(odd, both(100)) - odd).abs().max() < 0.02


def test_cutout_fills_boxes(images) -> None:
    boxes = torch.tensor([[[0.25, 0.0, 0.5, 0.5]], [[0.0, 0.0, 0.0, 0.0]]])
    out = effects.cutout(images, boxes, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    assert (out[0, 0, :20, 14:28] == 1).all()
    assert torch.equal(out[0, :, 20:], images[0, :, 20:])
    assert torch.equal(out[1], images[1])


def test_strength_zero_is_the_identity(images) -> None:
    assert torch.equal(augment(images, 3, 0.0), images)


@pytest.mark.parametrize("strength", [0.3, 1.0, 1.5])
def test_augment_keeps_shape_and_range(strength) -> None:
    images = torch.rand(24, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    out = augment(images, 7, strength)
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.isfinite(out).all()
    assert torch.equal(images, before)
    assert not torch.equal(out, images)


def test_augment_depends_on_the_seed_alone(images) -> None:
    assert torch.equal(augment(images, 3), augment(images, 3))
    assert not torch.equal(augment(images, 3), augment(images, 4))
    with_generator = augment(images, torch.Generator().manual_seed(3))
    assert torch.equal(with_generator, augment(images, 3))


def test_single_images_meet_every_effect() -> None:
    image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    for seed in range(60):
        out = augment(image, seed, 1.0)
        assert out.shape == image.shape
        assert out.min() >= 0
        assert out.max() <= 1


def test_more_strength_changes_more() -> None:
    x = torch.linspace(0, 8, 64)
    image = (0.5 + 0.4 * x.sin()).expand(64, 3, 48, 64)
    weak, strong = (augment(image, 0, s).sub(image).abs().mean() for s in (0.25, 1.0))
    assert weak < 0.6 * strong
