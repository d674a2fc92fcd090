"""What all measurements share: a clock that waits for the device, and the device's name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch


class Timer:
    """Wall clock around work that is waited for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        """Seconds, once the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def ms(self, work: Callable[[], object]) -> float:
        """Milliseconds that `work` takes."""
        start = self.now()
        work()
        return 1000 * (self.now() - start)


class Stopwatch:
    """Adds up the time spent in some methods of objects at work, each call waited for, whatever
    thread makes it.

    Attributes:
        seconds: stage -> sum over all calls.
    """

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._watched: list[tuple[Any, str, Any]] = []

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Count the calls of `owner.name` as part of a stage, until `release`."""
        work = getattr(owner, name)
        self.seconds.setdefault(stage, 0.0)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.timer.now()
            try:
                return work(*args, **kwargs)
            finally:
                spent = self.timer.now() - start
                with self._lock:
                    self.seconds[stage] += spent

        self._watched.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, timed)

    def release(self) -> None:
        """Leave the objects as they were."""
        for owner, name, before in reversed(self._watched):
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._watched.clear()


def device_name(device: torch.device) -> str:
    """The GPU's name, or the number of threads that a CPU's work is spread over."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}"
