"""A real task, small: a linear map learnt by AdamW from batches drawn by (seed, step)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, finite_step
from self6d.events import Preview
from self6d.rng import seeded, step_generator
from self6d.runs.checkpoint import pack, unpack


class ToyTask:
    """Args: before_step: called with (task, step) first, to make things happen."""

    name = "toy"

    def __init__(
        self,
        total_steps: int = 40,
        *,
        width: int = 8,
        fused: bool = True,
        before_step: Callable[[ToyTask, int], None] | None = None,
    ) -> None:
        self.total_steps = total_steps
        self.clock = Clock()
        self.width = width
        with seeded(1):
            self.net = torch.nn.Linear(width, width)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.02, fused=fused)
        self.batch = 16
        self.scale = 1.0
        self.steps_done: list[int] = []
        self.before_step = before_step

    def step(self, step: int) -> dict[str, Any]:
        if self.before_step is not None:
            self.before_step(self, step)
        generator = step_generator(0, step)
        x = torch.randn(self.batch, self.width, generator=generator)
        loss = self.scale * (self.net(x) - x.flip(1)).square().mean()
        ok = finite_step(self.optimizer, list(self.net.parameters()), loss, clip=1.0)
        self.steps_done.append(step)
        return {"loss/total": loss, "loss/scale": self.scale, SKIPPED: ~ok}

    def previews(self, step: int) -> list[Preview]:
        picture = np.full((4, 5, 3), step % 256, np.uint8)
        return [Preview(step, "probe/0", {"rgb": picture}, [{"object_id": 1, "score": 0.5}])]

    def state_dict(self) -> dict[str, Any]:
        tree = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return pack({**tree, "batch": self.batch})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        tree = unpack(state)
        self.net.load_state_dict(tree["net"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.batch = tree["batch"]

    def result(self) -> dict[str, Any]:
        return {"norm": float(self.net.weight.detach().norm())}

    def set_live(self, values: dict[str, float]) -> None:
        self.scale = values.get("loss.scale", self.scale)

    def halve_batch(self) -> bool:
        self.batch //= 2
        return self.batch >= 1
