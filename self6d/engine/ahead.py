"""What a step learns from, made in a thread while steps before it learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, is_dataclass
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


@dataclass(frozen=True)
class _Lane:
    """A thread, and on a GPU its stream."""

    thread: ThreadPoolExecutor
    stream: torch.cuda.Stream | None = None


class Ahead(Generic[Made]):
    """Makes what the next steps learn from beside the current one, where that saves time.

    On a GPU in streams of their own: launching kernels takes as long as they do. On a CPU where
    torch may use several threads, for most of a step's work keeps one of them busy at most.
    Autograd, kernels and launches leave the interpreter free, so that all threads get on.

    Args:
        make: (step, size) -> what that step learns from, a function of both alone; on a GPU
            `tensors_in` it must find all tensors. What it reads must bear other threads.
        steps: how many there will be.
        device: where it is made.
        beside: False: always made when it is taken.
        thread: on a CPU, where else it is made than in a thread of its own.
        most: steps made at once, each in a thread of its own; on a CPU one. Short kernels wait for
            long ones of the step that learns: a making takes longer beside it than alone.
    """

    def __init__(
        self, make: Callable[[int, int], Made], steps: int, device: torch.device, *,
        beside: bool = True, thread: ThreadPoolExecutor | None = None, most: int = 1,
    ) -> None:  # fmt: skip
        self._make, self._steps, self._device = make, steps, device
        self._coming: dict[tuple[int, int], tuple[_Lane, Future[Made]]] = {}
        self._lanes: list[_Lane] = []
        if beside and device.type == "cuda":
            for _ in range(most):
                stream = torch.cuda.Stream(device, priority=-1)  # short kernels, needed soon
                stream.wait_stream(torch.cuda.current_stream(device))
                self._lanes.append(_Lane(ThreadPoolExecutor(1, "ahead"), stream))
        elif beside and torch.get_num_threads() > 1:
            self._lanes.append(_Lane(thread or ThreadPoolExecutor(1, "ahead")))

    def start(self, step: int, size: int) -> None:
        """Begin to make what a step and those after it learn from, where there are threads."""
        for coming in range(step, min(step + len(self._lanes), self._steps)):
            if (coming, size) not in self._coming:
                lane = self._lanes[coming % len(self._lanes)]
                made = lane.thread.submit(self._beside, lane.stream, coming, size)
                self._coming[coming, size] = lane, made

    def take(self, step: int, size: int) -> Made:
        """What a step learns from: what was begun, if that is it. Raises what `make` does."""
        begun = self._coming.pop((step, size), None)
        if begun is None:
            self._coming.clear()
            return self._make(step, size)
        lane, future = begun
        made = future.result()
        if lane.stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(lane.stream)
            for tensor in tensors_in(made):
                tensor.record_stream(current)
        return made

    def _beside(self, stream: torch.cuda.Stream | None, step: int, size: int) -> Made:
        if stream is None:
            return self._make(step, size)
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            return self._make(step, size)
