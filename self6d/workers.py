"""Threads for kernels that release the interpreter lock.

Own threads rather than numba's parallel loops: those abort the process when two Python threads
(the window's and a job's) enter them at once under the default threading layer, and take a second
longer to load from the cache.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_queues: dict[int, tuple[SimpleQueue, list[threading.Thread]]] = {}
_lock = threading.Lock()


class _Share:
    """`count` pieces of work that several threads take from, one at a time."""

    def __init__(self, work: Callable[[int], None], count: int):
        self.work, self.count = work, count
        self.numbers = itertools.count()  # next() is atomic under the interpreter lock
        self.finished = itertools.count(1)
        self.done = threading.Event()
        self.error: BaseException | None = None

    def drain(self) -> None:
        while (i := next(self.numbers)) < self.count:
            try:
                if self.error is None:
                    self.work(i)
            except BaseException as error:
                self.error = error
            if next(self.finished) == self.count:
                self.done.set()


def run_parallel(work: Callable[[int], None], count: int) -> None:
    """Call `work(i)` once for every i < count, on as many threads as torch uses.

    The order is free, so results may depend on i alone. The calling thread takes part. The first
    error is raised here, after the pieces already begun have ended.
    """
    helpers = min(torch.get_num_threads(), count) - 1
    if helpers < 1:
        for i in range(count):
            work(i)
        return
    share = _Share(work, count)
    queue = _queue(helpers)
    for _ in range(helpers):
        queue.put(share)
    share.drain()
    share.done.wait()
    if share.error is not None:
        raise share.error


def _queue(threads: int) -> SimpleQueue:
    """The queue of this process's helpers, at least `threads` of them."""
    with _lock:
        # a forked child has none of its parent's threads
        queue, members = _queues.setdefault(os.getpid(), (SimpleQueue(), []))
        while len(members) < threads:
            members.append(threading.Thread(target=_serve, args=(queue,), daemon=True))
            members[-1].start()
    return queue


def _serve(queue: SimpleQueue) -> None:
    while True:
        queue.get().drain()


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """`work(item)` of each, in the order of the items, done in threads while the caller goes on.

    Items are taken in the calling thread. An error of `work` is raised where its result would have
    come; what has not begun by then, or when the caller stops, is left.

    Args:
        threads: at work at once. ahead: most items that are begun and not yet given out.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
