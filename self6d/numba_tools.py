"""How numba compiles this package's loops: for the renderer and for losses alike."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
        loop = numba.njit(nogil=True, error_model="numpy", cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True, error_model="numpy", **options)(function)
    # numba asks the loop's own file alone whether the cache is stale, and not those of loops that
    # are part of it: an edited one would not be compiled, and nothing would say so
    file: Any = getattr(getattr(loop, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, state_of(function.__module__))
    return loop


_states: dict[str, dict[str, int]] = {}


def state_of(module: str) -> dict[str, int]:
    """When a module with loops, what it imports of its package, and what those of these that have
    loops import, were last changed: nanoseconds by module, 0 where no file says."""
    if module not in _states:
        state = _states[module] = {module: _changed(module)}
        spec = getattr(sys.modules.get(module), "__spec__", None)
        loader: Any = getattr(spec, "loader", None)
        code = loader.get_code(module) if hasattr(loader, "get_code") else None
        package = module.partition(".")[0] + "."
        for name in () if code is None else code.co_names:
            if name.startswith(package):
                state |= state_of(name) if _has_loops(name) else {name: _changed(name)}
    return _states[module]


def _has_loops(module: str) -> bool:
    return any(hasattr(value, "py_func") for value in vars(sys.modules.get(module, os)).values())


def _changed(module: str) -> int:
    """By its place in the package: whether it is loaded depends on what else a process does."""
    package, *inner = module.split(".")
    for root in getattr(sys.modules.get(package), "__path__", ()):
        place = os.path.join(root, *inner)
        for path in (f"{place}.py", os.path.join(place, "__init__.py")):
            with suppress(OSError):  # in an archive there is none
                return os.stat(path).st_mtime_ns
    return 0


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
