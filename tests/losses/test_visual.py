import math

import cv2
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from self6d.losses.color import AB_RANGE, rgb_to_ab, rgb_to_lab
from self6d.losses.cpu import visual as kernels
from self6d.losses.ms_ssim import ms_ssim_to, scale_statistics
from self6d.losses.visual import ab_loss, ab_loss_of, mask_loss


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestLab:
    def test_agrees_with_opencv(self):
        rgb = np.random.default_rng(1).random((17, 13, 3)).astype(np.float32)
        expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
        lab = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0]
        assert np.abs(lab.permute(1, 2, 0).numpy() - expected).max() < 0.35

    @pytest.mark.parametrize(
        ("rgb", "lab"),  # CIE values of the sRGB primaries, D65
        [
            ((1, 0, 0), (53.2408, 80.0925, 67.2032)),
            ((0, 1, 0), (87.7347, -86.1827, 83.1793)),
            ((0, 0, 1), (32.2970, 79.1875, -107.8602)),
            ((1, 1, 1), (100.0, 0.0, 0.0)),
            ((0, 0, 0), (0.0, 0.0, 0.0)),
        ],
    )
    def test_primaries(self, rgb, lab):
        got = rgb_to_lab(torch.tensor(rgb, dtype=torch.float64).view(3, 1, 1)).flatten()
        assert torch.allclose(got, torch.tensor(lab, dtype=torch.float64), atol=0.02)

    def test_gradient_is_right_and_finite_at_black(self):
        dark_and_bright = torch.cat((rand(1, 3, 2, 2) * 0.02, rand(1, 3, 2, 2) * 0.8 + 0.1))
        assert gradcheck(rgb_to_lab, dark_and_bright.requires_grad_())
        black = torch.zeros(1, 3, 2, 2, requires_grad=True)
        rgb_to_ab(black).sum().backward()
        assert black.grad.isfinite().all()


class TestMaskLoss:
    def test_by_hand(self):
        mask = torch.tensor([[[1.0, 0.8], [0.0, 0.2]]])
        rendered = torch.tensor([[[1.0, 0.5], [0.25, 0.5]]])
        # N+ = {1, 0.8}: -(1 log 1 + 0.8 log 0.5)/2; N- = two: -(log 0.75 + log 0.5)/2
        expected = 0.4 * math.log(2) - 0.5 * (math.log(0.75) + math.log(0.5))
        assert mask_loss(mask, rendered).item() == pytest.approx(expected, rel=1e-6)

    def test_pixels_that_may_not_speak_are_left_out(self):
        mask = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
        rendered = torch.tensor([[[1.0, 0.1], [0.5, 0.9]]])
        valid = torch.tensor([[[True, False], [True, False]]])
        assert mask_loss(mask, rendered, valid).item() == pytest.approx(math.log(2), rel=1e-6)

    def test_empty_mask_is_zero_with_zero_gradient(self):
        rendered = rand(2, 4, 4).requires_grad_()
        mask = torch.zeros(2, 4, 4, dtype=torch.float64)
        mask[1, 1:3, 1:3] = 1
        loss = mask_loss(mask, rendered)
        loss.sum().backward()
        assert loss[0] == 0
        assert (rendered.grad[0] == 0).all()
        assert (rendered.grad[1] != 0).any()

    def test_object_outside_the_view_is_a_bad_constant(self):
        rendered = torch.zeros(1, 4, 4, requires_grad=True)
        loss = mask_loss(torch.ones(1, 4, 4), rendered, eps=1e-6)
        loss.sum().backward()
        assert loss.item() == pytest.approx(-math.log(1e-6), rel=1e-5)
        assert (rendered.grad == 0).all()

    def test_gradcheck(self):
        mask = rand(2, 3, 4, seed=1)
        rendered = (rand(2, 3, 4, seed=2) * 0.9 + 0.05).requires_grad_()
        assert gradcheck(lambda x: mask_loss(mask, x), rendered)


def ab_of_colours(source, rendered, mask):
    return ab_loss(rgb_to_ab(source) * mask[:, None], rgb_to_ab(rendered), mask)


class TestAbLoss:
    def test_by_hand(self):
        # half of the mask is red against blue, the other half agrees; one pixel outside is red
        source = torch.zeros(1, 3, 1, 4, dtype=torch.float64)
        source[0, 0] = 1
        rendered = torch.zeros(1, 3, 1, 4, dtype=torch.float64)
        rendered[0, 2, 0, 0] = 1
        rendered[0, 0, 0, 1] = 1
        rendered[0, 0, 0, 2] = 1
        mask = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)
        red, blue = np.array([80.0925, 67.2032]), np.array([79.1875, -107.8602])
        expected = (np.abs(red - blue).sum() + np.abs(red).sum()) / 2 / AB_RANGE
        assert ab_of_colours(source, rendered, mask).item() == pytest.approx(expected, abs=1e-3)

    def test_brightness_of_grey_does_not_matter(self):
        mask = torch.ones(1, 5, 5)
        source, rendered = torch.full((1, 3, 5, 5), 0.9), torch.full((1, 3, 5, 5), 0.2)
        assert ab_of_colours(source, rendered, mask).item() < 1e-4

    def test_empty_mask_is_zero_with_zero_gradient(self):
        rendered = rand(1, 3, 4, 4).requires_grad_()
        source, mask = rand(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.float64)
        loss = ab_of_colours(source, rendered, mask)
        loss.sum().backward()
        assert loss.item() == 0
        assert (rendered.grad == 0).all()

    def test_gradcheck(self):
        source, mask = rand(2, 3, 3, 3, seed=3), rand(2, 3, 3, seed=4).round()
        rendered = (rand(2, 3, 3, 3, seed=5) * 0.8 + 0.1).requires_grad_()
        assert gradcheck(lambda x: ab_of_colours(source, x, mask), rendered)


class TestKernels:
    """float32 on a CPU takes the kernels; float64 takes torch's operations."""

    def both(self, loss, x, *given):
        """Values and gradients of (N,) losses in x, in float32 and in float64."""
        weight, found = rand(len(x), seed=9) + 0.5, []
        for dtype in (torch.float32, torch.float64):
            own = x.to(dtype).requires_grad_()
            value = loss(own, *(g.to(dtype) if g.is_floating_point() else g for g in given))
            (gradient,) = torch.autograd.grad((value * weight.to(dtype)).sum(), own)
            found.append((value.detach().double(), gradient.double()))
        return found

    # images smaller than a vector, of no whole vectors, of several parts
    @pytest.mark.parametrize("size", [(2, 3), (37, 29), (150, 131)])
    def test_mask(self, size):
        mask, valid = rand(3, *size, seed=1), rand(3, *size, seed=2) > 0.2
        mask[1] = 0.2  # nothing is held: no evidence
        rendered = (rand(3, *size, seed=3) * 0.98 + 0.01).float().double()
        rendered[0, 0], rendered[2, -1] = 0.0, 1.0  # beyond the clamp on either side
        (value, gradient), (wanted, slope) = self.both(
            lambda r, m, v: mask_loss(m, r, v), rendered, mask, valid
        )
        assert value[1] == wanted[1] == 0
        torch.testing.assert_close(value, wanted, rtol=3e-6, atol=1e-6)
        torch.testing.assert_close(gradient, slope, rtol=2e-5, atol=1e-7)

    @pytest.mark.parametrize("size", [(2, 3), (37, 29), (150, 131)])
    def test_ab(self, size):
        mask = rand(3, *size, seed=4)
        mask[1] = 0.0
        source = rgb_to_ab(rand(3, 3, *size, seed=5)) * mask[:, None]
        rgb = rand(3, 3, *size, seed=6)
        rgb[:, :, size[0] // 2 :] = 0.0  # groups without colour take a shorter way
        rgb[0, :, 0] *= 0.05  # the dark ends of both curves
        (value, gradient), (wanted, slope) = self.both(
            lambda c, s, m: ab_loss_of(s, c, m), rgb, source, mask
        )
        assert value[1] == wanted[1] == 0
        torch.testing.assert_close(value, wanted, rtol=3e-6, atol=1e-6)
        difference = (gradient - slope).norm() / slope.norm()
        assert difference < 1e-6

    def test_float32_on_a_cpu_takes_them(self, monkeypatch):
        asked = []
        for name in ("mask", "ab"):
            own = getattr(kernels, name)
            monkeypatch.setattr(
                kernels, name, lambda *a, name=name, own=own: asked.append(name) or own(*a)
            )
        image, mask = rand(1, 3, 4, 4, dtype=torch.float32), torch.ones(1, 4, 4)
        mask_loss(mask, image[:, 0].contiguous())
        ab_loss_of(rgb_to_ab(image), image, mask)
        ab_loss_of(rgb_to_ab(image.double()), image.double(), mask.double())
        assert asked == ["mask", "ab"]


def test_ms_ssim_loss_is_zero_for_equal_images_and_items_are_apart():
    images = rand(3, 3, 64, 64, dtype=torch.float32)
    other = images.clone()
    other[1] = other[1].flip(-1)
    loss = 1 - ms_ssim_to(scale_statistics(images), other)
    assert loss.shape == (3,)
    assert loss[[0, 2]].abs().max() < 1e-5
    assert loss[1] > 0.5
