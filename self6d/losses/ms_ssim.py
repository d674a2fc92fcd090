"""Multi-scale structural similarity (Wang, Simoncelli, Bovik, Asilomar 2003), made for many steps.

The values are pytorch-msssim's. What the fixed image contributes is computed once, three maps a
scale are blurred instead of five, and the gradient is written out: a tenth of the work of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from self6d.errors import InputError
from self6d.layers.usable import usable
from self6d.losses.cpu import ms_ssim as ms_ssim_cpu

KERNELS = "self6d.losses.gpu.ssim_kernels"
SCALES = 5
SIGMA = 1.5
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2  # keep quotients of flat regions finite, for colours in [0, 1]


def ms_ssim_window(height: int, width: int) -> int:
    """Largest odd Gaussian window, at most 11, that five scales of an image of this size hold.

    Raises:
        InputError: a side is 32 pixels or less.
    """
    side = min(height, width)
    window = min(11, (side - 1) // 2 ** (SCALES - 1) + 1)
    window -= 1 - window % 2
    if window < 3:
        raise InputError(
            f"crops of {width}x{height} pixels are too small for MS-SSIM",
            remedy="Use crops of 33 pixels or more, or set loss.ms_ssim to 0.",
        )
    return window


@dataclass
class ScaleStatistics:
    """What N fixed images contribute to SSIM at one scale.

    Attributes:
        image: (N, C, h, w). mean, variance: (N, C, h - window + 1, w - window + 1), under each
            window that lies inside the image.
    """

    image: Tensor
    mean: Tensor
    variance: Tensor

    def __getitem__(self, index: Tensor) -> ScaleStatistics:
        """Images `index` (M,) int64."""
        return ScaleStatistics(*(getattr(self, f.name)[index] for f in fields(self)))


@torch.no_grad()
def scale_statistics(images: Tensor) -> list[ScaleStatistics]:
    """Statistics of images (N, C, H, W) in [0, 1] at each scale, for `ms_ssim_to`."""
    window = ms_ssim_window(*images.shape[-2:])
    found = []
    for _ in range(SCALES):
        if _on_cpu(images):
            mean, variance = ms_ssim_cpu.statistics(images, _gaussian(window))
        else:
            mean, square = _blurred(torch.stack((images, images.square())), window)
            variance = square - mean.square()
        found.append(ScaleStatistics(images, mean, variance))
        images = _halved(images)
    return found


def ms_ssim_to(source: list[ScaleStatistics], images: Tensor) -> Tensor:
    """MS-SSIM of images to fixed ones: prod_s cs_s^w_s l_5^w_5, mean over channels.

    cs = (2 cov + C2) / (var_x + var_y + C2) and l = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1),
    mean over the windows of a scale. A channel with a negative mean is 0 with zero gradient.

    Args:
        source: from `scale_statistics`. images: (N, C, H, W) float in [0, 1].

    Returns:
        (N,), 1 for equal images, at least 0. Differentiable once, in `images` alone.
    """
    window = ms_ssim_window(*images.shape[-2:])
    known = [x for scale in source for x in (scale.image, scale.mean, scale.variance)]
    kernels = usable(KERNELS, images, *known)
    if kernels is not None:
        values = _Similarities.apply(images, kernels, window, *known)
    else:
        scales = []
        for scale, fixed in enumerate(source):
            scales.append(_ScaleSimilarity.apply(images, fixed, window, scale == SCALES - 1))
            images = _halved(images)
        values = torch.stack(scales, -1)
    positive = values > 0
    logs = torch.where(positive, values, torch.ones_like(values)).log()
    similarity = (logs * _weights(values.dtype, values.device)).sum(-1).exp()
    return torch.where(positive.all(-1), similarity, torch.zeros_like(similarity)).mean(-1)


class _Similarities(torch.autograd.Function):
    """All scales by the kernels of a GPU, each adding to the gradient of the one below it."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, kernels: ModuleType, window: int, *known: Tensor
    ) -> Tensor:
        gauss, values, saved = _gaussian_on(window, images.device), [], []
        for scale in range(SCALES):
            x, mean, variance = known[3 * scale : 3 * scale + 3]
            last = scale == SCALES - 1
            value, slopes = kernels.similarity(x, mean, variance, images, gauss, last, C1, C2)
            values.append(value)
            saved += [x, images, slopes]
            if not last:
                images = kernels.halved(images)
        ctx.save_for_backward(*saved)
        ctx.kernels, ctx.gauss = kernels, gauss
        return torch.stack(values, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved, found = ctx.saved_tensors, None
        for scale in reversed(range(SCALES)):
            x, images, slopes = saved[3 * scale : 3 * scale + 3]
            weight = grad[..., scale] / (slopes.shape[-2] * slopes.shape[-1])
            found = ctx.kernels.gradient(x, images, slopes, ctx.gauss, weight.contiguous(), found)
        return found, None, None, *[None] * (3 * SCALES)


class _ScaleSimilarity(torch.autograd.Function):
    """Mean of cs, at the last scale of cs l, over the windows: (N, C, h, w) -> (N, C)."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, source: ScaleStatistics, window: int, last: bool
    ) -> Tensor:
        known = (source.image, source.mean, source.variance, images)
        if _on_cpu(images):
            value, slopes = ms_ssim_cpu.similarity(*known, _gaussian(window), last, C1, C2)
        else:
            value, slopes = _similarity(*known, window, last)
        ctx.save_for_backward(source.image, images, slopes)
        ctx.window = window
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        source, images, slopes = ctx.saved_tensors
        weight = grad / (slopes.shape[-2] * slopes.shape[-1])
        if _on_cpu(images):
            gauss = _gaussian(ctx.window)
            found = ms_ssim_cpu.gradient(source, images, slopes, gauss, weight)
        else:
            found = _gradient(source, images, slopes, ctx.window, weight)
        return found, None, None, None


def _similarity(
    x: Tensor, mean_x: Tensor, variance_x: Tensor, y: Tensor, window: int, last: bool
) -> tuple[Tensor, Tensor]:
    """Mean similarity of image planes, and its slopes: see `ms_ssim_cpu.similarity`."""
    mean, square, product = _blurred(torch.stack((y, y.square(), x * y)), window)
    below = variance_x + (square - mean.square()) + C2
    structure = (2 * (product - mean_x * mean) + C2) / below
    by_mean, by_square, by_product = (
        2 * (structure * mean - mean_x) / below,
        -structure / below,
        2 / below,
    )
    if last:
        level = mean_x.square() + mean.square() + C1
        luminance = (2 * mean_x * mean + C1) / level
        by_mean = luminance * by_mean + 2 * structure * (mean_x - mean * luminance) / level
        by_square, by_product = by_square * luminance, by_product * luminance
        structure = structure * luminance
    return structure.mean((-2, -1)), torch.stack((by_mean, by_square, by_product), 2)


def _gradient(x: Tensor, y: Tensor, slopes: Tensor, window: int, weight: Tensor) -> Tensor:
    """Gradient in y: see `ms_ssim_cpu.gradient`."""
    plain, squared, mixed = _spread(slopes, y.shape[-2:], window).unbind(2)
    return weight[..., None, None] * (plain + 2 * y * squared + x * mixed)


def _blurred(maps: Tensor, window: int) -> Tensor:
    """Gaussian mean under each window, as products with banded matrices."""
    down, along = (_band(n, window, maps.dtype, maps.device) for n in maps.shape[-2:])
    return down.mT @ (maps @ along)


def _spread(maps: Tensor, size: Sequence[int], window: int) -> Tensor:
    """The adjoint of `_blurred`, which led from images of `size` to `maps`."""
    down, along = (_band(n, window, maps.dtype, maps.device) for n in size)
    return down @ (maps @ along.mT)


def _on_cpu(images: Tensor) -> bool:
    return images.device.type == "cpu" and images.dtype == torch.float32


def _halved(images: Tensor) -> Tensor:
    if _on_cpu(images) and images.shape[-2] % 2 == images.shape[-1] % 2 == 0:
        return ms_ssim_cpu.halved(images)
    return avg_pool2d(images, 2, padding=[side % 2 for side in images.shape[-2:]])


# Constants are kept on the device: a copy to it at each call would forbid CUDA graphs.


@cache
def _gaussian(window: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(window,), on the CPU, sums to one."""
    x = torch.arange(window, dtype=torch.float64) - window // 2
    weight = torch.exp(-x.square() / (2 * SIGMA**2))
    return (weight / weight.sum()).to(dtype)


@cache
def _gaussian_on(window: int, device: torch.device) -> Tensor:
    return _gaussian(window).to(device)


@cache
def _band(side: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side, side - window + 1): column j holds the window that begins at j."""
    offset = torch.arange(side)[:, None] - torch.arange(side - window + 1)
    inside = (offset >= 0) & (offset < window)
    weight = _gaussian(window, torch.float64)[offset.clamp(0, window - 1)]
    return (weight * inside).to(device, dtype)


@cache
def _weights(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(WEIGHTS, dtype=dtype, device=device)
