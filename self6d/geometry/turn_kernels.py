"""Turns within kernels in Triton."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def turn_matrix(x, y, z):
    """`axis_angle_to_matrix`: its nine numbers, by rows."""
    length = x * x + y * y + z * z
    small = length < 1e-8
    safe = tl.where(small, 1.0, length)
    angle = tl.sqrt(safe)
    p = tl.where(small, 1 - length / 6, tl.sin(angle) / angle)
    q = tl.where(small, 0.5 - length / 24, (1 - tl.cos(angle)) / safe)
    return (
        1 + q * (x * x - length), q * x * y - p * z, q * x * z + p * y,
        q * x * y + p * z, 1 + q * (y * y - length), q * y * z - p * x,
        q * x * z - p * y, q * y * z + p * x, 1 + q * (z * z - length),
    )  # fmt: skip
