"""All looks of a call as one CUDA graph: launching their kernels takes longer than running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from self6d.cuda_graph import capture, filled, places_of

PLACES = (8, 16, 32)  # instances that a graph holds; fewer leave places unused
MOST_FORMS = 6  # with a graph; others run without

Work = Callable[..., tuple[Tensor, ...]]
Capture = Callable[..., tuple[Callable[[], None], tuple[Tensor, ...]]]


class Form(NamedTuple):
    """What a graph is fixed to: shape of the images (B, 3, H, W), instances, looks."""

    images: tuple[int, ...]
    instances: int
    looks: int

    def holds(self, other: Form) -> bool:
        """Whether the other's work fits, with images and instances to spare."""
        return (
            self.images[1:] == other.images[1:]
            and self.images[0] >= other.images[0]
            and self.instances >= other.instances
            and self.looks == other.looks
        )


class CapturedLooks:
    """Calls of a work of fixed shapes, captured when a form comes for the second time.

    The first call of a form runs as it is, so that what comes once costs no capture. Weights are
    found by their address: a change in place is seen.

    Args:
        work: (images (B, 3, H, W), K (B, 3, 3), image_index, object_index (N,), R (N, 3, 3),
            t (N, 3), looks) -> tensors of N rows, each of which depends on its own row alone.
            Nothing in it waits for the device.
        capture: what records it, see `self6d.cuda_graph.capture`.
    """

    def __init__(self, work: Work, capture: Capture = capture) -> None:
        self._work, self._capture = work, capture
        self._met: set[Form] = set()
        self._pool: Any = None  # all graphs share their memory: one runs at a time
        self._graphs: dict[Form, Callable[..., tuple[Tensor, ...]]] = {}

    def __call__(self, looks: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The work's result for N instances, N at least 1; no later call writes over it."""
        images, count = inputs[0], len(inputs[-1])
        places = places_of(count, PLACES)
        if places is None:
            return self._work(*inputs, looks)
        form = Form(tuple(images.shape), places, looks)
        graph = self._graph(form)
        if graph is not None:
            return graph(*inputs)
        if form in self._met and len(self._graphs) < MOST_FORMS:
            try:
                self._graphs[form] = self._captured(form, inputs)
            except torch.OutOfMemoryError:  # a graph keeps its memory, a call gives it back
                self._pool = None
                torch.cuda.empty_cache()
            else:
                return self._graphs[form](*inputs)
        self._met.add(form)
        return self._work(*inputs, looks)

    def _graph(self, form: Form) -> Callable[..., tuple[Tensor, ...]] | None:
        """The smallest that holds a form; a larger one only where no more can be captured."""
        full = len(self._graphs) >= MOST_FORMS
        fitting = [
            other
            for other in self._graphs
            if other.holds(form) and (full or other.instances == form.instances)
        ]
        return self._graphs[min(fitting)] if fitting else None

    def _captured(self, form: Form, inputs: Sequence[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        images, K, *rows = inputs
        places = filled(len(rows[0]), form.instances, images.device)
        kept = [images.clone(), K.clone(), *(row[places] for row in rows)]

        def work() -> tuple[Tensor, ...]:
            # what autocast remembers of the weights lives outside of the graph
            torch.clear_autocast_cache()
            try:
                return self._work(*kept, form.looks)
            finally:
                torch.clear_autocast_cache()

        if images.is_cuda and self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(images.device) if images.is_cuda else nullcontext():
            replay, results = self._capture(work, pool=self._pool)

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            for place, value in zip(kept, inputs, strict=True):
                place[: len(value)].copy_(value)  # the others stay those of an earlier call
            replay()
            return tuple(result[: len(inputs[-1])].clone() for result in results)

        return run
