"""Numba kernel of the chamfer distance's neighbour search, a few times faster than torch's argmin.

The loop over a block of points has no branches, so that the compiler turns it into vector
instructions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from self6d.numba_tools import u64, vector
from self6d.workers import run_parallel

BLOCK = 256  # points whose best distances stay in the first cache
TOGETHER = 4


def nearest(a: Tensor, b: Tensor, valid_b: Tensor) -> Tensor:
    """The nearest valid b of each a.

    Args:
        a: (N, A, 3) float32, on the CPU. b: (N, B, 3) float32. valid_b: (N, B) bool.

    Returns:
        (N, A) int64; 0 where no b is valid.
    """
    found = torch.empty(a.shape[:2], dtype=torch.int32)
    x, y = (p.detach().mT.contiguous().numpy() for p in (a, b))
    ok, out = valid_b.numpy(), found.numpy()
    blocks = -(-a.shape[1] // BLOCK)

    def work(unit: int) -> None:
        n, k = divmod(unit, blocks)
        part = slice(k * BLOCK, (k + 1) * BLOCK)
        nearest_block(x[n, :, part], y[n], ok[n], out[n, part])

    run_parallel(work, len(a) * blocks)
    return found.long()


@vector
def nearest_block(a, b, valid, out):
    """Nearest valid b of a block of points.

    Four of them are looked at in a pass over the block, as fetching and storing what is best so far
    takes longer than the distances.

    Args:
        a: (3, A) float32. b: (3, B) float32. valid: (B,) bool. out: (A,) int32.
    """
    count, total = a.shape[1], b.shape[1]
    best, which = np.full(count, np.float32(np.inf)), np.zeros(count, np.int32)
    x, y, z = a[0].copy(), a[1].copy(), a[2].copy()
    held, kept = np.zeros(total + TOGETHER, np.int32), 0
    for n in range(total):
        held[u64(kept)] = n
        kept += valid[u64(n)]
    last = held[u64(max(kept - 1, 0))]
    for n in range(kept, kept + TOGETHER):
        held[u64(n)] = last  # again, and no nearer
    for n in range(0, kept, TOGETHER):
        i0, i1, i2, i3 = held[u64(n)], held[u64(n + 1)], held[u64(n + 2)], held[u64(n + 3)]
        x0, y0, z0, x1, y1, z1 = b[0, i0], b[1, i0], b[2, i0], b[0, i1], b[1, i1], b[2, i1]
        x2, y2, z2, x3, y3, z3 = b[0, i2], b[1, i2], b[2, i2], b[0, i3], b[1, i3], b[2, i3]
        for m in range(count):
            i = u64(m)
            px, py, pz, low, at = x[i], y[i], z[i], best[i], which[i]
            d = square(px - x0, py - y0, pz - z0)
            low, at = (d if d < low else low), (i0 if d < low else at)
            d = square(px - x1, py - y1, pz - z1)
            low, at = (d if d < low else low), (i1 if d < low else at)
            d = square(px - x2, py - y2, pz - z2)
            low, at = (d if d < low else low), (i2 if d < low else at)
            d = square(px - x3, py - y3, pz - z3)
            best[i], which[i] = (d if d < low else low), (i3 if d < low else at)
    out[:] = which


@vector
def square(x, y, z):
    return x * x + y * y + z * z
