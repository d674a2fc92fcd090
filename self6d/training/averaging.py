"""Exponential moving average of a network's weights: what is validated and exported."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)


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

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = _numbers(self.network), _numbers(network)
        torch._foreach_lerp_(averaged, current, 1 - decay)  # as torch.optim.swa_utils does


def _numbers(network: nn.Module) -> list[Tensor]:
    """Persistent floating-point tensors."""
    return [v for v in network.state_dict(keep_vars=False).values() if v.is_floating_point()]
