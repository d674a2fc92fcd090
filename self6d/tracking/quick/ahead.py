"""What is soon asked for, made in threads meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Ahead(Generic[Key, Value]):
    """Values by number or another key, the last few kept.

    Args:
        make: makes one; it may be called from several threads. kept: how many stay at hand.
    """

    def __init__(self, make: Callable[[Key], Value], kept: int) -> None:
        self._make, self._most = make, kept
        self._kept: dict[Key, Future[Value]] = {}  # the last asked for or expected come last
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def expect(self, key: Key) -> None:
        """Begin to make one that will be asked for; an error of it is raised then."""
        with self._lock:
            if key in self._kept:  # still to come: what was asked for before it goes first
                self._kept[key] = self._kept.pop(key)
                return
            if self._pool is None:
                self._pool = ThreadPoolExecutor(2, thread_name_prefix="ahead")
            self._keep(key, self._pool.submit(self._make, key))

    def __getitem__(self, key: Key) -> Value:
        with self._lock:
            future = self._kept.pop(key, None)
            own = future is None
            future = Future() if future is None else future
            self._keep(key, future)
        if own:
            try:
                future.set_result(self._make(key))
            except BaseException as error:
                future.set_exception(error)
        try:
            return future.result()
        except BaseException:
            with self._lock:  # another try may do better
                self._kept.pop(key, None)
            raise

    def _keep(self, key: Key, future: Future[Value]) -> None:
        self._kept[key] = future
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
