"""Work that does not wait for the device, recorded once as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def capture(
    work: Callable[[], Result], warm_up: int = 2, pool: Any = None
) -> tuple[Callable[[], None], Result]:
    """Record `work` as a CUDA graph on the current device.

    Args:
        work: reads and writes tensors that stay where they are; it is called `warm_up` times
            before, since libraries allocate and choose kernels on their first calls.
        pool: memory shared with graphs that never run at the same time, of
            `torch.cuda.graph_pool_handle`; None: memory of its own.

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
    # other threads, such as one that reads ahead, go on allocating meanwhile
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result
