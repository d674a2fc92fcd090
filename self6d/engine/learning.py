"""Losses of a batch and their gradients; on a GPU a CUDA graph once batches of a form return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from self6d.cuda_graph import capture, filled
from self6d.scene.batch import LabelledBatch

MOST_FORMS = 4  # with a graph; batches of others are learned from without
ROOM = 1.5  # free memory that a graph needs, in what a step without takes
OF_INSTANCES = (
    "image_index", "object_index", "R", "t", "mask_amodal",
    "box_visible", "box_amodal", "visible_fraction",
)  # fmt: skip


def arithmetic(amp: str, device: torch.device) -> AbstractContextManager:
    """What a network learns in: bfloat16 for "bf16" and, on a GPU, for "auto"; else float32."""
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def nothing() -> None:
    """No work for meanwhile."""


class Learning:
    """Forward and backward of training steps.

    A step is thousands of kernels: the interpreter would launch them for as long as the GPU takes
    to run them, and could not make the next images meanwhile. A graph launches them at once.

    Args:
        losses: (batch, generator, *others) -> float32 scalars, among them "total". What it reads
            besides stays where it is, and nothing in it waits for the device.
        parameters: whose `grad` is set.
        device: of both.
        record: see `cuda_graph.capture`; None: nothing is recorded.
    """

    def __init__(
        self,
        losses: Callable[..., dict[str, Tensor]],
        parameters: Sequence[Tensor],
        device: torch.device,
        record: Callable[..., tuple[Callable[[], None], Any]] | None = capture,
    ) -> None:
        self._losses, self._parameters, self._record = losses, parameters, record
        self._generator = torch.Generator(device=device)
        self.forget()

    def __call__(
        self,
        batch: LabelledBatch,
        seed: int,
        meanwhile: Callable[[], None] = nothing,
        *others: Tensor,
    ) -> dict[str, Tensor]:
        """The losses, detached; the gradients are in the parameters.

        Args:
            seed: of what the losses draw.
            meanwhile: called once the interpreter is mostly free: on a CPU at once.
            others: what the losses are given besides.
        """
        self._generator.manual_seed(seed)
        if self._generator.device.type != "cuda":
            meanwhile()
            meanwhile = nothing
        rows = -(-len(batch.R) // len(batch.images)) * len(batch.images)
        if self._record is None or rows == 0:
            return self._eager(batch, meanwhile, others)
        form = (
            rows, *((x.shape[1:], x.dtype) for x in vars(batch).values()), batch.images.shape,
            *((x.shape, x.dtype) for x in others),
        )  # fmt: skip
        if form not in self._graphs:
            if form not in self._met or len(self._graphs) >= MOST_FORMS or not self._has_room():
                self._met.add(form)
                # with the rows a graph would have: random numbers are then the same
                return self._eager(filled_up(batch, rows), meanwhile, others)
            self._graphs[form] = self._recorded(filled_up(batch, rows), others)
        return self._graphs[form](batch, meanwhile, others)

    def forget(self) -> None:
        """Record anew: a number that the losses read has changed, or memory is short."""
        self._graphs: dict[Any, Callable[..., dict[str, Tensor]]] = {}
        self._met: set[Any] = set()
        self._pool: Any = None  # one that no graph holds any more cannot be recorded into

    def _eager(
        self, batch: LabelledBatch, meanwhile: Callable[[], None], others: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        for parameter in self._parameters:
            parameter.grad = None
        terms = self._losses(batch, self._generator, *others)
        meanwhile()  # backward runs without the interpreter
        terms["total"].backward()
        return {name: value.detach() for name, value in terms.items()}

    def _recorded(
        self, kept: LabelledBatch, others: Sequence[Tensor]
    ) -> Callable[..., dict[str, Tensor]]:
        assert self._record is not None
        kept = replace(kept, **{name: value.clone() for name, value in vars(kept).items()})
        besides = [value.clone() for value in others]

        def work() -> tuple[list[str], Tensor]:
            terms = self._eager(kept, nothing, besides)
            return list(terms), torch.stack(list(terms.values()))

        if self._pool is None and kept.images.is_cuda:
            self._pool = torch.cuda.graph_pool_handle()
        # the steps before have warmed everything up, and another would count in batch norms
        with torch.cuda.device_of(kept.images):
            replay, (names, terms) = self._record(
                work, warm_up=0, pool=self._pool, generators=[self._generator]
            )
        gradients = [parameter.grad for parameter in self._parameters]

        def run(
            batch: LabelledBatch, meanwhile: Callable[[], None], others: Sequence[Tensor]
        ) -> dict[str, Tensor]:
            values = (*vars(batch).values(), *others)
            for place, value in zip((*vars(kept).values(), *besides), values, strict=True):
                place[: len(value)].copy_(value)
            kept.visible_fraction[len(batch.R) :] = -1.0
            replay()
            meanwhile()
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
            return dict(zip(names, terms.clone().unbind(), strict=True))

        return run

    def _has_room(self) -> bool:
        """Whether what a step takes fits once more; a graph keeps it."""
        device = self._generator.device
        if device.type != "cuda":
            return True
        allocated = torch.cuda.memory_allocated(device)
        unused = torch.cuda.memory_reserved(device) - allocated
        step = torch.cuda.max_memory_allocated(device) - allocated
        return torch.cuda.mem_get_info(device)[0] + unused > ROOM * step


def filled_up(batch: LabelledBatch, rows: int) -> LabelledBatch:
    """The batch with so many instances, those added less visible than any that is learned from."""
    count = len(batch.R)
    fill = filled(count, rows, batch.R.device)
    more = {f.name: getattr(batch, f.name)[fill] for f in fields(batch) if f.name in OF_INSTANCES}
    more["visible_fraction"][count:] = -1.0
    return replace(batch, **more)


def add_gradients(
    parameters: Sequence[Tensor], others: Sequence[Tensor | None], weight: float = 1.0
) -> None:
    """The parameters' gradients become `others` + `weight` times themselves; `others` are spent."""
    for parameter, other in zip(parameters, others, strict=True):
        if parameter.grad is None:
            parameter.grad = other
        elif other is None:
            parameter.grad.mul_(weight)
        else:
            parameter.grad = other.add_(parameter.grad, alpha=weight)
