"""A round of `align.align_to_depth` as three kernels in Triton beside the rendering.

The same on tensors is some 140, which take a GPU longer to begin than to do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from self6d.geometry.turn_kernels import turn_matrix
from self6d.tracking.align import ALIKE, CREASE_M, FEWEST, FRONTAL, NOISE_M

PIXELS = 512  # of a program


def works(device: torch.device) -> bool:
    """Whether all of them compile and run there: a plane half a millimetre off is met."""
    K = torch.tensor([[[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]], device=device)
    R, t, centre = torch.eye(3, device=device)[None], K.new_tensor([[0, 0, 1.0]]), K.new_zeros(3)
    depth, held = K.new_ones(1, 8, 8), torch.ones(6, dtype=torch.float64, device=device)
    aligned = Aligned.of(R, t, centre)
    step(aligned, depth, depth + 0.0005, depth > 0, K, 0.01, held)
    return bool(aligned.t.isfinite().all()) and abs(float(aligned.t[0, 2]) - 1.0005) < 1e-4


class Aligned(NamedTuple):
    """N poses on their way, changed in place by `step`.

    Attributes:
        R: (N, 3, 3). t: (N, 3), metres: float32, of now.
        turn: (N, 3, 3) float64, R. middle: (N, 3) float64, metres, of the model in the camera.
        moved: (N, 6) float64, turns and shifts in all. centre: (3,) float32, metres, model frame.
    """

    R: Tensor
    t: Tensor
    turn: Tensor
    middle: Tensor
    moved: Tensor
    centre: Tensor

    @classmethod
    def of(cls, R: Tensor, t: Tensor, centre: Tensor) -> Aligned:
        """Poses (N, 3, 3) and (N, 3) float32 that begin, turned about the centre."""
        turn, middle = R.double(), (R @ centre + t).double()
        return cls(R.clone(), t.clone(), turn, middle, turn.new_zeros(len(R), 6), centre)


def step(
    aligned: Aligned, drawn: Tensor, sensor: Tensor, observed: Tensor, K: Tensor, gate: float,
    held: Tensor,
) -> None:  # fmt: skip
    """One step of Gauss-Newton.

    Args:
        drawn: (N, h, w) float32, metres, depth rendered at the poses. gate: metres.
        sensor, observed, K: as of `align_to_depth`. held: (6,) float64, inverse variances.
    """
    n, height, width = drawn.shape
    pixels = height * width
    blocks = triton.cdiv(pixels, PIXELS)
    apart, sums = torch.empty_like(drawn), held.new_empty(n, blocks, 8, 8)
    size = pixels, width, height
    maps = [x.contiguous() for x in (drawn, sensor, observed, K)]
    with torch.cuda.device_of(drawn):
        _apart[n, blocks](*maps, apart, gate, *size, FRONTAL, CREASE_M, PIXELS)
        spread = apart.abs().flatten(1).nanmedian(1).values
        _sums[n, blocks](
            *maps, apart, spread, aligned.middle, sums, *size, FRONTAL, CREASE_M, ALIKE, NOISE_M,
            PIXELS,
        )  # fmt: skip
        _moved[n,](
            sums, held, aligned.centre.contiguous(), aligned.R, aligned.t, aligned.turn,
            aligned.middle, aligned.moved, blocks, FEWEST,
        )  # fmt: skip


@triton.jit
def _ray(K, row, column):
    """Where a pixel's middle looks to, at a distance of 1."""
    y = (row + 0.5 - tl.load(K + 5)) / tl.load(K + 4)
    x = (column + 0.5 - tl.load(K + 2) - tl.load(K + 1) * y) / tl.load(K)
    return x, y


@triton.jit
def _point(depth, K, row, column, height, width, there):
    """A rendered pixel's point; and whether there is one, as it is taken outside the region."""
    inside = there & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    z = tl.load(depth + row * width + column, mask=inside, other=0.0)
    x, y = _ray(K, row, column)
    return x * z, y * z, z, (z > 0) | ~inside


@triton.jit
def _surface(
    depth, K, row, column, height, width, there, FRONTAL: tl.constexpr, CREASE: tl.constexpr
):
    """`align._surface` of some pixels: points, normals, and where both can be relied on."""
    px, py, pz, filled = _point(depth, K, row, column, height, width, there)
    ax, ay, az, there_a = _point(depth, K, row, column + 1, height, width, there)
    bx, by, bz, there_b = _point(depth, K, row, column - 1, height, width, there)
    cx, cy, cz, there_c = _point(depth, K, row + 1, column, height, width, there)
    dx, dy, dz, there_d = _point(depth, K, row - 1, column, height, width, there)
    filled = filled & there_a & there_b & there_c & there_d
    mean = pz + az + bz + cz + dz
    for down in tl.static_range(-1, 2, 2):
        for right in tl.static_range(-1, 2, 2):
            _, _, z, other = _point(depth, K, row + down, column + right, height, width, there)
            filled = filled & other
            mean += z
    mean = mean / 9
    ax, ay, az = ax - bx, ay - by, az - bz
    cx, cy, cz = cx - dx, cy - dy, cz - dz
    nx, ny, nz = ay * cz - az * cy, az * cx - ax * cz, ax * cy - ay * cx
    length = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    nx, ny, nz = nx / length, ny / length, nz / length
    x, y = _ray(K, row, column)
    within = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    frontal = tl.abs(nx * x + ny * y + nz) > FRONTAL * tl.sqrt(x * x + y * y + 1)
    use = there & within & filled & frontal & (tl.abs(pz - mean) < CREASE)
    return px, py, pz, nx, ny, nz, use


@triton.jit
def _apart(
    drawn, sensor, observed, K, out, gate, pixels, width, height,
    FRONTAL: tl.constexpr, CREASE: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """How far the sensor's surface is from the rendered one, along its normal; NaN: not to say."""
    n = tl.program_id(0)
    i = tl.program_id(1) * B + tl.arange(0, B)
    there, row, column = i < pixels, i // width, i % width
    depth, K = drawn + n * pixels, K + n * 9
    px, py, pz, nx, ny, nz, use = _surface(
        depth, K, row, column, height, width, there, FRONTAL, CREASE
    )
    x, y = _ray(K, row, column)
    z = tl.load(sensor + n * pixels + i, mask=there, other=0.0)
    use &= tl.load(observed + n * pixels + i, mask=there, other=0) != 0
    use &= (z > 0) & (tl.abs(z - pz) < gate)
    apart = (x * z - px) * nx + (y * z - py) * ny + (z - pz) * nz
    tl.store(out + n * pixels + i, tl.where(use, apart, float("nan")), mask=there)


@triton.jit
def _sums(
    drawn, sensor, observed, K, aparts, spreads, middles, out, pixels, width, height,
    FRONTAL: tl.constexpr, CREASE: tl.constexpr, ALIKE: tl.constexpr, NOISE: tl.constexpr,
    B: tl.constexpr,
):  # fmt: skip
    """A part of the normal equations: A, beside it b; and at (7, 7) how many pixels speak."""
    n, block = tl.program_id(0), tl.program_id(1)
    i = block * B + tl.arange(0, B)
    there, row, column = i < pixels, i // width, i % width
    px, py, pz, nx, ny, nz, _ = _surface(
        drawn + n * pixels, K + n * 9, row, column, height, width, there, FRONTAL, CREASE
    )
    apart = tl.load(aparts + n * pixels + i, mask=there, other=float("nan"))
    use = apart == apart
    apart = tl.where(use, apart, 0.0).to(tl.float64)
    spread = tl.load(spreads + n)
    spread = tl.where(spread == spread, spread, 0.0).to(tl.float64)
    spread = tl.maximum(1.4826 * spread, NOISE)
    off = apart / (2 * spread)
    off = 1 + off * off
    weight = tl.where(use, 1 / (off * off), 0.0) / (ALIKE * spread * spread)
    ax = px - tl.load(middles + n * 3).to(tl.float32)
    ay = py - tl.load(middles + n * 3 + 1).to(tl.float32)
    az = pz - tl.load(middles + n * 3 + 2).to(tl.float32)
    row_of_J = (
        (ay * nz - az * ny).to(tl.float64), (az * nx - ax * nz).to(tl.float64),
        (ax * ny - ay * nx).to(tl.float64), nx.to(tl.float64), ny.to(tl.float64),
        nz.to(tl.float64), apart,
    )  # fmt: skip
    at = out + (n * tl.num_programs(1) + block) * 64
    for j in tl.static_range(6):
        for k in tl.static_range(j, 7):
            total = tl.sum(weight * row_of_J[j] * row_of_J[k])
            tl.store(at + j * 8 + k, total)
            if k < 6:
                tl.store(at + k * 8 + j, total)
    tl.store(at + 63, tl.sum(use.to(tl.float64)))


@triton.jit
def _at(vector, index, which: tl.constexpr):
    """One of its numbers."""
    return tl.sum(tl.where(index == which, vector, 0.0))


@triton.jit
def _moved(
    sums, held, centre, R, t, turns, middles, moves, blocks, FEWEST: tl.constexpr
):  # fmt: skip
    """The step that the sums ask for, taken in place; none where too few pixels speak."""
    n = tl.program_id(0)
    i = tl.arange(0, 8)
    row, column = i[:, None], i[None, :]
    known = ((row < 6) & (column < 7)) | ((row == 7) & (column == 7))
    M = tl.zeros((8, 8), tl.float64)
    for block in range(blocks):
        M += tl.load(sums + (n * blocks + block) * 64 + row * 8 + column, mask=known, other=0.0)
    pixels = tl.sum(tl.where((row == 7) & (column == 7), M, 0.0))
    stiff = tl.load(held + i, mask=i < 6, other=0.0)
    before = tl.load(moves + n * 6 + i, mask=i < 6, other=0.0)
    M = tl.where(row == 7, 0.0, M)
    M += tl.where(row == column, stiff[:, None], 0.0)
    M -= tl.where(column == 6, (before * stiff)[:, None], 0.0)
    for k in tl.static_range(6):  # see `align.eliminated`
        pivot = tl.sum(tl.where(row == k, M, 0.0), 0)
        pivot = pivot / _at(pivot, i, k)
        factor = tl.sum(tl.where(column == k, M, 0.0), 1) - tl.where(i == k, 1.0, 0.0)
        M -= factor[:, None] * pivot[None, :]
    move = tl.sum(tl.where(column == 6, M, 0.0), 1)
    move = tl.where(i < 6, tl.where(pixels >= FEWEST, move, 0.0), 0.0)
    tl.store(moves + n * 6 + i, before + move, mask=i < 6)
    x, y, z = _at(move, i, 0), _at(move, i, 1), _at(move, i, 2)
    A, B, C, D, E, F, G, H, I = turn_matrix(x, y, z)
    cx = tl.load(centre).to(tl.float64)
    cy = tl.load(centre + 1).to(tl.float64)
    cz = tl.load(centre + 2).to(tl.float64)
    offset_x, offset_y, offset_z = cx * 0, cx * 0, cx * 0
    for k in tl.static_range(3):  # by columns of R
        at = turns + n * 9 + k
        a, b, c = tl.load(at), tl.load(at + 3), tl.load(at + 6)
        a, b, c = A * a + B * b + C * c, D * a + E * b + F * c, G * a + H * b + I * c
        tl.store(at, a)
        tl.store(at + 3, b)
        tl.store(at + 6, c)
        tl.store(R + n * 9 + k, a.to(tl.float32))
        tl.store(R + n * 9 + k + 3, b.to(tl.float32))
        tl.store(R + n * 9 + k + 6, c.to(tl.float32))
        own = cx if k == 0 else (cy if k == 1 else cz)
        offset_x += a * own
        offset_y += b * own
        offset_z += c * own
    mx = tl.load(middles + n * 3) + _at(move, i, 3)
    my = tl.load(middles + n * 3 + 1) + _at(move, i, 4)
    mz = tl.load(middles + n * 3 + 2) + _at(move, i, 5)
    tl.store(middles + n * 3, mx)
    tl.store(middles + n * 3 + 1, my)
    tl.store(middles + n * 3 + 2, mz)
    tl.store(t + n * 3, (mx - offset_x).to(tl.float32))
    tl.store(t + n * 3 + 1, (my - offset_y).to(tl.float32))
    tl.store(t + n * 3 + 2, (mz - offset_z).to(tl.float32))
