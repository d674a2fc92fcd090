"""How numba compiles this package's loops: for the renderer and for losses alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

u64 = np.uint64
LANES = 8  # numbers of four bytes that loops take at once
FROZEN_BY_PYTHON = 1000  # objects at most; Python 3.12 begins with 375


_begun: list[bool] = []


@contextmanager
def first_call() -> Iterator[None]:
    """Around what may be a process's first call of a compiled loop: a quarter of its wait less.

    numba makes its tables then, and the garbage collector would walk all of torch's objects again
    and again meanwhile; those that are there already are left out of it. Where a program froze its
    objects itself nothing is done: they would be let go.
    """
    if _begun:
        yield
        return
    _begun.append(True)
    if gc.get_freeze_count() > FROZEN_BY_PYTHON:  # it counts them one by one
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def compiled(function: Callable, **options: Any) -> Any:
    """numba.njit that frees the interpreter lock and caches on disk where it can."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, error_model="numpy", **options)(function)


def jit(function: Callable) -> Any:
    """Compile with strict floating-point rules."""
    return compiled(function)


def inner(function: Callable) -> Any:
    """`jit` for what a hot loop calls: always inlined, as an array costs a call nine arguments."""
    return compiled(function, forceinline=True)


def vector(function: Callable) -> Any:
    """Compile with fused multiply-adds, as vector loops like them; NaN and infinity keep theirs.

    Sums stay in the order written: with "reassoc" the same source gave other last digits where it
    was compiled than where it was loaded from the cache, and other ones on wider vectors. A sum
    that shall run in lanes says so, see `rendering.cpu.soft.soften_backward`.
    """
    return compiled(function, fastmath={"contract", "nsz"})


@vector
def exp_near_zero(x: Any) -> Any:
    """exp(x) for |x| <= 0.35, float32; relative error under 2e-7."""
    p = np.float32(1 / 720)
    p = p * x + np.float32(1 / 120)
    p = p * x + np.float32(1 / 24)
    p = p * x + np.float32(1 / 6)
    p = p * x + np.float32(0.5)
    p = p * x + np.float32(1)
    return p * x + np.float32(1)
