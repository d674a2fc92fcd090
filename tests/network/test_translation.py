"""SITE and centroid codes: inverses, and what they do not change under."""

from __future__ import annotations

import math

import pytest
import torch

from self6d.geometry import crop_intrinsics, project
from self6d.network.roi import pose_regions
from self6d.network.translation import DECODE, ENCODE, encode_site


@pytest.fixture
def scene() -> tuple[torch.Tensor, ...]:
    """Translations, regions, anisotropic K and diameters of five objects."""
    g = torch.Generator().manual_seed(1)
    t = torch.rand(5, 3, generator=g) * torch.tensor([0.4, 0.3, 0.8]) + torch.tensor(
        [-0.2, -0.15, 0.4]
    )
    K = torch.tensor([[319.6, 0.0, 320.3], [0.0, 417.1, 244.3], [0.0, 0.0, 1.0]]).expand(5, 3, 3)
    pixel = project(t[:, None], K)[:, 0]
    noise = torch.rand(5, 4, generator=g) * 30
    boxes = torch.cat((pixel - 40 - noise[:, :2], pixel + 40 + noise[:, 2:]), dim=-1)
    diameter = torch.rand(5, generator=g) * 0.2 + 0.1
    return t, pose_regions(boxes, K, 1.5, True), K, diameter


def test_site_by_hand() -> None:
    """A 0.1 m object 1 m away, a region of 50 pixels at f = 500 whose centre is 10 pixels left."""
    K = torch.tensor([[[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]])
    region = torch.tensor([[285.0, 215.0, 335.0, 265.0]])
    site = encode_site(torch.tensor([[0.0, 0, 1.0]]), region, K, torch.tensor([0.1]))
    # a = 50 / 500 = 0.1 rad of ray space, so dz = log(1 * 0.1 / 0.1) = 0
    torch.testing.assert_close(site, torch.tensor([[0.2, 0.0, 0.0]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", ["site", "centroid"])
def test_decode_inverts_encode(form: str, scene: tuple[torch.Tensor, ...]) -> None:
    t, region, K, diameter = scene
    code = ENCODE[form](t, region, K, diameter)
    torch.testing.assert_close(DECODE[form](code, region, K, diameter), t, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("form", ["site", "centroid"])
def test_skewed_camera(form: str, scene: tuple[torch.Tensor, ...]) -> None:
    t, region, K, diameter = scene
    K = K.clone()
    K[:, 0, 1] = 3.0
    code = ENCODE[form](t, region, K, diameter)
    torch.testing.assert_close(DECODE[form](code, region, K, diameter), t, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (480, 200), (100, 300)])
def test_site_does_not_change_under_crops_and_changed_pixels(
    scene: tuple[torch.Tensor, ...], size: tuple[int, int]
) -> None:
    t, region, K, diameter = scene
    window = torch.tensor([100.0, 50.0, 500.0, 400.0])
    scale = torch.tensor([size[1] / 400.0, size[0] / 350.0]).repeat(2)
    there = (region - window[:2].repeat(2)) * scale
    K_there = crop_intrinsics(K, window.expand(5, 4), size)
    code, code_there = (
        ENCODE["site"](t, r, k, diameter) for r, k in ((region, K), (there, K_there))
    )
    torch.testing.assert_close(code_there, code, atol=1e-5, rtol=1e-4)


def test_site_is_free_of_the_focal_length(scene: tuple[torch.Tensor, ...]) -> None:
    """Another camera with the region that sees the same rays: same code, where centroid differs."""
    t, region, K, diameter = scene
    other = torch.tensor([[572.4, 0.0, 325.3], [0.0, 573.6, 242.0], [0.0, 0.0, 1.0]])
    corners = torch.cat((region.view(5, 2, 2), torch.ones(5, 2, 1)), dim=-1)
    rays = corners @ torch.linalg.inv(K).transpose(1, 2)
    there = (rays @ other.T)[..., :2].reshape(5, 4)
    torch.testing.assert_close(
        encode_site(t, there, other.expand(5, 3, 3), diameter),
        encode_site(t, region, K, diameter),
        atol=1e-5,
        rtol=1e-4,
    )


def test_site_is_scale_invariant(scene: tuple[torch.Tensor, ...]) -> None:
    """An object twice as large and twice as far looks the same and has the same code."""
    t, region, K, diameter = scene
    torch.testing.assert_close(
        encode_site(2 * t, region, K, 2 * diameter), encode_site(t, region, K, diameter)
    )


def test_doubling_the_distance_adds_log_two(scene: tuple[torch.Tensor, ...]) -> None:
    t, region, K, diameter = scene
    change = encode_site(2 * t, region, K, diameter) - encode_site(t, region, K, diameter)
    expected = torch.tensor([0.0, 0.0, math.log(2)]).expand(5, 3)
    torch.testing.assert_close(change, expected, atol=1e-5, rtol=0)
