"""Several GPUs under torchrun: one process each, gradients averaged, rank 0 in command.

Rank 0 runs the ordinary loop with its events and checkpoints. The others have no run folder: they
do the step that rank 0 announces, and end when it does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PAUSE_MAX = timedelta(days=7)  # a pause of rank 0 must not look like a fault


@dataclass(frozen=True)
class World:
    """This process among those of torchrun; alone without it."""

    rank: int
    size: int
    device: torch.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, averaging its gradients over all ranks."""
        if self.size == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            network, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all ranks, in one exchange; the device is not waited
        for. Each rank gives tensors of the same shapes in the same order."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(mean.view(tensor.shape))

    def announce(self, step: int | None, time_share: float = 0.0) -> None:
        """Rank 0: tell the others to do a step, and its `Clock.share`; None: to end."""
        if self.size > 1 and self.rank == 0:
            count = _store().add("announced", 1)
            text = "end" if step is None else f"{step} {time_share!r}"
            _store().set(f"go/{count}", text)

    def wait_for_step(self, count: int) -> tuple[int, float] | None:
        """Other ranks: wait for announcement `count` (from 1); the step and the share of the time
        at its start, or None to end."""
        key = f"go/{count}"
        _store().wait([key], PAUSE_MAX)
        text = _store().get(key).decode()
        if text == "end":
            return None
        step, share = text.split()
        return int(step), float(share)


def join(device: torch.device | str) -> World:
    """Join the other processes of torchrun, if there are any (WORLD_SIZE, RANK, LOCAL_RANK)."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device(device)
    if size == 1:
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        return World(0, 1, device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30)
        )
    return World(dist.get_rank(), size, device)


def _store() -> dist.Store:
    return dist.distributed_c10d._get_default_store()
