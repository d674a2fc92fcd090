"""The update of N poses as one kernel in Triton; see `PoseOptimiser.step`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from self6d.geometry.turn_kernels import turn_matrix

STARTS = 32  # of a program


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there."""
    R, t = torch.eye(3, device=device)[None], torch.ones(1, 3, device=device)
    six, rate = torch.ones(1, 6, device=device), torch.ones(2, device=device)
    count = torch.zeros(1, dtype=torch.long, device=device)
    update(R.clone(), t.clone(), R, t, 0.1 * six, 0 * six, 0 * six, rate, count)
    return bool(torch.isfinite(t).all()) and abs(float(torch.linalg.det(R[0])) - 1) < 0.001


def update(
    of_R: Tensor, of_position: Tensor, R: Tensor, position: Tensor, scale: Tensor,
    momentum: Tensor, square: Tensor, rate: Tensor, count: Tensor,
) -> None:  # fmt: skip
    """An Adam step, in place but for the count.

    Args:
        of_R, of_position: gradients of the loss in R (N, 3, 3) and the centre's position (N, 3).
        scale, momentum, square: (N, 6). rate: (S + 1,), by step. count: (1,) int64, steps before.
            All contiguous, float32 but the count.
    """
    n = len(R)
    with torch.cuda.device_of(R):
        _update[triton.cdiv(n, STARTS),](
            of_R, of_position, R, position, scale, momentum, square, rate, count, n, STARTS
        )


@triton.jit
def _nine(matrix, n, there):
    """The numbers of a matrix of each start, by rows."""
    at = matrix + n * 9
    return (
        tl.load(at, mask=there, other=0.0), tl.load(at + 1, mask=there, other=0.0),
        tl.load(at + 2, mask=there, other=0.0), tl.load(at + 3, mask=there, other=0.0),
        tl.load(at + 4, mask=there, other=0.0), tl.load(at + 5, mask=there, other=0.0),
        tl.load(at + 6, mask=there, other=0.0), tl.load(at + 7, mask=there, other=0.0),
        tl.load(at + 8, mask=there, other=0.0),
    )  # fmt: skip


@triton.jit
def _times(a, b, c, d, e, f, g, h, i, A, B, C, D, E, F, G, H, I):
    """The product of two matrices."""
    return (
        a * A + b * D + c * G, a * B + b * E + c * H, a * C + b * F + c * I,
        d * A + e * D + f * G, d * B + e * E + f * H, d * C + e * F + f * I,
        g * A + h * D + i * G, g * B + h * E + i * H, g * C + h * F + i * I,
    )  # fmt: skip


@triton.jit
def _step(gradient, which: tl.constexpr, scale, momentum, square, rate, done, n, there):
    """One of the six numbers that Adam moves a pose by."""
    at = n * 6 + which
    size = tl.load(scale + at, mask=there, other=0.0)
    sound = tl.abs(gradient) < float("inf")  # False for NaN
    gradient = tl.where(sound, gradient, 0.0) * size
    first = tl.load(momentum + at, mask=there, other=0.0)
    second = tl.load(square + at, mask=there, other=0.0)
    first += 0.1 * (gradient - first)
    second += 0.01 * (gradient * gradient - second)
    tl.store(momentum + at, first, mask=there)
    tl.store(square + at, second, mask=there)
    first = first / (1 - tl.exp(-0.10536051565782628 * done))  # 1 - 0.9^done
    second = second / (1 - tl.exp(-0.010050335853501441 * done))  # 1 - 0.99^done
    return -rate * size * first / (tl.sqrt(second) + 1e-12)


@triton.jit(do_not_specialize=("starts",))
def _update(
    of_R, of_position, R, position, scale, momentum, square, rates, count, starts, B: tl.constexpr
):  # fmt: skip
    n = tl.program_id(0) * B + tl.arange(0, B)
    there = n < starts
    before = tl.load(count)
    rate = tl.load(rates + before)
    done = (before + 1).to(tl.float32)
    a, b, c, d, e, f, g, h, i = _nine(R, n, there)
    ga, gb, gc, gd, ge, gf, gg, gh, gi = _nine(of_R, n, there)
    px = tl.load(position + n * 3, mask=there, other=0.0)
    py = tl.load(position + n * 3 + 1, mask=there, other=0.0)
    pz = tl.load(position + n * 3 + 2, mask=there, other=1.0)
    qx = tl.load(of_position + n * 3, mask=there, other=0.0)
    qy = tl.load(of_position + n * 3 + 1, mask=there, other=0.0)
    qz = tl.load(of_position + n * 3 + 2, mask=there, other=0.0)
    # see `PoseParameters.gradient`
    x = gg * d + gh * e + gi * f - (gd * g + ge * h + gf * i)
    y = ga * g + gb * h + gc * i - (gg * a + gh * b + gi * c)
    z = gd * a + ge * b + gf * c - (ga * d + gb * e + gc * f)
    further = (qx * px + qy * py + qz * pz) / pz
    x = _step(x, 0, scale, momentum, square, rate, done, n, there)
    y = _step(y, 1, scale, momentum, square, rate, done, n, there)
    z = _step(z, 2, scale, momentum, square, rate, done, n, there)
    right = _step(qx, 3, scale, momentum, square, rate, done, n, there)
    down = _step(qy, 4, scale, momentum, square, rate, done, n, there)
    further = _step(further, 5, scale, momentum, square, rate, done, n, there)
    A, B_, C, D, E, F, G, H, I = turn_matrix(x, y, z)
    a, b, c, d, e, f, g, h, i = _times(A, B_, C, D, E, F, G, H, I, a, b, c, d, e, f, g, h, i)
    # one Newton step keeps it a rotation, as in `PoseParameters.move`
    A, B_, C, D, E, F, G, H, I = _times(a, d, g, b, e, h, c, f, i, a, b, c, d, e, f, g, h, i)
    a, b, c, d, e, f, g, h, i = _times(
        a, b, c, d, e, f, g, h, i,
        1.5 - 0.5 * A, -0.5 * B_, -0.5 * C, -0.5 * D, 1.5 - 0.5 * E, -0.5 * F, -0.5 * G, -0.5 * H,
        1.5 - 0.5 * I,
    )  # fmt: skip
    at = R + n * 9
    tl.store(at, a, mask=there)
    tl.store(at + 1, b, mask=there)
    tl.store(at + 2, c, mask=there)
    tl.store(at + 3, d, mask=there)
    tl.store(at + 4, e, mask=there)
    tl.store(at + 5, f, mask=there)
    tl.store(at + 6, g, mask=there)
    tl.store(at + 7, h, mask=there)
    tl.store(at + 8, i, mask=there)
    far = tl.maximum(1 + further / pz, 0.1)
    tl.store(position + n * 3, (px + right) * far, mask=there)
    tl.store(position + n * 3 + 1, (py + down) * far, mask=there)
    tl.store(position + n * 3 + 2, pz * far, mask=there)
