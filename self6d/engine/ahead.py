"""What a step learns from, made in a thread while the step before it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


def tensors_in(made: Any) -> Iterator[Tensor]:
    """Tensors in dataclasses, tuples and lists, nested or not."""
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, list | tuple):
        for part in made:
            yield from tensors_in(part)
    elif is_dataclass(made):
        for part in vars(made).values():
            yield from tensors_in(part)


class Ahead(Generic[Made]):
    """Makes what the next step learns from beside the current one, where that saves time.

    On a GPU in a stream of its own: launching kernels takes as long as they do. On a CPU where
    torch may use several threads, for most of a step's work keeps one of them busy at most.
    Autograd, kernels and launches leave the interpreter free, so that both threads get on.

    Args:
        make: (step, size) -> what that step learns from, a function of both alone; on a GPU
            `tensors_in` it must find all tensors. What it reads must bear another thread.
        steps: how many there will be.
        device: where it is made.
        beside: False: always made when it is taken.
        thread: on a CPU, where else it is made than in a thread of its own.
    """

    def __init__(
        self, make: Callable[[int, int], Made], steps: int, device: torch.device, *,
        beside: bool = True, thread: ThreadPoolExecutor | None = None,
    ) -> None:  # fmt: skip
        self._make, self._steps, self._device = make, steps, device
        self._coming: tuple[int, int, Future[Made]] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._cuda = device.type == "cuda"
        if beside and (self._cuda or torch.get_num_threads() > 1):
            self._thread = thread or ThreadPoolExecutor(1, "ahead")
            if self._cuda:
                self._side = torch.cuda.Stream(device, priority=-1)  # short kernels, needed soon
                self._side.wait_stream(torch.cuda.current_stream(device))

    def start(self, step: int, size: int) -> None:
        """Begin to make what a step learns from, where there is a thread for it."""
        if self._thread is not None and step < self._steps:
            self._coming = (step, size, self._thread.submit(self._beside, step, size))

    def take(self, step: int, size: int) -> Made:
        """What a step learns from: what was begun, if that is it. Raises what `make` does."""
        coming, self._coming = self._coming, None
        if coming is None or coming[:2] != (step, size):
            return self._make(step, size)
        made = coming[2].result()
        if self._cuda:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._side)
            for tensor in tensors_in(made):
                tensor.record_stream(current)
        return made

    def _beside(self, step: int, size: int) -> Made:
        if not self._cuda:
            return self._make(step, size)
        with torch.cuda.device(self._device), torch.cuda.stream(self._side):
            return self._make(step, size)
