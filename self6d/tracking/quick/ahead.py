"""What is soon asked for, made in threads meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Ahead(Generic[Value]):
    """Values by number, the last few kept.

    Args:
        make: makes one; it may be called from several threads. kept: how many stay at hand.
    """

    def __init__(self, make: Callable[[int], Value], kept: int) -> None:
        self._make, self._most = make, kept
        self._kept: dict[int, Future[Value]] = {}  # the last asked for come last
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def expect(self, number: int) -> None:
        """Begin to make one that will be asked for; an error of it is raised then."""
        with self._lock:
            if number in self._kept:
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(2, thread_name_prefix="ahead")
            self._keep(number, self._pool.submit(self._make, number))

    def __getitem__(self, number: int) -> Value:
        with self._lock:
            future = self._kept.pop(number, None)
            own = future is None
            future = Future() if future is None else future
            self._keep(number, future)
        if own:
            try:
                future.set_result(self._make(number))
            except BaseException as error:
                future.set_exception(error)
        try:
            return future.result()
        except BaseException:
            with self._lock:  # another try may do better
                self._kept.pop(number, None)
            raise

    def _keep(self, number: int, future: Future[Value]) -> None:
        self._kept[number] = future
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
