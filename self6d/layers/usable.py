"""When the layers' own kernels run."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import torch
from torch import Tensor


def fits(x: Tensor, channels: int) -> bool:
    """Whether a map (N, C, H, W) is one that the kernels are for: bfloat16, on a GPU, channels last
    and a power of two, with Triton there; torch.compile makes its own."""
    return (
        x.is_cuda
        and x.dtype == torch.bfloat16
        and channels.bit_count() == 1
        and 16 <= channels <= 512
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and kernels_work(x.device.index)
    )


@cache
def kernels_work(device: int) -> bool:
    """Whether Triton compiles and runs the kernels there, tried once: it needs a C compiler and
    Python's headers."""
    try:
        norm = import_module("self6d.layers.norm_kernels")
        pool = import_module("self6d.layers.pool_kernels")
        x = torch.zeros(1, 16, 2, 2, dtype=torch.bfloat16, device=torch.device("cuda", device))
        x = x.contiguous(memory_format=torch.channels_last)
        one = torch.ones(16, device=x.device)
        y, sums = norm.forward(x, one, one, 4, 1e-5)
        norm.backward(y, x, one, one, sums, 4, 1e-5)
        largest, place = pool.forward(y)
        gradient = pool.backward(largest, place, y)
        return bool((y == 1).all() and (gradient.sum((2, 3)) == 1).all())
    except Exception:  # whatever of its many parts is missing
        return False
