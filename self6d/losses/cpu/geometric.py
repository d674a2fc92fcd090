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

    Args:
        a: (3, A) float32. b: (3, B) float32. valid: (B,) bool. out: (A,) int32.
    """
    count = a.shape[1]
    best, which = np.full(count, np.float32(np.inf)), np.zeros(count, np.int32)
    x, y, z = a[0].copy(), a[1].copy(), a[2].copy()
    for n in range(b.shape[1]):
        if not valid[n]:
            continue
        bx, by, bz, index = b[0, n], b[1, n], b[2, n], np.int32(n)
        for m in range(count):
            i = u64(m)
            dx, dy, dz = x[i] - bx, y[i] - by, z[i] - bz
            square = dx * dx + dy * dy + dz * dz
            closer = square < best[i]
            best[i] = square if closer else best[i]
            which[i] = index if closer else which[i]
    out[:] = which
