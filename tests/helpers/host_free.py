"""Work that asks nothing of the host, seen without a GPU.

On the device "meta" tensors have shapes but no values: whatever needs a value, or mixes in a tensor
of the CPU, fails or is seen here; a CUDA graph could not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# they hand a value, or a shape that depends on values, to Python
VALUES = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh", "equal"}


class OnDeviceOnly(TorchDispatchMode):
    """Fails on operations that read values or touch tensors of the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        assert name not in VALUES, f"{name} waits for the device"
        assert all(x.device.type == "meta" for x in tensors), f"{name} touches the CPU"
        return out


def replayed(
    work: Callable[[], Sequence[Tensor]], **_: Any
) -> tuple[Callable[[], None], Sequence[Tensor]]:
    """As `cuda_graph.capture`: the same memory for what goes in and what comes out."""
    results = work()

    def replay() -> None:
        for place, value in zip(results, work(), strict=True):
            place.copy_(value)

    return replay, results
