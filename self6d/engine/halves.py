"""Two halves of a step's work at once on a CPU, each with half of torch's threads.

Most of a step's layers are too small to keep two cores busy, so halves of the work get further than
halves of each layer do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Half:
    """A part of a loss that is through.

    Attributes:
        terms: scalars to be told. loss: 0-dim. All are detached.
        gradients: of the parameters asked for; None where the part does not reach one.
    """

    terms: dict[str, Tensor]
    loss: Tensor
    gradients: tuple[Tensor | None, ...]


class Halves:
    """A thread for what needs nothing of the work at hand.

    Args:
        device: of the work; only on a CPU with two threads or more is there a thread.

    Attributes:
        thread: where work can be left; None: there is none.
    """

    def __init__(self, device: torch.device) -> None:
        self.thread: ThreadPoolExecutor | None = None
        threads = torch.get_num_threads()
        # of an odd number one rests: the last digits of a draw may hang on how many made it
        self._each = max(1, threads // 2)
        if device.type == "cpu" and threads > 1:
            self.thread = ThreadPoolExecutor(
                1, "half", initializer=torch.set_num_threads, initargs=(self._each,)
            )

    @contextmanager
    def halved(self) -> Iterator[None]:
        """Inside, this thread has its half of torch's threads."""
        threads = torch.get_num_threads()
        if self.thread is not None:
            torch.set_num_threads(min(self._each, threads))
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def start(
        self, work: Callable[[], tuple[dict[str, Tensor], Tensor]], parameters: Sequence[Tensor]
    ) -> Future[Half] | None:
        """Begin with a part of a loss and its gradients; None where there is no thread.

        Args:
            work: -> scalars and the part, weighted. parameters: that gradients are asked of.
        """
        if self.thread is None:
            return None
        return self.thread.submit(_through, work, parameters)


def _through(
    work: Callable[[], tuple[dict[str, Tensor], Tensor]], parameters: Sequence[Tensor]
) -> Half:
    terms, loss = work()
    found: tuple[Tensor | None, ...] = (None,) * len(parameters)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return Half({name: value.detach() for name, value in terms.items()}, loss.detach(), found)
