"""Threads for kernels that release the interpreter lock.

Own threads rather than numba's parallel loops: those abort the process when two Python threads
(the window's and a job's) enter them at once under the default threading layer, and take a second
longer to load from the cache.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def run_parallel(work: Callable[[int], None], count: int) -> None:
    """Call `work(i)` once for every i < count, on as many threads as torch uses.

    The order is free, so results may depend on i alone. The calling thread takes part.
    """
    helpers = min(torch.get_num_threads(), count) - 1
    numbers = itertools.count()  # next() is atomic under the interpreter lock

    def drain() -> None:
        while (i := next(numbers)) < count:
            work(i)

    futures = [_pool().submit(drain) for _ in range(helpers)]
    drain()
    for future in futures:
        if not future.cancel():
            future.result()


def _pool() -> ThreadPoolExecutor:
    key = (os.getpid(), torch.get_num_threads())  # a forked child has none of its parent's threads
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(key[1], thread_name_prefix="render")
    return _pools[key]
