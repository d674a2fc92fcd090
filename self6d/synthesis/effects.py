"""Camera effects, one function each: (b, 3, h, w) float32 RGB in [0, 1] and (b,) parameters.

Every function treats its images independently and may leave [0, 1]; the caller clamps.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from self6d.layers.usable import usable

LUMA = (0.299, 0.587, 0.114)


@lru_cache(maxsize=64)
def _constant(values: tuple, device: torch.device) -> Tensor:
    """float32 on the device, copied there once: a copy would wait for the device."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def _per_image(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def grey(images: Tensor) -> Tensor:
    """(b, 1, h, w) luma, ITU-R BT.601."""
    return sum(w * images[:, i : i + 1] for i, w in enumerate(LUMA))  # type: ignore[return-value]


def exposure(images: Tensor, stops: Tensor) -> Tensor:
    """Light times 2^stops, in linear light (a 2.2 power law), highlights clipped."""
    return images * _per_image(2.0 ** (stops / 2.2))


def white_balance(images: Tensor, gains: Tensor) -> Tensor:
    """Channel gains (b, 3)."""
    return images * gains[:, :, None, None]


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """About the mean grey of each image."""
    return torch.lerp(grey(images).mean((1, 2, 3), keepdim=True), images, _per_image(factor))


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """0 gives grey, 1 the image."""
    return torch.lerp(grey(images), images, _per_image(factor))


def gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """images^exponent."""
    return images.clamp_min(1e-4) ** _per_image(exponent)


def vignette(images: Tensor, amount: Tensor) -> Tensor:
    """Darker towards the corners by `amount`, with the square of the distance."""
    h, w = images.shape[-2:]
    y = torch.linspace(-1, 1, h, device=images.device)[:, None]
    x = torch.linspace(-1, 1, w, device=images.device)
    return images * (1 - _per_image(amount) * ((x * x + y * y) / 2))


def sensor_noise(images: Tensor, read: Tensor, shot: Tensor, noise: Tensor) -> Tensor:
    """Gaussian read noise and signal-dependent shot noise: std^2 = read^2 + shot^2 * image.

    Args:
        noise: as images, standard normal.
    """
    read, shot = _per_image(read), _per_image(shot)
    return images + noise * (read**2 + shot**2 * images.clamp_min(0)).sqrt()


def bayer(images: Tensor) -> Tensor:
    """An RGGB colour filter array, then bilinear demosaicing: coloured edges, coarser chroma.

    Noise must be added before, as in a sensor; it then turns into coloured blotches.
    """
    h, w = images.shape[-2:]
    mask = torch.zeros(3, h, w, device=images.device)
    mask[0, 0::2, 0::2] = 1
    mask[1, 0::2, 1::2] = 1
    mask[1, 1::2, 0::2] = 1
    mask[2, 1::2, 1::2] = 1
    kernel = _constant(((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0)), images.device) / 4
    weight = kernel.expand(3, 1, 3, 3)
    values = conv2d(images * mask, weight, padding=1, groups=3)
    counts = conv2d(mask[None], weight, padding=1, groups=3)
    filled = values / counts.clamp_min(1e-6)
    return torch.where(mask > 0, images, filled)


def gaussian_kernels(sigma: Tensor, radius: int) -> Tensor:
    """(b,) pixels -> (b, 2 radius + 1), sum 1."""
    x = torch.arange(-radius, radius + 1, device=sigma.device, dtype=sigma.dtype)
    weights = torch.exp(-0.5 * (x / sigma[:, None].clamp_min(1e-3)) ** 2)
    return weights / weights.sum(1, keepdim=True)


def defocus(images: Tensor, sigma: Tensor, radius: int = 5) -> Tensor:
    """Gaussian blur of `sigma` (b,) pixels."""
    kernel = gaussian_kernels(sigma, radius)
    images = convolve(images, kernel[:, None, :])
    return convolve(images, kernel[:, :, None])


def motion_blur(images: Tensor, length: Tensor, angle: Tensor, radius: int = 6) -> Tensor:
    """Mean along a line of `length` (b,) pixels in direction `angle` (b,) radians."""
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    y, x = torch.meshgrid(x, x, indexing="ij")
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = (x * c + y * s).abs(), (y * c - x * s).abs()
    half = (length / 2)[:, None, None]
    kernel = (half + 0.5 - along).clamp(0, 1) * (1 - across).clamp_min(0)
    return convolve(images, kernel / kernel.sum((1, 2), keepdim=True))


def convolve(images: Tensor, weights: Tensor) -> Tensor:
    """Each image with its own weights (b, kh, kw), sides odd, edges repeated."""
    images, weights = images.contiguous(), weights.contiguous()
    kernels = usable("self6d.synthesis.gpu.blur_kernels", images, weights)
    if kernels is not None:
        return kernels.convolve(images, weights)
    b, c, h, w = images.shape
    kh, kw = weights.shape[1:]
    images = pad(images, (kw // 2, kw // 2, kh // 2, kh // 2), mode="replicate")
    weights = weights[:, None].expand(b, c, kh, kw).reshape(b * c, 1, kh, kw)
    flat = images.reshape(1, b * c, *images.shape[-2:])
    return conv2d(flat, weights, groups=b * c).view(b, c, h, w)


def sharpen(images: Tensor, amount: Tensor) -> Tensor:
    """Unsharp mask with a 3 x 3 Gaussian."""
    sigma = torch.full_like(amount, 0.9)
    return images + _per_image(amount) * (images - defocus(images, sigma, radius=2))


def resample(images: Tensor, factor: float) -> Tensor:
    """Down to 1 / factor of the size and up again."""
    size = images.shape[-2:]
    small = (max(8, round(size[0] / factor)), max(8, round(size[1] / factor)))
    images = interpolate(images, small, mode="bilinear", antialias=False)
    return interpolate(images, size, mode="bilinear")


@lru_cache(maxsize=8)
def _dct_matrix(device: torch.device) -> Tensor:
    """(64, 64) orthonormal DCT-II of 8 x 8 blocks, row by row: out = matrix @ block."""
    k = torch.arange(8, device=device, dtype=torch.float32)
    m = torch.cos(math.pi / 8 * (k + 0.5) * k[:, None]) * 0.5
    m[0] *= math.sqrt(0.5)
    return torch.kron(m, m)


_LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """The loss of a JPEG file: YCbCr, 8 x 8 DCT, quantisation (ITU-T T.81, annex K tables).

    Args:
        quality: (b,) 1 to 100, as libjpeg scales its tables. Chroma is not subsampled.
    """
    h, w = images.shape[-2:]
    device = images.device
    padded = pad(images, (0, -w % 8, 0, -h % 8), mode="replicate")
    ycc = torch.einsum("ij,bjhw->bihw", _constant(_TO_YCC, device), padded * 255.0)
    ycc[:, 0] -= 128.0
    # a block's 64 pixels side by side: one tall product of matrices
    blocks = ycc.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    dct = _dct_matrix(device)

    scale = torch.where(quality < 50, 5000.0 / quality.clamp_min(1), 200.0 - 2.0 * quality)
    tables = _constant((_LUMA_TABLE, _CHROMA_TABLE, _CHROMA_TABLE), device)
    tables = (tables * scale[:, None, None] / 100.0).round().clamp(1, 255)[:, :, None, None]
    coefficients = (blocks.flatten(4) @ dct.T).div_(tables).round_().mul_(tables)

    blocks = (coefficients @ dct).unflatten(4, (8, 8))
    ycc = blocks.transpose(3, 4).reshape(padded.shape)
    ycc[:, 0] += 128.0
    rgb = torch.einsum("ij,bjhw->bihw", _constant(_FROM_YCC, device), ycc) / 255.0
    return rgb[..., :h, :w]


def cutout(images: Tensor, boxes: Tensor, fill: Tensor) -> Tensor:
    """Coarse dropout.

    Args:
        boxes: (b, k, 4), x0 y0 x1 y1 in [0, 1] of the image.
        fill: (b, 3).
    """
    h, w = images.shape[-2:]
    y = (torch.arange(h, device=images.device) + 0.5) / h
    x = (torch.arange(w, device=images.device) + 0.5) / w
    in_x = (x >= boxes[..., 0, None]) & (x < boxes[..., 2, None])
    in_y = (y >= boxes[..., 1, None]) & (y < boxes[..., 3, None])
    # a product of outer products: any box covers the pixel
    covered = torch.einsum("bky,bkx->byx", in_y.float(), in_x.float()) > 0
    return torch.where(covered[:, None], fill[:, :, None, None], images)
