"""Ctrl+C that is heard: a KeyboardInterrupt that got lost on its way is raised again.

Python raises it wherever the main thread happens to be. Raised inside of a callback that C calls
(a weak reference's, a destructor, an import hook), or where a library catches everything, it is
printed or lost there, and the command runs on to its end as if nobody had asked.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

AGAIN_S = 0.3
"""After so long without an end it is raised again, unless it is on its way."""


class Interrupts:
    """What became of Ctrl+C in a command.

    Attributes:
        asked: whether an end at once was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self._reminded = self._watched = self._over = False
        # no events and no threads of `threading`: their locks are not for signal handlers
        self._news: SimpleQueue[None] = SimpleQueue()
        self._left: SimpleQueue[None] = SimpleQueue()

    def raise_now(self) -> None:
        """Raise KeyboardInterrupt, and go on until one arrives."""
        reminded, self._reminded = self._reminded, False
        self.asked = True
        if self._over:
            return  # it ends already
        if self._watched:
            self._news.put(None)
        else:
            self._watched = True
            _thread.start_new_thread(self._watch, ())
        if not (reminded and _on_its_way()):
            raise KeyboardInterrupt

    def end(self) -> None:
        """It has arrived, or the command has ended."""
        self._over = True
        if self._watched:
            self._news.put(None)
            self._left.get()  # from here on nothing is raised any more

    def _watch(self) -> None:
        while not self._over:
            try:
                self._news.get(timeout=AGAIN_S)
            except Empty:
                self._reminded = True
                _thread.interrupt_main(signal.SIGINT)  # which Windows has as well
        self._left.put(None)


_current: Interrupts | None = None


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Hear Ctrl+C until the block ends. In a thread, which gets no signals, nothing changes."""
    global _current
    own = Interrupts()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield own  # whoever started this hears it; `nohup` and the like ignore it
        return
    before, _current = _current, own
    signal.signal(signal.SIGINT, lambda number, frame: own.raise_now())
    try:
        yield own
    finally:
        own.end()
        _current = before
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt() -> None:
    """Raise KeyboardInterrupt from a signal handler, again until it arrives where one is heard."""
    if _current is None:
        raise KeyboardInterrupt
    _current.raise_now()


def _on_its_way() -> bool:
    """Whether a KeyboardInterrupt is being handled: what it passes by is cleaning up."""
    errors, seen = [sys.exception()], set()
    while errors:
        error = errors.pop()
        if error is None or id(error) in seen:
            continue
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        errors += [error.__context__, error.__cause__]
    return False
