"""Dataclasses of tensors that are moved and indexed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class TensorRecord:
    """Base of dataclasses whose fields are all tensors with the same leading dimension."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same record with every tensor changed."""
        changed: dict[str, Any] = {f.name: change(getattr(self, f.name)) for f in fields(self)}
        return type(self)(**changed)

    def __getitem__(self, rows: Tensor) -> Self:
        return self.map(lambda value: value[rows])

    def to(self, device: torch.device) -> Self:
        """On another device; copies from the CPU do not wait."""
        return self.map(lambda value: value.to(device, non_blocking=True))
