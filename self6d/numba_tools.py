"""How numba compiles this package's loops: for the renderer and for losses alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

u64 = np.uint64


def compiled(function: Callable, **options: Any) -> Any:
    """numba.njit that frees the interpreter lock and caches on disk where it can."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, error_model="numpy", **options)(function)


def jit(function: Callable) -> Any:
    """Compile with strict floating-point rules."""
    return compiled(function)


def vector(function: Callable) -> Any:
    """Compile with fused multiply-adds, as vector loops like them; NaN and infinity keep theirs.

    Sums stay in the order written: with "reassoc" the same source gave other last digits where it
    was compiled than where it was loaded from the cache, and other ones on wider vectors. A sum
    that shall run in lanes says so, see `rendering.cpu.soft.soften_backward`.
    """
    return compiled(function, fastmath={"contract", "nsz"})
