"""Kernels of `DepthwiseConv` in Triton: x (N, C, H, W), channels last, C a multiple of 8.

A program takes some pixels, of all images in a row, and some channels. Sums over pixels are kept in
parts, added in a fixed order: the same inputs give the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = (16, 32, 2)  # pixels, channels, warps
SUMMED = (32, 32, 4)  # of a tile whose products are summed
PROGRAMS = 2048  # about so many sum
ROWS = 4  # of a result, made by a program of `_forward`


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    x = torch.ones(1, 16, 5, 5, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    right = []
    for side, stride in ((3, 1), (3, 2), (5, 1), (5, 2)):
        weight, padding = torch.ones(16, 1, side, side, device=device), (side // 2, side // 2)
        size = (-(-5 // stride), -(-5 // stride))
        y = forward(x, weight, stride, padding, size)
        wanted = y.float().square().sum()  # y A 1, A being the convolution
        into = input_gradient(y, weight, stride, padding, x).float().sum()
        of_weight = weight_gradient(y, x, weight, stride, padding).sum()
        right += [(into / wanted - 1).abs() < 0.01, (of_weight / wanted - 1).abs() < 0.01]
    return bool(torch.stack(right).all())


def forward(
    x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Each channel convolved with its own weight (C, 1, k, k), as x.

    Args:
        padding: zeros above and to the left; below and to the right as many as `size` takes.
        size: (height, width) of the result.
    """
    y = _empty(x, len(x), size)
    _convolve(x, weight, y, stride, padding, turned=0)
    return y


def input_gradient(
    gradient: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], like: Tensor
) -> Tensor:
    """In x, of the shape and dtype of `like`."""
    (n, c, h, w), side = like.shape, weight.shape[2]
    out = _empty(like, n, (h, w))
    if stride == 1:  # the same with the weight turned round
        back = (side - 1 - padding[0], side - 1 - padding[1])
        _convolve(gradient, weight, out, 1, back, turned=1)
        return out
    count = n * triton.cdiv(h, stride) * triton.cdiv(w, stride)
    with torch.cuda.device_of(gradient):
        _spread[(*_grid(count, c), stride * stride)](
            gradient, _by_taps(weight), out, count, h, w, *gradient.shape[2:], *padding, c // 8,
            side, stride, triton.cdiv(side, stride), *TILE[:2], num_warps=TILE[2],
        )  # fmt: skip
    return out


def weight_gradient(
    gradient: Tensor, x: Tensor, like: Tensor, stride: int, padding: tuple[int, int]
) -> Tensor:
    """In the weight, of the shape and dtype of `like`."""
    (n, c, h, w), side, size = x.shape, like.shape[2], gradient.shape[2:]
    tile, channels, warps = SUMMED
    count, columns = n * size[0] * size[1], triton.cdiv(c, channels)
    rows = side if side > 3 else 1  # programs of a share: one a row of the weight, or one for all
    shares = max(1, min(triton.cdiv(count, tile), PROGRAMS // (columns * rows)))
    share = triton.cdiv(triton.cdiv(count, shares), tile) * tile
    shares = triton.cdiv(count, share)
    sums = torch.empty(shares, side, side, c, device=x.device)
    with torch.cuda.device_of(x):
        _products[(rows, columns, shares)](
            gradient, x, sums, count, share, *size, h, w, stride, *padding, c // 8,
            side, tile, channels, num_warps=warps,
        )  # fmt: skip
    return sums.sum(0).permute(2, 0, 1)[:, None].to(like.dtype)


def _convolve(
    x: Tensor, weight: Tensor, y: Tensor, stride: int, padding: tuple[int, int], *, turned: int
) -> None:
    """Into y; turned (1): with the weight turned round."""
    n, c, h, w = x.shape
    high, wide = y.shape[2:]
    count = n * triton.cdiv(high, ROWS) * wide
    with torch.cuda.device_of(x):
        _forward[_grid(count, c)](
            x, _by_taps(weight), y, count, high, wide, h, w, *padding, c // 8, turned,
            weight.shape[2], stride, *TILE[:2], num_warps=TILE[2],
        )  # fmt: skip


def _empty(like: Tensor, n: int, size: tuple[int, int]) -> Tensor:
    return torch.empty(
        (n, like.shape[1], *size),
        dtype=like.dtype, device=like.device, memory_format=torch.channels_last,
    )  # fmt: skip


def _by_taps(weight: Tensor) -> Tensor:
    """(k k, C), of which a program reads whole rows."""
    return weight.flatten(1).t().contiguous()


def _grid(pixels: int, channels: int) -> tuple[int, int]:
    return triton.cdiv(pixels, TILE[0]), triton.cdiv(channels, TILE[1])


@triton.jit
def _place(start, count, high, wide, R: tl.constexpr):
    """(R,) image, row and column of pixels of a result (high, wide), and which there are."""
    pixel = start + tl.arange(0, R)
    image = pixel // (high * wide)
    left = pixel - image * high * wide
    return image, left // wide, left % wide, pixel < count


@triton.jit
def _times(total, value, w0, w1, w2, w3, w4, tap: tl.constexpr):
    """With the product by that weight added, if there is one."""
    if tap == 0:
        total += value * w0
    elif tap == 1:
        total += value * w1
    elif tap == 2:
        total += value * w2
    elif tap == 3:
        total += value * w3
    elif tap == 4:
        total += value * w4
    return total


@triton.jit
def _weight(weight, row: tl.constexpr, tap: tl.constexpr, turned, channels, column, known,
            K: tl.constexpr):  # fmt: skip
    """(1, W): of a tap; one that is not there is that of the last row."""
    number = (row if row < K else K - 1) * K + tap
    number += turned * (K * K - 1 - 2 * number)
    factor = tl.load(weight + number * channels + column, mask=known, other=0.0)
    return factor.to(tl.float32)[None, :]


@triton.jit
def _put(y, total, image, row, col, there, high, wide, channels, column, known):
    at = ((image * high + row) * wide + col).to(tl.int64)[:, None] * channels + column[None, :]
    there = there & (row < high)
    tl.store(y + at, total.to(y.dtype.element_ty), mask=there[:, None] & known[None, :])


@triton.jit(do_not_specialize=(
    "count", "high", "wide", "h", "w", "top", "left", "eighths", "turned",
))  # fmt: skip
def _forward(
    x, weight, y, count, high, wide, h, w, top, left, eighths, turned,
    K: tl.constexpr, S: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Of four rows, which share most of the rows they are of. Turned: with the last tap first."""
    channels = eighths * 8
    column = tl.program_id(1) * W + tl.arange(0, W)
    known = column < channels
    image, block, col, there = _place(tl.program_id(0) * R, count, (high + 3) // 4, wide, R)
    a = tl.zeros((R, W), tl.float32)
    b, c, d = a, a, a
    for tap in tl.static_range(K):
        w0 = _weight(weight, 0, tap, turned, channels, column, known, K)
        w1 = _weight(weight, 1, tap, turned, channels, column, known, K)
        w2 = _weight(weight, 2, tap, turned, channels, column, known, K)
        w3 = _weight(weight, 3, tap, turned, channels, column, known, K)
        w4 = _weight(weight, 4, tap, turned, channels, column, known, K)
        u = col * S - left + tap
        across = there & (u >= 0) & (u < w)
        for row in tl.static_range(3 * S + K):
            v = block * (4 * S) - top + row
            inside = across & (v >= 0) & (v < h)
            at = ((image * h + v) * w + u).to(tl.int64)[:, None] * channels + column[None, :]
            value = tl.load(x + at, mask=inside[:, None] & known[None, :], other=0.0)
            value = value.to(tl.float32)
            a = _times(a, value, w0, w1, w2, w3, w4, row if row < K else -1)
            b = _times(b, value, w0, w1, w2, w3, w4, row - S if row - S < K else -1)
            c = _times(c, value, w0, w1, w2, w3, w4, row - 2 * S if row - 2 * S < K else -1)
            d = _times(d, value, w0, w1, w2, w3, w4, row - 3 * S if row - 3 * S < K else -1)
    _put(y, a, image, 4 * block, col, there, high, wide, channels, column, known)
    _put(y, b, image, 4 * block + 1, col, there, high, wide, channels, column, known)
    _put(y, c, image, 4 * block + 2, col, there, high, wide, channels, column, known)
    _put(y, d, image, 4 * block + 3, col, there, high, wide, channels, column, known)


@triton.jit(do_not_specialize=("count", "h", "w", "high", "wide", "top", "left", "eighths"))
def _spread(
    gradient, weight, out, count, h, w, high, wide, top, left, eighths,
    K: tl.constexpr, S: tl.constexpr, T: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """What pixels of x get from results (high, wide), of which every S-th place has one.

    A program's pixels are S apart each way: all get it by the same taps, T x T at most.
    """
    channels = eighths * 8
    column = tl.program_id(1) * W + tl.arange(0, W)
    known = column < channels
    down, across = tl.program_id(2) // S, tl.program_id(2) % S
    deep, broad = (h + S - 1) // S, (w + S - 1) // S
    image, row, col, there = _place(tl.program_id(0) * R, count, deep, broad, R)
    first, nearest = (down + top) % S, (across + left) % S  # tap of a row, of a column
    total = tl.zeros((R, W), tl.float32)
    for step in tl.static_range(T * T):
        tap_row, tap_column = first + step // T * S, nearest + step % T * S
        v, u = row + (down + top - tap_row) // S, col + (across + left - tap_column) // S
        inside = there & (v >= 0) & (u >= 0) & (v < high) & (u < wide)
        inside = inside & (tap_row < K) & (tap_column < K)
        at = ((image * high + v) * wide + u).to(tl.int64)[:, None] * channels + column[None, :]
        g = tl.load(gradient + at, mask=inside[:, None] & known[None, :], other=0.0)
        tap = tap_row * K + tap_column
        factor = tl.load(weight + tap * channels + column, mask=known & (tap < K * K), other=0.0)
        total += g.to(tl.float32) * factor.to(tl.float32)[None, :]
    v, u = row * S + down, col * S + across
    there = there & (v < h) & (u < w)
    at = ((image * h + v) * w + u).to(tl.int64)[:, None] * channels + column[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=there[:, None] & known[None, :])


@triton.jit
def _row(
    x, gradient, first, second, third, image, v, u, there, h, w, channels, column, known,
    TAPS: tl.constexpr,
):  # fmt: skip
    """Sums with the products added of so many pixels from column u on in row v of x."""
    there = there & (v >= 0) & (v < h)
    at = ((image * h + v) * w + u).to(tl.int64)[:, None] * channels + column[None, :]
    for tap in tl.static_range(TAPS):
        inside = there & (u + tap >= 0) & (u + tap < w)
        value = tl.load(x + at + tap * channels, mask=inside[:, None] & known[None, :], other=0.0)
        product = value.to(tl.float32) * gradient
        if tap == 0:
            first += product
        elif tap == 1:
            second += product
        else:
            third += product
    return first, second, third


@triton.jit
def _store(sums, part, tap, total, channels, column, known, K: tl.constexpr):
    at = sums + (part * K * K + tap) * channels + column
    tl.store(at, tl.sum(total, 0), mask=known)


@triton.jit(do_not_specialize=(
    "count", "share", "high", "wide", "h", "w", "stride", "top", "left", "eighths",
))  # fmt: skip
def _products(
    gradient, x, sums, count, share, high, wide, h, w, stride, top, left, eighths,
    K: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Sums over a share of the pixels, for all taps if K is 3, for those of one row if it is 5."""
    channels = eighths * 8
    column = tl.program_id(1) * W + tl.arange(0, W)
    known = column < channels
    tap_row, part = tl.program_id(0), tl.program_id(2)
    first = part * share
    last = tl.minimum(first + share, count)
    a0 = tl.zeros((R, W), tl.float32)
    a1, a2, b0, b1, b2, c0, c1, c2 = a0, a0, a0, a0, a0, a0, a0, a0
    for start in range(first, last, R):
        image, row, col, there = _place(start, last, high, wide, R)
        pixel = start + tl.arange(0, R)
        at = pixel.to(tl.int64)[:, None] * channels + column[None, :]
        g = tl.load(gradient + at, mask=there[:, None] & known[None, :], other=0.0).to(tl.float32)
        v, u = row * stride - top + tap_row, col * stride - left
        a0, a1, a2 = _row(
            x, g, a0, a1, a2, image, v, u, there, h, w, channels, column, known, 3
        )  # fmt: skip
        if K == 3:
            b0, b1, b2 = _row(
                x, g, b0, b1, b2, image, v + 1, u, there, h, w, channels, column, known, 3
            )  # fmt: skip
            c0, c1, c2 = _row(
                x, g, c0, c1, c2, image, v + 2, u, there, h, w, channels, column, known, 3
            )  # fmt: skip
        else:  # the last two of five
            b0, b1, b2 = _row(
                x, g, b0, b1, b2, image, v, u + 3, there, h, w, channels, column, known, 2
            )  # fmt: skip
    at = tap_row * K
    _store(sums, part, at, a0, channels, column, known, K)
    _store(sums, part, at + 1, a1, channels, column, known, K)
    _store(sums, part, at + 2, a2, channels, column, known, K)
    _store(sums, part, at + 3, b0, channels, column, known, K)
    _store(sums, part, at + 4, b1, channels, column, known, K)
    if K == 3:
        _store(sums, part, 5, b2, channels, column, known, K)
        _store(sums, part, 6, c0, channels, column, known, K)
        _store(sums, part, 7, c1, channels, column, known, K)
        _store(sums, part, 8, c2, channels, column, known, K)
