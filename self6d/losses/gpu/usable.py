"""When kernels in Triton run."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor


def usable(name: str, *maps: Tensor, channels_last: bool = False) -> ModuleType | None:
    """The module of kernels, where all maps are ones that they are for: float32, on a GPU, dense.

    None as well where Triton is not there; torch.compile makes its own.

    Args:
        name: such as "self6d.losses.gpu.ssim_kernels"; it has a function `works`.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    fit = all(
        x.is_cuda
        and x.dtype == torch.float32
        and x.numel() > 0
        and x.is_contiguous(memory_format=layout)
        for x in maps
    )
    if not fit or torch.compiler.is_compiling():
        return None
    return kernels(name, maps[0].device.index)


@cache
def kernels(name: str, device: int) -> ModuleType | None:
    """The module, if Triton compiles and runs it there, tried once: it needs a C compiler and
    Python's headers."""
    try:
        module = import_module(name)
        return module if module.works(torch.device("cuda", device)) else None
    except Exception:  # whatever of its many parts is missing
        return None
