"""Exponential moving average of a network's weights: what is validated and exported."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)

SETTLED = 10**6
"""Added to the step where the average starts from a trained network: it needs no quick start."""


class MovingAverage(Generic[N]):
    """w' <- d w' + (1 - d) w after each step, batch-norm statistics too.

    The decay starts low, d = min(decay, (1 + step) / (10 + step)), so that the random start is
    forgotten soon.

    Args:
        network: the network being trained.
        decay: 0 just copies.
    """

    def __init__(self, network: N, decay: float) -> None:
        self.decay = decay
        self.network: N = deepcopy(network).eval().requires_grad_(False)
        self._averaged, self._current = _numbers(self.network), _numbers(network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        # as torch.optim.swa_utils does
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)


def _numbers(network: nn.Module) -> list[Tensor]:
    """Persistent floating-point tensors; the network keeps them in place."""
    return [v for v in network.state_dict().values() if v.is_floating_point()]
