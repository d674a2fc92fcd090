"""Tensors as arrays, fetched from a GPU all at once while it goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def to_host(*tensors: Tensor) -> Callable[[], list[np.ndarray]]:
    """Begin to fetch tensors of one device; gives them as arrays, which are only to be read.

    Each transfer that is waited for by itself costs a GPU some tens of microseconds of idleness.
    """
    if not tensors[0].is_cuda:
        arrays = [x.detach().numpy() for x in tensors]
        return lambda: arrays
    # the widest numbers first, so that all begin at multiples of their size
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())
    flat = torch.cat([tensors[i].detach().contiguous().flatten().view(torch.uint8) for i in order])
    host = torch.empty(flat.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(flat, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def fetched() -> list[np.ndarray]:
        done.synchronize()
        return split(host.numpy(), [tensors[i] for i in order], order)

    return fetched


def split(data: np.ndarray, like: list[Tensor], order: list[int]) -> list[np.ndarray]:
    """Arrays of the shapes and types of tensors, one after the other in bytes, put in an order."""
    found: dict[int, np.ndarray] = {}
    at = 0
    for place, x in zip(order, like, strict=True):
        size = x.numel() * x.element_size()
        kind = torch.empty(0, dtype=x.dtype).numpy().dtype
        found[place] = data[at : at + size].view(kind).reshape(x.shape)
        at += size
    return [found[i] for i in range(len(order))]
