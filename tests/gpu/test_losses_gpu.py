"""The losses' own kernels give what the same formulas give in float64 on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from self6d.layers.usable import kernels
from self6d.losses import geometric, ms_ssim, visual
from self6d.losses.color import rgb_to_ab
from self6d.losses.gpu.perceptual import fused_perceptual_loss, kernels_for
from self6d.losses.perceptual import AlexNetFeatures, default_weights, perceptual_loss

pytestmark = pytest.mark.gpu

N, H, W = 3, 120, 104
Loss = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(loss: Loss, x: Tensor, rtol: float = 1e-3, *, mostly: bool = False) -> None:
    """`loss(put, x)` and its gradient, in float32 on the GPU and in float64 on the CPU.

    `mostly`: a rounding may decide which of two equal ways a gradient goes, so it is compared as a
    whole.
    """
    found = []
    for put in (lambda v: v, lambda v: v.float().cuda() if v.is_floating_point() else v.cuda()):
        own = put(x).clone().requires_grad_()
        value = loss(put, own)
        weight = torch.arange(1, len(value) + 1, device=value.device)
        (gradient,) = torch.autograd.grad((value * weight).sum(), own)
        found.append((value.detach().cpu().double(), gradient.cpu().double()))
    (value, gradient), (fast, fast_gradient) = found
    torch.testing.assert_close(fast, value, rtol=rtol, atol=1e-5)
    if mostly:
        assert float((fast_gradient - gradient).norm()) < 0.01 * float(gradient.norm())
        return
    scale = float(gradient.abs().max())
    torch.testing.assert_close(fast_gradient, gradient, rtol=rtol, atol=rtol * scale)


NAMES = [f"self6d.losses.gpu.{name}_kernels" for name in ("visual", "ssim", "feature", "surface")]


@pytest.mark.parametrize("name", [*NAMES, "self6d.refinement.pose_kernels"])
def test_they_compile_where_triton_is(name: str) -> None:
    pytest.importorskip("triton")
    assert kernels(name, 0) is not None


def test_mask() -> None:
    mask, valid = draw(N, H, W), draw(N, H, W, seed=1) > 0.2
    mask[2] *= 0.4  # no evidence
    rendered = draw(N, H, W, seed=2)
    rendered[0, :5], rendered[0, 5:9] = 0.0, 1.0
    same(lambda put, r: visual.mask_loss(put(mask), r, put(valid)), rendered)


def test_colour_without_brightness() -> None:
    mask = draw(N, H, W)
    source = rgb_to_ab(draw(N, 3, H, W, seed=1)) * (mask > 0.5)[:, None]
    rgb = draw(N, 3, H, W, seed=2)
    rgb[0, :, :9], rgb[1, :, :5] = 0.0, 0.03
    same(lambda put, r: visual.ab_loss_of(put(source), r, put(mask)), rgb)


@pytest.mark.parametrize("size", [(120, 104), (40, 72)])
def test_ms_ssim(size: tuple[int, int]) -> None:
    fixed = draw(N, 3, *size)

    def loss(put: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        return ms_ssim.ms_ssim_to(ms_ssim.scale_statistics(put(fixed)), y)

    same(loss, (fixed + 0.3 * draw(N, 3, *size, seed=1)).clamp(0, 1))


@pytest.mark.skipif(default_weights() is None, reason="no perceptual weights")
@pytest.mark.parametrize("size", [(120, 104), (71, 90), (66, 67)])
def test_perceptual_distance(size: tuple[int, int]) -> None:
    networks = {"cpu": AlexNetFeatures().double(), "cuda": AlexNetFeatures().cuda()}
    fixed = draw(N, 3, *size)

    def loss(put: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
        network = networks[y.device.type]
        source = network(put(fixed))
        kernels = kernels_for(network, y, source)
        assert (kernels is not None) == y.is_cuda
        if kernels is None:
            return perceptual_loss(source, network.activations(y))
        return fused_perceptual_loss(kernels, network, y, source)

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        same(loss, draw(N, 3, *size, seed=1), mostly=True)


@pytest.mark.skipif(default_weights() is None, reason="no perceptual weights")
def test_perceptual_distance_where_nothing_is_seen() -> None:
    network = AlexNetFeatures().cuda()
    black = torch.zeros(1, 3, 64, 64, device="cuda", requires_grad=True)
    source = network(draw(1, 3, 64, 64).float().cuda())
    kernels = kernels_for(network, black, source)
    assert kernels is not None
    loss = fused_perceptual_loss(kernels, network, black, source)
    loss.sum().backward()
    assert black.grad is not None
    assert bool(black.grad.isfinite().all())
    slow = perceptual_loss(source, network.activations(torch.zeros_like(black)))
    torch.testing.assert_close(loss, slow, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("trim", "noise"), [(0.0, 0.0), (0.1, 0.002)])
@pytest.mark.parametrize("count", [1024, 200])
def test_surfaces(trim: float, noise: float, count: int) -> None:
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    sensor = 0.6 + 0.05 * (column / 17).sin() + 0.03 * (row / 11).cos() + 0.002 * draw(N, H, W)
    sensor[draw(N, H, W, seed=1) < 0.1] = 0.0
    middle = (row - 60) ** 2 + (column - 50) ** 2
    held, shown = (middle < 1500).repeat(N, 1, 1), (middle < 1400).repeat(N, 1, 1)
    held[1] = False  # no evidence
    held[2] = middle < 30  # few points
    K = torch.tensor([[160.0, 0.3, 50], [0, 150.0, 61], [0, 0, 1]], dtype=torch.float64)
    K = K.repeat(N, 1, 1)
    rendered = 0.61 + 0.05 * (column / 17 + 0.2).sin() + 0.02 * (row / 11).cos().repeat(N, 1, 1)

    def loss(put: Callable[[Tensor], Tensor], depth: Tensor) -> Tensor:
        return geometric.surface_distance(
            put(sensor), put(held), depth, put(shown), put(K), count, 0.37,
            trim=trim, noise_at_1m=noise,
        )  # fmt: skip

    same(loss, rendered.double(), rtol=0.01)  # equally near points may be told apart otherwise
