"""Work that does not wait for the device, recorded once as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from self6d.loading import collector_rests

Result = TypeVar("Result")


def capture(
    work: Callable[[], Result],
    warm_up: int = 2,
    pool: Any = None,
    generators: Sequence[torch.Generator] = (),
) -> tuple[Callable[[], None], Result]:
    """Record `work` as a CUDA graph on the current device.

    Args:
        work: reads and writes tensors that stay where they are; it is called `warm_up` times
            before, since libraries allocate and choose kernels on their first calls.
        pool: memory shared with graphs that never run at the same time, of
            `torch.cuda.graph_pool_handle`; None: memory of its own.
        generators: that the work draws from; a replay draws what the work would.

    Returns:
        what replays the work, and its result: tensors that every replay writes anew.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    # Other threads, such as one that reads ahead, go on allocating meanwhile. An older graph that
    # is freed would end the recording.
    with collector_rests(), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result


PLACES = (1, 2, 4, 8, 16, 32, 64)  # rows that a graph holds; fewer leave places unused
MOST_FORMS = 8  # with a graph; others run without


def places_of(count: int, places: Sequence[int]) -> int | None:
    """The least of `places` that holds so many rows; None: none does."""
    return next((n for n in places if n >= count), None)


def filled(count: int, places: int, device: torch.device) -> Tensor:
    """(places,) int64, the rows that places hold: the first `count`, then the last of them."""
    return torch.arange(places, device=device).clamp_max(count - 1)


class Recorded:
    """Work on tensors of N rows, on a GPU recorded as a CUDA graph for each form that comes twice.

    A form is what a graph is fixed to: shapes and dtypes of the rows, their number rounded up to
    one of `PLACES`.

    Args:
        work: tensors of N rows -> tensors of N rows, each of which depends on its own row alone and
            on what stays where it is. Nothing in it waits for the device.
        capture: what records it, see `capture`; None: only on a GPU.
    """

    def __init__(
        self,
        work: Callable[..., tuple[Tensor, ...]],
        capture: Callable[..., tuple[Callable[[], None], tuple[Tensor, ...]]] | None = None,
    ) -> None:
        self._work, self._capture = work, capture
        self._met: set[tuple[Any, ...]] = set()
        self._graphs: dict[tuple[Any, ...], Callable[..., tuple[Tensor, ...]]] = {}

    def __call__(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """The work's result; no later call writes over it."""
        places = places_of(len(rows[0]), PLACES)
        record = capture if self._capture is None and rows[0].is_cuda else self._capture
        if record is None or places is None:
            return self._work(*rows)
        form = (places, *((tuple(x.shape[1:]), x.dtype, x.device) for x in rows))
        if form in self._graphs:
            return self._graphs[form](*rows)
        if form not in self._met or len(self._graphs) >= MOST_FORMS:
            self._met.add(form)
            return self._work(*rows)
        fill = filled(len(rows[0]), places, rows[0].device)
        kept = [x[fill] for x in rows]
        replay, results = record(lambda: self._work(*kept), warm_up=1)
        self._graphs[form] = _replayed(kept, replay, results)
        return self._graphs[form](*rows)


def _replayed(
    kept: Sequence[Tensor], replay: Callable[[], None], results: Sequence[Tensor]
) -> Callable[..., tuple[Tensor, ...]]:
    def run(*rows: Tensor) -> tuple[Tensor, ...]:
        for place, value in zip(kept, rows, strict=True):
            place[: len(value)].copy_(value)  # the others stay those of an earlier call
        replay()
        return tuple(result[: len(rows[0])].clone() for result in results)

    return run
