"""When kernels in Triton run: those of the layers, of the losses, of the pose optimiser."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor


def usable(
    name: str, *maps: Tensor, dtype: torch.dtype = torch.float32, channels_last: bool = False
) -> ModuleType | None:
    """The module of kernels, where all maps are what they are for: of `dtype`, on a GPU, dense.

    None as well where Triton is not there; torch.compile makes its own.

    Args:
        name: such as "self6d.layers.norm_kernels"; it has a function `works`.
    """
    if torch.compiler.is_compiling():
        return None
    layout = torch.channels_last if channels_last else torch.contiguous_format
    fit = all(
        x.is_cuda and x.dtype == dtype and x.numel() > 0 and x.is_contiguous(memory_format=layout)
        for x in maps
    )
    return kernels(name, maps[0].device.index) if fit else None


def usable_for_features(name: str, x: Tensor, channels: int) -> ModuleType | None:
    """`usable` for features (N, C, H, W): bfloat16, channels last, C a power of two."""
    if channels.bit_count() != 1 or not 16 <= channels <= 512:
        return None
    return usable(name, x, dtype=torch.bfloat16, channels_last=True)


@cache
def kernels(name: str, device: int) -> ModuleType | None:
    """The module, if Triton compiles and runs it there, tried once: it needs a C compiler and
    Python's headers."""
    try:
        module = import_module(name)
        return module if module.works(torch.device("cuda", device)) else None
    except Exception:  # whatever of its many parts is missing
        return None
