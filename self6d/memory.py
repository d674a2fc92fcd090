"""Memory, of the device or the host, that ran out."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import torch

_MEMORY = (
    "can't allocate memory",  # torch on the CPU
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the device or the host, ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY)
    )


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
KEPT, AT_ONCE, LARGEST = 2**30, 2**24, 2**25
"""Bytes that stay free in the process at most; fetched at once; that malloc keeps in its heap."""


@cache
def keep_freed_memory() -> bool:
    """Have malloc keep what torch frees on a CPU, for the next tensor of that size.

    glibc gives it back to the system and is given it again, emptied, page by page: thousands of
    pages in each step. What is kept is given back by `free_memory`.

    Returns:
        whether this system's malloc can be told so.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is None:
        return False
    settings = {M_TRIM_THRESHOLD: KEPT, M_TOP_PAD: AT_ONCE, M_MMAP_THRESHOLD: LARGEST}
    return all(mallopt(key, value) == 1 for key, value in settings.items())


def _of_libc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where it has none, or Python cannot name it (Windows)."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None
