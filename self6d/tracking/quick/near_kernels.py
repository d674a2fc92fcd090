"""A round of the coarse search as one kernel in Triton; see `near.NearSearch`.

The same on tensors is some 150 kernels, which take a GPU longer to begin than to do.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from self6d.geometry.turn_kernels import turn_matrix
from self6d.tracking.coarse import TWIST
from self6d.tracking.kernels import GOES_ON, SHAPE
from self6d.tracking.points import COLOR_SCALE


def works(device: torch.device) -> bool:
    """Whether it compiles and runs there."""
    ones = lambda *size: torch.ones(size, device=device)  # noqa: E731
    R, t = torch.eye(3, device=device)[None], ones(1, 3)
    points = SimpleNamespace(
        points=0 * t, ab=0 * ones(1, 2), centre=0 * ones(3), directions=t, seen=ones(1, 1) > 0,
        rim=ones(1, 1, 3), beyond=ones(1, 1), same=R.reshape(1, 9), use_color=True,
    )  # fmt: skip
    view = SimpleNamespace(depth_m=ones(1), ab=0 * ones(1, 2), K=0.1 * R[0], size=(1, 1))
    view.painted = True
    best = torch.zeros(1, dtype=torch.long, device=device)
    for still in (0, 1):
        found = proposed(
            points, view, R, t, best, ones(1, 6), (R, t), still=still, turn=0.01, shift_m=0.0,
            margin_m=0.1, few=1, pull=0.1, diameter=1.0,
        )  # fmt: skip
        if not all(bool(x.isfinite().all()) for x in found) or not 0.5 < float(found[2]) < 1.5:
            return False
    return True


def proposed(
    model: Any, view: Any, R: Tensor, t: Tensor, best: Tensor, noise: Tensor,
    home: tuple[Tensor, Tensor], *, still: int, turn: float, shift_m: float, margin_m: float,
    few: int, pull: float, diameter: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Poses of a round and how well they agree: (N, 3, 3), (N, 3), metres, and (N,).

    Args:
        model, view: a `PointTensors` and a `TensorView`.
        R: (M, 3, 3). t: (M, 3), metres: poses before. best: (B,) int64, those gone on with, one
            after the other. home: (H, 3, 3) and (H, 3), metres, expected, see `coarse.Home`.
        noise: (N, 6), standard normal: turns, of `turn` radians, and shifts, of `shift_m` metres.
        still: so many of the N, the first, stay as they were.
        margin_m: depth agrees within it. few: points that count, the first. pull: see `Home`.
            diameter: metres. All tensors float32 but `best`.
    """
    n, (height, width) = len(noise), view.size
    turned, moved, score = R.new_empty(n, 3, 3), R.new_empty(n, 3), R.new_empty(n)
    inputs = (
        model.points, model.ab, model.centre, model.directions, model.seen, model.rim,
        model.beyond, model.same, view.depth_m, view.ab, view.K, R, t, best, noise, *home,
    )  # fmt: skip
    scale = 1 / COLOR_SCALE if model.use_color and view.painted else 0.0
    counts = few, len(model.directions), model.rim.shape[1], len(model.same)
    with torch.cuda.device_of(R):
        _proposed[n,](
            *(x.contiguous() for x in inputs), turned, moved, score,
            len(best), len(home[0]), still, turn, shift_m, margin_m, pull, 1 / diameter, scale,
            model.seen.shape[1], height, width, *counts, GOES_ON, SHAPE, TWIST,
            *map(triton.next_power_of_2, counts),
        )  # fmt: skip
    return turned, moved, score


@triton.jit
def _nine(matrix):
    """The numbers of a matrix, by rows."""
    return (
        tl.load(matrix), tl.load(matrix + 1), tl.load(matrix + 2), tl.load(matrix + 3),
        tl.load(matrix + 4), tl.load(matrix + 5), tl.load(matrix + 6), tl.load(matrix + 7),
        tl.load(matrix + 8),
    )  # fmt: skip


@triton.jit
def _three(vector, there):
    """Three numbers each of vectors one after the other."""
    x = tl.load(vector, mask=there, other=0.0)
    return x, tl.load(vector + 1, mask=there, other=0.0), tl.load(vector + 2, mask=there, other=0.0)


@triton.jit
def _seen_at(points, there, a, b, c, d, e, f, g, h, i, tx, ty, tz, depth, K, height, width):
    """The sensor's depth where points are seen, 0 outside; their own; and the pixel's number."""
    x, y, z = _three(points, there)
    px = a * x + b * y + c * z + tx
    py = d * x + e * y + f * z + ty
    pz = g * x + h * y + i * z + tz
    u = (tl.load(K) * px + tl.load(K + 1) * py) / pz + tl.load(K + 2)
    v = tl.load(K + 4) * py / pz + tl.load(K + 5)
    inside = there & (pz >= 0.01) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    row, column = tl.where(inside, v, 0.0).to(tl.int32), tl.where(inside, u, 0.0).to(tl.int32)
    pixel = row * width + column
    return tl.load(depth + pixel, mask=inside, other=0.0), pz, pixel


@triton.jit(do_not_specialize=("parents", "homes", "still"))
def _proposed(
    points, point_ab, centre, directions, seen, rim, beyond, same, depth, image_ab, K,
    R, t, best, noise, home_R, home_t, out_R, out_t, out_score,
    parents, homes, still, turn, shift, margin, pull, per_diameter, scale,
    all_points, height, width, few, sides, rims, turns,
    GOES_ON: tl.constexpr, SHAPE: tl.constexpr, TWIST: tl.constexpr,
    POINTS: tl.constexpr, SIDES: tl.constexpr, RIMS: tl.constexpr, TURNS: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    parent = tl.load(best + n % parents)
    a, b, c, d, e, f, g, h, i = _nine(R + parent * 9)
    cx, cy, cz = tl.load(centre), tl.load(centre + 1), tl.load(centre + 2)
    # the middle of the model, that turns leave where it is
    mx = a * cx + b * cy + c * cz + tl.load(t + parent * 3)
    my = d * cx + e * cy + f * cz + tl.load(t + parent * 3 + 1)
    mz = g * cx + h * cy + i * cz + tl.load(t + parent * 3 + 2)
    own = noise + n * 6
    moves = (n >= still).to(tl.float32)
    x, y = turn * moves * tl.load(own), turn * moves * tl.load(own + 1)
    z = turn * moves * tl.load(own + 2)
    mx += shift * moves * tl.load(own + 3)
    my += shift * moves * tl.load(own + 4)
    mz += shift * moves * tl.load(own + 5)
    A, B, C, D, E, F, G, H, I = turn_matrix(x, y, z)
    a, d, g = A * a + B * d + C * g, D * a + E * d + F * g, G * a + H * d + I * g
    b, e, h = A * b + B * e + C * h, D * b + E * e + F * h, G * b + H * e + I * h
    c, f, i = A * c + B * f + C * i, D * c + E * f + F * i, G * c + H * f + I * i
    tx = mx - (a * cx + b * cy + c * cz)
    ty = my - (d * cx + e * cy + f * cz)
    tz = mz - (g * cx + h * cy + i * cz)
    # from where the camera sees the model
    side = tl.arange(0, SIDES)
    x, y, z = _three(directions + side * 3, side < sides)
    along = -(
        x * (a * mx + d * my + g * mz) + y * (b * mx + e * my + h * mz)
        + z * (c * mx + f * my + i * mz)
    )  # fmt: skip
    side = tl.argmax(tl.where(side < sides, along, float("-inf")), 0)
    # points, see `points.score_poses`
    j = tl.arange(0, POINTS)
    there = j < few
    shown = tl.load(seen + side * all_points + j, mask=there, other=0) != 0
    sensor, pz, pixel = _seen_at(
        points + j * 3, there, a, b, c, d, e, f, g, h, i, tx, ty, tz, depth, K, height, width
    )
    gap = (sensor - pz) / margin
    value = tl.maximum(1 - gap * gap, 0.0)
    if scale > 0:
        apart = tl.abs(
            tl.load(image_ab + pixel * 2) - tl.load(point_ab + j * 2, mask=there, other=0.0)
        )
        apart += tl.abs(
            tl.load(image_ab + pixel * 2 + 1) - tl.load(point_ab + j * 2 + 1, mask=there, other=0.0)
        )
        value *= SHAPE + (1 - SHAPE) * tl.exp(-apart * scale)
    value = tl.where(gap > 2, -tl.minimum(gap - 2, 1.0), value)
    total = tl.sum(tl.where(shown & (sensor > 0), value, 0.0))
    score = total / tl.maximum(tl.sum(shown.to(tl.float32)), 1.0)
    # the surface beside the silhouette
    j = tl.arange(0, RIMS)
    there = j < rims
    at = side * rims + j
    sensor, pz, _ = _seen_at(
        rim + at * 3, there, a, b, c, d, e, f, g, h, i, tx, ty, tz, depth, K, height, width
    )
    gap, more = sensor - pz, tl.load(beyond + at, mask=there, other=0.0)
    beside = sensor > 0
    on = beside & (gap > tl.minimum(more, 0.0) - 1.5 * margin)
    on &= gap < tl.maximum(more, 0.0) + 1.5 * margin
    count = tl.maximum(tl.sum(beside.to(tl.float32)), 1.0)
    score -= GOES_ON * tl.sum(on.to(tl.float32)) / count
    score = tl.where(mz < 0.02, -1.0, score)
    # where it is expected, see `coarse.Home`
    j = tl.arange(0, TURNS)
    there = j < turns
    least = tl.full((), float("inf"), tl.float32)
    for k in range(homes):
        A, B, C, D, E, F, G, H, I = _nine(home_R + k * 9)
        dx = A * cx + B * cy + C * cz + tl.load(home_t + k * 3) - mx
        dy = D * cx + E * cy + F * cz + tl.load(home_t + k * 3 + 1) - my
        dz = G * cx + H * cy + I * cz + tl.load(home_t + k * 3 + 2) - mz
        x0, x1, x2 = _three(same + j * 9, there)
        y0, y1, y2 = _three(same + j * 9 + 3, there)
        z0, z1, z2 = _three(same + j * 9 + 6, there)
        trace = (
            x0 * (a * A + d * D + g * G) + x1 * (a * B + d * E + g * H)
            + x2 * (a * C + d * F + g * I) + y0 * (b * A + e * D + h * G)
            + y1 * (b * B + e * E + h * H) + y2 * (b * C + e * F + h * I)
            + z0 * (c * A + f * D + i * G) + z1 * (c * B + f * E + i * H)
            + z2 * (c * C + f * F + i * I)
        )  # fmt: skip
        cosine = (tl.max(tl.where(there, trace, float("-inf"))) - 1) / 2
        off = tl.sqrt(dx * dx + dy * dy + dz * dz) * per_diameter + TWIST * (1 - cosine) / 2
        least = tl.minimum(least, off)
    if pull > 0:
        score -= pull * least
    tl.store(out_score + n, score)
    tl.store(out_t + n * 3, tx)
    tl.store(out_t + n * 3 + 1, ty)
    tl.store(out_t + n * 3 + 2, tz)
    at = out_R + n * 9
    tl.store(at, a)
    tl.store(at + 1, b)
    tl.store(at + 2, c)
    tl.store(at + 3, d)
    tl.store(at + 4, e)
    tl.store(at + 5, f)
    tl.store(at + 6, g)
    tl.store(at + 7, h)
    tl.store(at + 8, i)
