"""Numba kernels of the mask term and the ab term, equations (4) and (5), and their gradients.

Each does in one pass what takes torch ten to twenty. Powers and logarithms are polynomials without
branches, so that the compiler turns the loops into vector instructions; the functions have the
names and arguments of `losses.gpu.visual_kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from self6d.numba_tools import LANES, exp_near_zero, u64, vector
from self6d.workers import run_parallel

f32, i32 = np.float32, np.int32
PART = 16384  # pixels of an image that a thread takes at once
GROUP = 64  # pixels looked at together: what is black in all of them needs no powers
BRIGHT, DELTA = f32(0.04045), 6 / 29  # where the curves of sRGB and of L*a*b* become lines
DARK_SLOPE, FOOT_SLOPE, FOOT = f32(1 / 12.92), f32(1 / (3 * DELTA**2)), f32(4 / 29)
CUBE = f32(DELTA**3)


def mask(mask: Tensor, rendered: Tensor, valid: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As `visual.mask_loss`, (N,), and the sums that the gradient wants, (N, 4).

    Args:
        mask, rendered: (N, H, W) float32. valid: (N, H, W) bool. All contiguous.
    """
    m, r, v = (x.flatten(1).numpy() for x in (mask, rendered, valid))
    sums = _sums(4, m.shape, lambda i, own, acc: mask_part(m[i], r[i], v[i], *own, f32(eps), acc))
    pull, positive, push, negative = sums.unbind(1)
    value = pull / positive.clamp_min(1) + push / negative.clamp_min(1)
    return torch.where(positive > 0, value, torch.zeros_like(value)), sums


def mask_gradient(
    mask: Tensor, rendered: Tensor, valid: Tensor, sums: Tensor, weight: Tensor, eps: float
) -> Tensor:
    """In `rendered`; weight: (N,)."""
    found = torch.empty_like(rendered)
    m, r, v, out = (x.flatten(1).numpy() for x in (mask, rendered, valid, found))
    counted = weight * (sums[:, 1] > 0)
    scale = torch.stack((counted / sums[:, 1].clamp_min(1), counted / sums[:, 3].clamp_min(1)), 1)
    by = scale.numpy()
    run_parallel(lambda i: mask_slopes(m[i], r[i], v[i], *by[i], f32(eps), out[i]), len(m))
    return found


def ab(
    source: Tensor, rgb: Tensor, mask: Tensor, to_xyz: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """As `visual.ab_loss` of `color.rgb_to_ab`, (N,), and what each pixel counts, (N,).

    Args:
        source: (N, 2, H, W). rgb: (N, 3, H, W). mask: (N, H, W). to_xyz: (3, 3). All float32,
            contiguous. scale: 1 / `color.AB_RANGE`.
    """
    s, c = source.flatten(2).numpy(), rgb.flatten(2).numpy()
    m, matrix = mask.flatten(1).numpy(), to_xyz.numpy()
    sums = _sums(
        2, m.shape, lambda i, own, acc: ab_part(s[i], c[i], m[i], matrix, f32(scale), *own, acc)
    )
    total, count = sums.unbind(1)
    share = (count > 0) / count.clamp_min(1)
    return total * share, share


def ab_gradient(
    source: Tensor, rgb: Tensor, to_xyz: Tensor, scale: float, weight: Tensor
) -> Tensor:
    """In `rgb` of the sum of distances; weight: (N,)."""
    found = torch.empty_like(rgb)
    s, c, out = (x.flatten(2).numpy() for x in (source, rgb, found))
    matrix, by = to_xyz.numpy(), weight.numpy()
    run_parallel(lambda i: ab_slopes(s[i], c[i], matrix, f32(scale), by[i], out[i]), len(s))
    return found


def _sums(count: int, shape: tuple[int, int], part: Callable[..., None]) -> Tensor:
    """(N, count): what `part` adds up over the pixels of each image, a part of them at a time."""
    n, pixels = shape
    parts = -(-pixels // PART)
    lanes = np.zeros((n * parts, count, LANES), f32)

    def work(k: int) -> None:
        i, p = divmod(k, parts)
        part(i, (p * PART, min((p + 1) * PART, pixels)), lanes[k])

    run_parallel(work, n * parts)
    return torch.from_numpy(lanes.reshape(n, parts, count, LANES).sum((1, 3)))


@vector
def log2(x):
    """Of x > 0, float32, not subnormal; absolute error under 1e-6."""
    bits = f32(x).view(np.int32)
    power = (bits - i32(0x3F3504F3)) >> i32(23)  # what is left lies in [1 / sqrt 2, sqrt 2)
    m = i32(bits - (power << i32(23))).view(np.float32)
    s = (m - f32(1)) / (m + f32(1))
    q = s * s
    p = f32(1 / 9)
    p = p * q + f32(1 / 7)
    p = p * q + f32(1 / 5)
    p = p * q + f32(1 / 3)
    return f32(power) + s * f32(2 / math.log(2)) * (p * q + f32(1))


@vector
def exp2(x):
    """Of |x| < 100, float32; relative error under 2e-7."""
    whole = i32(x + f32(128.5)) - i32(128)
    r = (x - f32(whole)) * f32(math.log(2))
    return exp_near_zero(r) * i32((whole + i32(127)) << i32(23)).view(np.float32)


@vector
def linear(c):
    """sRGB to linear light."""
    bright = exp2(f32(2.4) * log2((max(c, BRIGHT) + f32(0.055)) * f32(1 / 1.055)))
    return bright if c > BRIGHT else c * DARK_SLOPE


@vector
def linear_slope(c, light):
    return f32(2.4) * light / (c + f32(0.055)) if c > BRIGHT else DARK_SLOPE


@vector
def response(x):
    """CIE's cube root with a linear foot."""
    root = exp2(log2(max(x, CUBE)) * f32(1 / 3))
    return root if x > CUBE else x * FOOT_SLOPE + FOOT


@vector
def response_slope(x, root):
    return root / (f32(3) * x) if x > CUBE else FOOT_SLOPE


@vector
def sign(x):
    return f32(1) if x > f32(0) else (f32(-1) if x < f32(0) else f32(0))


@vector
def mask_part(m, r, valid, first, end, eps, acc):
    """Add up both sides of the cross entropy and their pixels: acc (4, LANES).

    Its lanes come as an array, as loops of a length that the compiler knows are unrolled, not
    vectorised.
    """
    zero, one, by = f32(0), f32(1), f32(-math.log(2))
    for start in range(first, end, LANES):
        for lane in range(min(acc.shape[1], end - start)):
            n, at = u64(lane), u64(start) + u64(lane)
            inside, on = m[at] >= f32(0.5), valid[at]
            value = r[at] if inside else one - r[at]
            entropy = by * log2(max(value, eps))
            acc[0, n] += m[at] * entropy if inside & on else zero
            acc[1, n] += one if inside & on else zero
            acc[2, n] += entropy if on & (not inside) else zero
            acc[3, n] += one if on & (not inside) else zero


@vector
def mask_slopes(m, r, valid, pull, push, eps, out):
    """Gradient in r; pull, push: what a pixel of either side counts."""
    one, zero = f32(1), f32(0)
    for n in range(len(m)):
        at = u64(n)
        inside = m[at] >= f32(0.5)
        value = r[at] if inside else one - r[at]
        slope = (-m[at] * pull if inside else push) / max(value, eps)
        out[at] = slope if valid[at] & (value >= eps) else zero


@vector
def is_black(rgb, first, end):
    bits = i32(0)
    for n in range(first, end):
        at = u64(n)
        for channel in range(3):
            bits |= f32(rgb[channel, at]).view(np.int32)
    return bits == 0


@vector
def ab_part(source, rgb, mask, matrix, scale, first, end, acc):
    """Add up the distances and the pixels of the mask: acc (2, LANES)."""
    xr, xg, xb = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    yr, yg, yb = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    zr, zg, zb = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    by_a, by_b = f32(500) * scale, f32(200) * scale
    far = np.zeros(GROUP, f32)
    for begin in range(first, end, GROUP):
        count = min(GROUP, end - begin)
        if is_black(rgb, begin, begin + count):
            for n in range(count):
                at = u64(begin) + u64(n)
                far[u64(n)] = abs(source[0, at]) + abs(source[1, at])
        else:
            for n in range(count):
                at = u64(begin) + u64(n)
                r, g, b = linear(rgb[0, at]), linear(rgb[1, at]), linear(rgb[2, at])
                x = response(xr * r + xg * g + xb * b)
                y = response(yr * r + yg * g + yb * b)
                z = response(zr * r + zg * g + zb * b)
                off_a = abs(source[0, at] - by_a * (x - y))
                off_b = abs(source[1, at] - by_b * (y - z))
                far[u64(n)] = off_a + off_b
        for start in range(0, count, LANES):
            for lane in range(min(acc.shape[1], count - start)):
                at = u64(start) + u64(lane)
                acc[0, u64(lane)] += far[at]
                acc[1, u64(lane)] += f32(mask[u64(begin) + at] >= f32(0.5))


@vector
def ab_slopes(source, rgb, matrix, scale, weight, out):
    """Gradient in rgb (3, pixels) of `weight` times the sum of distances."""
    xr, xg, xb = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    yr, yg, yb = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    zr, zg, zb = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    by_a, by_b = f32(500) * scale, f32(200) * scale
    pixels, foot = source.shape[1], FOOT_SLOPE * DARK_SLOPE
    for begin in range(0, pixels, GROUP):
        stop = min(begin + GROUP, pixels)
        if is_black(rgb, begin, stop):
            for n in range(begin, stop):
                at = u64(n)
                ga = -by_a * weight * foot * sign(source[0, at])
                gb = -by_b * weight * foot * sign(source[1, at])
                out[0, at] = xr * ga + yr * (gb - ga) - zr * gb
                out[1, at] = xg * ga + yg * (gb - ga) - zg * gb
                out[2, at] = xb * ga + yb * (gb - ga) - zb * gb
            continue
        for n in range(begin, stop):
            at = u64(n)
            cr, cg, cb = rgb[0, at], rgb[1, at], rgb[2, at]
            r, g, b = linear(cr), linear(cg), linear(cb)
            x, y, z = xr * r + xg * g + xb * b, yr * r + yg * g + yb * b, zr * r + zg * g + zb * b
            fx, fy, fz = response(x), response(y), response(z)
            ga = -by_a * weight * sign(source[0, at] - by_a * (fx - fy))
            gb = -by_b * weight * sign(source[1, at] - by_b * (fy - fz))
            gx, gy = ga * response_slope(x, fx), (gb - ga) * response_slope(y, fy)
            gz = -gb * response_slope(z, fz)
            out[0, at] = (xr * gx + yr * gy + zr * gz) * linear_slope(cr, r)
            out[1, at] = (xg * gx + yg * gy + zg * gz) * linear_slope(cg, g)
            out[2, at] = (xb * gx + yb * gy + zb * gz) * linear_slope(cb, b)
