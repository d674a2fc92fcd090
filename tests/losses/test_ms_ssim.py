"""MS-SSIM against pytorch-msssim, in value and gradient, on both of its code paths."""

import pytest
import torch
from pytorch_msssim import ms_ssim
from torch.autograd import gradcheck

from self6d.errors import InputError
from self6d.losses.ms_ssim import ms_ssim_to, ms_ssim_window, scale_statistics


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def alike(*shape, dtype=torch.float32):
    """Two images alike enough for every scale's contrast to be positive."""
    a = rand(*shape, seed=1, dtype=dtype)
    return a, 0.7 * a + 0.3 * rand(*shape, seed=2, dtype=dtype)


def graded(similarity, images):
    images = images.clone().requires_grad_()
    value = similarity(images)
    weight = torch.arange(1, len(value) + 1, dtype=value.dtype)  # items are told apart
    (value * weight).sum().backward()
    return value.detach(), images.grad


@pytest.mark.parametrize(
    ("side", "window"), [(480, 11), (256, 11), (161, 11), (160, 9), (128, 7), (64, 3), (33, 3)]
)
def test_window_fits_five_scales(side, window):
    assert ms_ssim_window(side, 640) == window
    assert (window - 1) * 16 < side


def test_crop_too_small_says_so():
    with pytest.raises(InputError, match="too small for MS-SSIM"):
        ms_ssim_window(32, 256)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(176, 208), (99, 75)])
def test_is_the_published_measure_with_its_gradient(size, dtype):
    """float32 on the CPU takes the kernels, everything else the matrix products."""
    a, b = alike(2, 3, *size, dtype=dtype)
    window = ms_ssim_window(*size)

    def published(images):
        return ms_ssim(a, images, data_range=1.0, size_average=False, win_size=window)

    value, gradient = graded(lambda images: ms_ssim_to(scale_statistics(a), images), b)
    expected, expected_gradient = graded(published, b)
    assert torch.allclose(value, expected, atol=1e-5)
    error = (gradient - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-4


def test_gradcheck():
    a, b = alike(1, 1, 34, 33, dtype=torch.float64)
    source = scale_statistics(a)
    assert gradcheck(lambda images: ms_ssim_to(source, images), b.requires_grad_(), fast_mode=True)


def test_statistics_are_indexed_like_the_images():
    a, b = alike(2, 3, 64, 64)
    turned = [scale[torch.tensor([1, 0])] for scale in scale_statistics(a)]
    straight = ms_ssim_to(scale_statistics(a), b)
    assert torch.allclose(ms_ssim_to(turned, b.flip(0)), straight.flip(0), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_anticorrelated_images_are_zero_with_zero_gradient(dtype):
    a = rand(1, 3, 64, 64, dtype=dtype)
    value, gradient = graded(lambda images: ms_ssim_to(scale_statistics(a), images), 1 - a)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_black_images_have_a_finite_gradient():
    black = torch.zeros(1, 3, 64, 64)
    value, gradient = graded(lambda images: ms_ssim_to(scale_statistics(black), images), black)
    assert value.item() == pytest.approx(1, abs=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("box", [(20, 90, 60, 75), (0, 30, 150, 177), (5, 5, 5, 5)])
def test_black_surroundings_change_nothing(box):
    a, b = (torch.zeros(2, 3, 192, 177) for _ in range(2))
    part = (..., slice(*box[:2]), slice(*box[2:]))
    for whole, image in zip((a, b), alike(2, 3, 192, 177)):
        whole[part] = image[part]
    value, gradient = graded(lambda y: ms_ssim_to(scale_statistics(a), y), b)
    known = scale_statistics(a.double())
    expected, exact = graded(lambda y: ms_ssim_to(known, y), b.double())
    assert torch.allclose(value.double(), expected, atol=1e-6)
    assert (gradient - exact).norm() <= 1e-4 * exact.norm()
