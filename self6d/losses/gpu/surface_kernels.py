"""Chamfer distance of sensor and rendered depth, and its gradient in the latter.

As `geometric.sample_surface` of both and `geometric.chamfer_distance`; points are (N, 2, 3, P), the
sensor's before the model's, and so are sides: from a point of the sensor to the nearest of the
model, and back.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 16, 128  # points of a tile, against each other
BITS = 26  # of the number of a map's pixels, at most


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    depth, K = torch.ones(1, 4, 4, device=device), torch.eye(3, device=device)[None]
    jitter, there = torch.full((), 0.5, device=device), depth > 0
    for trim, noise in ((0.0, 0.0), (0.1, 0.001)):
        value, kept = distance(depth, there, 2 * depth, there, K, jitter, 1024, trim, noise)
        if not bool(gradient(kept, value, (4, 4)).isfinite().all()) or not float(value) > 0.5:
            return False
    return True


def distance(
    sensor: Tensor, held: Tensor, rendered: Tensor, shown: Tensor, K: Tensor, jitter: Tensor,
    count: int, trim: float, noise_at_1m: float,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """(N,), and what the gradient wants.

    Args:
        sensor, rendered: (N, H, W), metres. held, shown: (N, H, W) bool, where they count.
        K: (N, 3, 3), pixels. jitter: 0-dim. All else float32; contiguous.
        count: most points a side, P.
    """
    n, height, width = sensor.shape
    pixels = height * width
    rank = torch.stack((held & (sensor > 0), shown & (rendered > 0)), 1)
    rank = rank.flatten(2).cumsum(2, dtype=torch.int32)
    points, apart = sensor.new_empty(n, 2, 3, count), sensor.new_empty(n, 2, count)
    pixel, nearest = (torch.empty_like(apart, dtype=torch.int32) for _ in range(2))
    weight, sides = torch.empty_like(apart), sensor.new_empty(n, 2)
    block = triton.next_power_of_2(count)
    with torch.cuda.device_of(sensor):
        _sample[n, 2, triton.cdiv(count, COLUMNS)](
            rank, sensor, rendered, K, jitter, points, pixel, pixels, width, count,
            BITS, COLUMNS,
        )  # fmt: skip
        _nearest[n, 2, triton.cdiv(count, ROWS)](
            rank, points, nearest, apart, pixels, count, ROWS, COLUMNS
        )
        _side[n, 2](
            rank, points, apart, weight, sides, pixels, count, 1 - trim, noise_at_1m,
            trim > 0, noise_at_1m > 0, block,
        )  # fmt: skip
    return sides.sum(1), (points, pixel, apart, nearest, weight)


def gradient(kept: tuple[Tensor, ...], weight: Tensor, size: tuple[int, int]) -> Tensor:
    """In the rendered depth, (N, H, W); `kept` is of `distance`, weight (N,)."""
    points, pixel, apart, nearest, weights = kept
    n, count = len(points), points.shape[-1]
    out = points.new_zeros(n, *size)
    with torch.cuda.device_of(points):
        _back[n, 2, triton.cdiv(count, COLUMNS)](
            points, pixel, apart, nearest, weights, weight, out, size[0] * size[1], count, COLUMNS
        )
    return out


@triton.jit
def _count(rank, side, pixels, count):
    """How many points a side of this program's image has."""
    at = (tl.program_id(0).to(tl.int64) * 2 + side + 1) * pixels - 1
    return tl.minimum(tl.load(rank + at), count)


@triton.jit(do_not_specialize=("pixels", "width", "count"))
def _sample(
    rank, sensor, rendered, K, jitter, points, pixel, pixels, width, count,
    BITS: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    side = tl.program_id(1)
    slot = tl.program_id(2) * B + tl.arange(0, B)
    there = slot < count
    own = rank + (image * 2 + side) * pixels
    total = tl.load(own + pixels - 1)
    stride = (slot.to(tl.float32) + tl.load(jitter)) * (total.to(tl.float32) / count)
    last = tl.maximum(total - 1, 0)
    wanted = tl.where(total <= count, slot, tl.minimum(stride.to(tl.int32), last)) + 1
    low = tl.zeros((B,), tl.int32)
    high = tl.zeros((B,), tl.int32) + pixels
    for _ in range(BITS):  # the first pixel whose rank is not below
        middle = (low + high) // 2
        below = (low < high) & (tl.load(own + tl.minimum(middle, pixels - 1)) < wanted)
        high = tl.where(below, high, tl.where(low < high, middle, high))
        low = tl.where(below, middle + 1, low)
    at = tl.minimum(low, pixels - 1)
    z = tl.load(sensor + image * pixels + at, mask=there & (side == 0), other=0.0)
    z += tl.load(rendered + image * pixels + at, mask=there & (side == 1), other=0.0)
    k = K + image * 9
    y = ((at // width).to(tl.float32) + 0.5 - tl.load(k + 5)) / tl.load(k + 4)
    x = (at % width).to(tl.float32) + 0.5 - tl.load(k + 2) - tl.load(k + 1) * y
    to = points + (image * 2 + side) * 3 * count + slot
    tl.store(to, x / tl.load(k) * z, mask=there)
    tl.store(to + count, y * z, mask=there)
    tl.store(to + 2 * count, z, mask=there)
    tl.store(pixel + (image * 2 + side) * count + slot, at, mask=there)


@triton.jit
def _three(points, side, at, there, count):
    """x, y, z of points of this program's image."""
    first = points + (tl.program_id(0).to(tl.int64) * 2 + side) * 3 * count + at
    x = tl.load(first, mask=there, other=0.0)
    y = tl.load(first + count, mask=there, other=0.0)
    return x, y, tl.load(first + 2 * count, mask=there, other=0.0)


@triton.jit(do_not_specialize=("pixels", "count"))
def _nearest(
    rank, points, nearest, apart, pixels, count, R: tl.constexpr, C: tl.constexpr
):  # fmt: skip
    """Of each point the nearest one of the other side, and how far it is."""
    side = tl.program_id(1)
    row = tl.program_id(2) * R + tl.arange(0, R)
    there = row < count
    x, y, z = _three(points, side, row, there, count)
    best = tl.zeros((R,), tl.float32) + float("inf")
    place = tl.zeros((R,), tl.int32)
    others = _count(rank, 1 - side, pixels, count)
    for start in range(0, others, C):
        column = start + tl.arange(0, C)
        a, b, c = _three(points, 1 - side, column, column < others, count)
        dx = x[:, None] - a[None, :]
        dy = y[:, None] - b[None, :]
        dz = z[:, None] - c[None, :]
        square = dx * dx + dy * dy + dz * dz
        square = tl.where((column < others)[None, :], square, float("inf"))
        least = tl.min(square, 1)
        at = tl.argmin(square, 1) + start
        place = tl.where(least < best, at, place)
        best = tl.minimum(least, best)
    to = (tl.program_id(0).to(tl.int64) * 2 + side) * count + row
    tl.store(nearest + to, place, mask=there)
    tl.store(apart + to, tl.sqrt(best), mask=there)


@triton.jit(do_not_specialize=("pixels", "count"))
def _side(
    rank, points, apart, weight, sides, pixels, count, share, noise_at_1m,
    TRIM: tl.constexpr, NOISE: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """Mean distance of a side, and what each point's distance counts for it."""
    side = tl.program_id(1)
    seen = _count(rank, 0, pixels, count)
    drawn = _count(rank, 1, pixels, count)
    own = tl.where(side == 0, seen, drawn)
    slot = tl.arange(0, B)
    at = (tl.program_id(0).to(tl.int64) * 2 + side) * count + slot
    d = tl.load(apart + at, mask=slot < own, other=float("inf"))
    kept = slot < own
    if TRIM:
        last = tl.maximum(tl.ceil(own.to(tl.float32) * share).to(tl.int32) - 1, 0)
        limit = tl.sum(tl.where(slot == last, tl.sort(d), 0.0), 0)
        kept = kept & (d <= limit)
    value = d
    slope = tl.zeros((B,), tl.float32) + 1.0
    if NOISE:
        _, _, z = _three(points, 0, slot, slot < seen, count)
        far = tl.sum(z, 0) / tl.maximum(seen, 1)
        noise = noise_at_1m * far * far
        root = tl.sqrt(d * d + noise * noise)
        value = root - noise
        slope = d / tl.maximum(root, 1e-20)
    number = tl.sum(kept.to(tl.float32), 0)
    scale = tl.where((seen > 0) & (drawn > 0), 1 / tl.maximum(number, 1.0), 0.0)
    # where the other side has none, distances are infinite
    kept = kept & (d < float("inf"))
    tl.store(weight + at, tl.where(kept, slope * scale, 0.0), mask=slot < count)
    total = tl.sum(tl.where(kept, value, 0.0), 0) * scale
    tl.store(sides + tl.program_id(0) * 2 + side, total)


@triton.jit(do_not_specialize=("pixels", "count"))
def _back(
    points, pixel, apart, nearest, weights, weight, out, pixels, count, B: tl.constexpr
):  # fmt: skip
    """A model's point moves along its pixel's ray as the depth grows."""
    image = tl.program_id(0).to(tl.int64)
    side = tl.program_id(1)
    slot = tl.program_id(2) * B + tl.arange(0, B)
    at = (image * 2 + side) * count + slot
    share = tl.load(weights + at, mask=slot < count, other=0.0)
    d = tl.load(apart + at, mask=slot < count, other=0.0)
    there = (share > 0) & (d > 0) & (d < float("inf"))
    other = tl.load(nearest + at, mask=there, other=0)
    model = tl.where(side == 0, other, slot)
    a, b, c = _three(points, 0, tl.where(side == 0, slot, other), there, count)
    x, y, z = _three(points, 1, model, there, count)
    along = ((x - a) * x + (y - b) * y + (z - c) * z) / tl.where(there, d * z, 1.0)
    at = tl.load(pixel + (image * 2 + 1) * count + model, mask=there, other=0)
    value = tl.load(weight + image) * share * along
    tl.atomic_add(out + image * pixels + at, value, mask=there)
