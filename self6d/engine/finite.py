"""Steps that no number which is not finite can spoil."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from self6d.engine.halves import Half

SKIPPED = "health/skipped"
"""Name of the scalar that is 1 for a step whose update was skipped; see `finite_step`."""


def finite_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    loss: Tensor,
    clip: float,
    *,
    whole: bool = False,
    other: Future[Half] | None = None,
) -> Tensor:
    """Zero the gradients, backward, then `finite_update`; arguments and result as there.

    Args:
        whole: parameters that the loss does not reach move and decay as well, by a gradient of 0.
        other: the rest of the loss, with gradients of the parameters.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if other is not None:
        rest = other.result()
        loss = loss.detach() + rest.loss
        for parameter, more in zip(parameters, rest.gradients, strict=True):
            if more is not None:
                parameter.grad = more if parameter.grad is None else parameter.grad.add_(more)
    for parameter in parameters if whole else ():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return finite_update(optimizer, parameters, loss, clip)


def finite_update(
    optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], loss: Tensor, clip: float
) -> Tensor:
    """Clip the gradients, and step unless the loss or a gradient is not finite.

    With a fused optimiser (`AdamW(..., fused=True)`) nothing waits for the device: the optimiser
    itself leaves weights and moments alone when told so. Others wait once.

    Args:
        parameters: those to clip.
        loss: 0-dim.
        clip: largest norm of all gradients together; 0 or below: not clipped.

    Returns:
        0-dim bool on the loss's device: whether the step was made. Give `{SKIPPED: ~ok}` among the
        step's scalars and the loop counts it.
    """
    parameters = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    ok = torch.isfinite(loss.detach()) & torch.isfinite(norm)
    if clip > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    if optimizer.defaults.get("fused"):
        optimizer.grad_scale = None  # type: ignore[attr-defined]  # torch.amp's way of asking
        optimizer.found_inf = (~ok).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif ok:
        optimizer.step()
    return ok


class BatchStatistics:
    """Running means and variances of all batch norms, put back when a step was skipped.

    A forward pass writes them before anybody can tell that its loss will not be finite. They
    become parts of one flat tensor, so that keeping and putting back are two kernels.

    Args:
        network: on its final device already.
    """

    def __init__(self, network: nn.Module) -> None:
        slots = [
            (module, name)
            for module in network.modules()
            if isinstance(module, _BatchNorm)
            for name in ("running_mean", "running_var")
            if getattr(module, name) is not None
        ]
        values = [getattr(module, name) for module, name in slots]
        self._now = torch.cat(values) if values else torch.empty(0)
        parts = self._now.split([len(value) for value in values]) if values else ()
        for (module, name), part in zip(slots, parts, strict=True):
            setattr(module, name, part)
        self._good = self._now.clone()

    @torch.no_grad()
    def settle(self, ok: Tensor) -> None:
        """Keep the statistics of the step just made if `ok` (0-dim bool), else put back the last.

        Nothing waits for the device.
        """
        torch.where(ok, self._now, self._good, out=self._good)
        self._now.copy_(self._good)

    def keep(self) -> None:
        """Take the statistics as they are, such as after loading them."""
        self._good.copy_(self._now)
