"""Dataclasses of tensors that are indexed together, and one copy to the device for many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVarTuple, cast

import torch
from torch import Tensor

ALIGN = 16  # bytes
Ts = TypeVarTuple("Ts")


@dataclass
class TensorRecord:
    """Base of dataclasses whose fields are all tensors with the same leading dimension."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same record with every tensor changed."""
        changed: dict[str, Any] = {f.name: change(getattr(self, f.name)) for f in fields(self)}
        return type(self)(**changed)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        return self.map(lambda value: value[rows])


def upload(device: torch.device, *values: *Ts) -> tuple[*Ts]:
    """Tensors and records of them, from the CPU to the device.

    To a GPU all go in one copy from pinned memory: it waits for nothing, where a copy of each would
    cost more time than the work they are for.
    """
    if device.type == "cpu":
        return values
    found: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for value in values:
        value.map(collect) if isinstance(value, TensorRecord) else collect(cast(Tensor, value))
    buffer = pack(found)
    if device.type == "cuda":
        buffer = buffer.pin_memory()
    moved = unpack(buffer.to(device, non_blocking=True), found)
    arrived = iter(moved)
    return cast(
        "tuple[*Ts]",
        tuple(
            value.map(lambda _: next(arrived)) if isinstance(value, TensorRecord) else next(arrived)
            for value in values
        ),
    )


def pack(tensors: Sequence[Tensor]) -> Tensor:
    """All their bytes, (n,) uint8, each aligned."""
    parts: list[Tensor] = []
    for tensor in tensors:
        data = tensor.contiguous().view(-1).view(torch.uint8)
        parts += [data, data.new_zeros(-len(data) % ALIGN)]
    return torch.cat(parts)


def unpack(buffer: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views of `pack`'s bytes with the shapes and dtypes of the tensors packed."""
    views, start = [], 0
    for tensor in like:
        size = tensor.numel() * tensor.element_size()
        views.append(buffer[start : start + size].view(tensor.dtype).view(tensor.shape))
        start += size + -size % ALIGN
    return views
