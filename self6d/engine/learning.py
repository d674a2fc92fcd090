"""Losses of a batch and their gradients; on a GPU a CUDA graph once batches of a form return."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Protocol, TypeVar

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


class Rows(Protocol):
    """A dataclass of tensors, or None, of images (B, ...) and of N rows, one for each pose R."""

    images: Tensor
    R: Tensor


Batch = TypeVar("Batch", bound=Rows)


@dataclass(frozen=True)
class Filling(Generic[Batch]):
    """How batches are brought to the few numbers of rows that graphs are recorded for.

    Attributes:
        rows: of a batch -> how many the graph has, at least as many as there are.
        filled: batch, rows -> one with so many, those added learned from as if they were not there.
        quieted: batch, count -> the rows from there on become such.
    """

    rows: Callable[[Batch], int]
    filled: Callable[[Batch, int], Batch]
    quieted: Callable[[Batch, int], None]


class Learning(Generic[Batch]):
    """Forward and backward of training steps.

    A step is thousands of kernels: the interpreter would launch them for as long as the GPU takes
    to run them, and could not make the next images meanwhile. A graph launches them at once.

    Args:
        losses: (batch, generator, *others) -> float32 scalars, among them "total". What it reads
            besides stays where it is, and nothing in it waits for the device.
        parameters: whose `grad` is set.
        device: of both.
        record: see `cuda_graph.capture`; None: nothing is recorded.
        filling: of its batches; None: they are `LabelledBatch`.
    """

    def __init__(
        self,
        losses: Callable[..., dict[str, Tensor]],
        parameters: Sequence[Tensor],
        device: torch.device,
        record: Callable[..., tuple[Callable[[], None], Any]] | None = capture,
        filling: Filling[Batch] | None = None,
    ) -> None:
        self._losses, self._parameters, self._record = losses, parameters, record
        self._filling: Filling[Any] = LABELLED if filling is None else filling
        self._generator = torch.Generator(device=device)
        self.forget()

    def __call__(
        self,
        batch: Batch,
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
        rows = self._filling.rows(batch)
        if self._record is None or rows == 0:
            return self._eager(batch, meanwhile, others)
        form = (
            rows, *((x.shape[1:], x.dtype) for x in _tensors(batch)), batch.images.shape,
            *((x.shape, x.dtype) for x in others),
        )  # fmt: skip
        if form not in self._graphs:
            if form not in self._met or len(self._graphs) >= MOST_FORMS or not self._has_room():
                self._met.add(form)
                # with the rows a graph would have: random numbers are then the same
                return self._eager(self._filling.filled(batch, rows), meanwhile, others)
            self._graphs[form] = self._recorded(self._filling.filled(batch, rows), others)
        return self._graphs[form](batch, meanwhile, others)

    def forget(self) -> None:
        """Record anew: a number that the losses read has changed, or memory is short."""
        self._graphs: dict[Any, Callable[..., dict[str, Tensor]]] = {}
        self._met: set[Any] = set()
        self._pool: Any = None  # one that no graph holds any more cannot be recorded into

    def _eager(
        self, batch: Batch, meanwhile: Callable[[], None], others: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        for parameter in self._parameters:
            parameter.grad = None
        terms = self._losses(batch, self._generator, *others)
        meanwhile()  # backward runs without the interpreter
        terms["total"].backward()
        return {name: value.detach() for name, value in terms.items()}

    def _recorded(self, kept: Batch, others: Sequence[Tensor]) -> Callable[..., dict[str, Tensor]]:
        assert self._record is not None
        kept = copy.copy(kept)
        for name, value in vars(kept).items():
            setattr(kept, name, None if value is None else value.clone())
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
            batch: Batch, meanwhile: Callable[[], None], others: Sequence[Tensor]
        ) -> dict[str, Tensor]:
            values = (*_tensors(batch), *others)
            for place, value in zip((*_tensors(kept), *besides), values, strict=True):
                place[: len(value)].copy_(value)
            self._filling.quieted(kept, len(batch.R))
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


def _tensors(batch: Rows) -> list[Tensor]:
    return [value for value in vars(batch).values() if value is not None]


def filled_up(batch: LabelledBatch, rows: int) -> LabelledBatch:
    """The batch with so many instances, those added less visible than any that is learned from."""
    count = len(batch.R)
    fill = filled(count, rows, batch.R.device)
    more = {f.name: getattr(batch, f.name)[fill] for f in fields(batch) if f.name in OF_INSTANCES}
    filled_batch = replace(batch, **more)
    _unseen(filled_batch, count)
    return filled_batch


def _unseen(batch: LabelledBatch, count: int) -> None:
    batch.visible_fraction[count:] = -1.0


LABELLED: Filling[LabelledBatch] = Filling(
    lambda batch: -(-len(batch.R) // len(batch.images)) * len(batch.images), filled_up, _unseen
)


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
