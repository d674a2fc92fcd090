"""The mask's cross entropy and the distance of colours, and their gradients; see `losses.visual`.

Sums over an image are kept in parts that are added in a fixed order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # pixels of a program


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    one = torch.ones(1, 4, 4, device=device)
    value, sums = mask(one, 0.5 * one, one > 0, 1e-6)
    gradient = mask_gradient(one, 0.5 * one, one > 0, sums, one[0, 0, :1], 1e-6)
    gray, matrix = torch.ones(1, 3, 4, 4, device=device), torch.eye(3, device=device)
    apart, share = ab(0 * gray[:, :2].contiguous(), gray, one, matrix, 1.0)
    other = ab_gradient(gray[:, :2].contiguous(), gray, matrix, 1.0, share)
    found = torch.stack((value.sum(), gradient.sum(), apart.sum())).tolist()
    right = all(abs(a - b) < 0.001 for a, b in zip(found, (0.6931, -2.0, 0.0), strict=True))
    return right and bool(other.isfinite().all())


def mask(mask: Tensor, rendered: Tensor, valid: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As `visual.mask_loss`, (N,), and the sums that the gradient wants, (N, parts, 4).

    Args:
        mask, rendered: (N, H, W) float32. valid: (N, H, W) bool. All contiguous.
    """
    n, pixels = len(mask), mask[0].numel()
    parts = triton.cdiv(pixels, BLOCK)
    sums, value = mask.new_empty(n, parts, 4), mask.new_empty(n)
    with torch.cuda.device_of(mask):
        _mask_sums[n, parts](mask, rendered, valid.view(torch.uint8), sums, pixels, eps, BLOCK)
        _mask_value[n,](sums, value, parts, triton.next_power_of_2(parts))
    return value, sums


def mask_gradient(
    mask: Tensor, rendered: Tensor, valid: Tensor, sums: Tensor, weight: Tensor, eps: float
) -> Tensor:
    """In `rendered`; weight: (N,)."""
    n, pixels, parts = len(mask), mask[0].numel(), sums.shape[1]
    out = torch.empty_like(rendered)
    with torch.cuda.device_of(mask):
        _mask_gradient[n, parts](
            mask, rendered, valid.view(torch.uint8), sums, weight, out, pixels, parts, eps, BLOCK,
            triton.next_power_of_2(parts),
        )  # fmt: skip
    return out


def ab(
    source: Tensor, rgb: Tensor, mask: Tensor, to_xyz: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """As `visual.ab_loss` of `color.rgb_to_ab`, (N,), and what each pixel counts, (N,).

    Args:
        source: (N, 2, H, W). rgb: (N, 3, H, W). mask: (N, H, W). to_xyz: (3, 3). All float32,
            contiguous. scale: 1 / `color.AB_RANGE`.
    """
    n, pixels = len(mask), mask[0].numel()
    parts = triton.cdiv(pixels, BLOCK)
    sums = mask.new_empty(n, parts, 2)
    with torch.cuda.device_of(mask):
        _ab_sums[n, parts](source, rgb, mask, to_xyz, sums, pixels, scale, BLOCK)
    total, count = sums.sum(1).unbind(1)
    share = (count > 0) / count.clamp_min(1)
    return total * share, share


def ab_gradient(
    source: Tensor, rgb: Tensor, to_xyz: Tensor, scale: float, weight: Tensor
) -> Tensor:
    """In `rgb` of the sum of distances; weight: (N,)."""
    n, pixels = len(rgb), rgb[0, 0].numel()
    out = torch.empty_like(rgb)
    with torch.cuda.device_of(rgb):
        _ab_gradient[n, triton.cdiv(pixels, BLOCK)](
            source, rgb, to_xyz, weight, out, pixels, scale, BLOCK
        )
    return out


@triton.jit
def _pixels(pixels, B: tl.constexpr):
    """Where this program's pixels of its image lie, and which there are."""
    e = tl.program_id(1) * B + tl.arange(0, B)
    return tl.program_id(0).to(tl.int64) * pixels + e, e < pixels


@triton.jit
def _keep(sums, which, value, count: tl.constexpr):
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    tl.store(sums + program * count + which, tl.sum(value, 0))


@triton.jit
def _two_sides(mask, rendered, valid, at, there):
    m = tl.load(mask + at, mask=there, other=0.0)
    r = tl.load(rendered + at, mask=there, other=0.0)
    held = (tl.load(valid + at, mask=there, other=0) != 0) & there
    return m, r, held & (m >= 0.5), held & (m < 0.5)


@triton.jit(do_not_specialize=("pixels",))
def _mask_sums(mask, rendered, valid, sums, pixels, eps, B: tl.constexpr):
    at, there = _pixels(pixels, B)
    m, r, positive, negative = _two_sides(mask, rendered, valid, at, there)
    pull = m * tl.log(tl.maximum(r, eps))
    push = tl.log(tl.maximum(1 - r, eps))
    _keep(sums, 0, tl.where(positive, pull, 0.0), 4)
    _keep(sums, 1, tl.where(negative, push, 0.0), 4)
    _keep(sums, 2, positive.to(tl.float32), 4)
    _keep(sums, 3, negative.to(tl.float32), 4)


@triton.jit
def _added(sums, which, parts, P: tl.constexpr):
    """One of the four sums of this program's image."""
    part = tl.arange(0, P)
    at = sums + (tl.program_id(0) * parts + part) * 4 + which
    return tl.sum(tl.load(at, mask=part < parts, other=0.0), 0)


@triton.jit(do_not_specialize=("parts",))
def _mask_value(sums, out, parts, P: tl.constexpr):
    count = _added(sums, 2, parts, P)
    pull = _added(sums, 0, parts, P) / tl.maximum(count, 1.0)
    push = _added(sums, 1, parts, P) / tl.maximum(_added(sums, 3, parts, P), 1.0)
    tl.store(out + tl.program_id(0), tl.where(count > 0, -pull - push, 0.0))


@triton.jit(do_not_specialize=("pixels", "parts"))
def _mask_gradient(
    mask, rendered, valid, sums, weight, out, pixels, parts, eps,
    B: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    count = _added(sums, 2, parts, P)
    other = _added(sums, 3, parts, P)
    scale = tl.where(count > 0, tl.load(weight + tl.program_id(0)), 0.0)
    at, there = _pixels(pixels, B)
    m, r, positive, negative = _two_sides(mask, rendered, valid, at, there)
    pull = -m / tl.maximum(r, eps) / tl.maximum(count, 1.0)
    push = 1 / tl.maximum(1 - r, eps) / tl.maximum(other, 1.0)
    value = tl.where(positive & (r >= eps), pull, 0.0)
    value += tl.where(negative & (1 - r >= eps), push, 0.0)
    tl.store(out + at, scale * value, mask=there)


@triton.jit
def _linear(value):
    """Of sRGB, and the slope."""
    bright = value > 0.04045
    base = tl.where(bright, (value + 0.055) / 1.055, 1.0)
    linear = tl.where(bright, tl.exp(2.4 * tl.log(base)), value / 12.92)
    return linear, tl.where(bright, 2.4 * linear / (value + 0.055), 1 / 12.92)


@triton.jit
def _root(value):
    """CIE's cube root with its linear foot, and the slope."""
    high = value > 0.008856451679035631
    root = tl.exp(tl.log(tl.maximum(value, 0.008856451679035631)) / 3)
    slope = tl.where(high, root / (3 * tl.where(high, value, 1.0)), 7.787037037037035)
    return tl.where(high, root, value * 7.787037037037035 + 0.13793103448275862), slope


@triton.jit
def _differences(source, rgb, to_xyz, pixels, scale, B: tl.constexpr):
    """a and b of a rendering less the source's, and what the chain rule wants."""
    e = tl.program_id(1) * B + tl.arange(0, B)
    there = e < pixels
    image = tl.program_id(0).to(tl.int64)
    at = rgb + image * 3 * pixels + e
    r, slope_r = _linear(tl.load(at, mask=there, other=0.0))
    g, slope_g = _linear(tl.load(at + pixels, mask=there, other=0.0))
    b, slope_b = _linear(tl.load(at + 2 * pixels, mask=there, other=0.0))
    m = to_xyz
    x, slope_x = _root(tl.load(m) * r + tl.load(m + 1) * g + tl.load(m + 2) * b)
    y, slope_y = _root(tl.load(m + 3) * r + tl.load(m + 4) * g + tl.load(m + 5) * b)
    z, slope_z = _root(tl.load(m + 6) * r + tl.load(m + 7) * g + tl.load(m + 8) * b)
    at = source + image * 2 * pixels + e
    of_a = 500 * scale * (x - y) - tl.load(at, mask=there, other=0.0)
    of_b = 200 * scale * (y - z) - tl.load(at + pixels, mask=there, other=0.0)
    return of_a, of_b, slope_r, slope_g, slope_b, slope_x, slope_y, slope_z, there


@triton.jit(do_not_specialize=("pixels",))
def _ab_sums(source, rgb, mask, to_xyz, sums, pixels, scale, B: tl.constexpr):
    of_a, of_b, _, _, _, _, _, _, there = _differences(source, rgb, to_xyz, pixels, scale, B)
    at, _ = _pixels(pixels, B)
    held = tl.load(mask + at, mask=there, other=0.0) >= 0.5
    _keep(sums, 0, tl.where(there, tl.abs(of_a) + tl.abs(of_b), 0.0), 2)
    _keep(sums, 1, held.to(tl.float32), 2)


@triton.jit
def _sign(value):
    return tl.where(value > 0, 1.0, tl.where(value < 0, -1.0, 0.0))


@triton.jit(do_not_specialize=("pixels",))
def _ab_gradient(source, rgb, to_xyz, weight, out, pixels, scale, B: tl.constexpr):
    of_a, of_b, slope_r, slope_g, slope_b, slope_x, slope_y, slope_z, there = _differences(
        source, rgb, to_xyz, pixels, scale, B
    )
    w = tl.load(weight + tl.program_id(0)) * scale
    of_a = 500 * w * _sign(of_a)
    of_b = 200 * w * _sign(of_b)
    x = of_a * slope_x
    y = (of_b - of_a) * slope_y
    z = -of_b * slope_z
    m = to_xyz
    at = out + tl.program_id(0).to(tl.int64) * 3 * pixels + tl.program_id(1) * B + tl.arange(0, B)
    red = tl.load(m) * x + tl.load(m + 3) * y + tl.load(m + 6) * z
    green = tl.load(m + 1) * x + tl.load(m + 4) * y + tl.load(m + 7) * z
    blue = tl.load(m + 2) * x + tl.load(m + 5) * y + tl.load(m + 8) * z
    tl.store(at, red * slope_r, mask=there)
    tl.store(at + pixels, green * slope_g, mask=there)
    tl.store(at + 2 * pixels, blue * slope_b, mask=there)
