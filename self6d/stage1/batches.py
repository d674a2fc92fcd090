"""The images of each step of stage 1, made a step ahead."""

from __future__ import annotations

import torch

from self6d.engine.ahead import Ahead
from self6d.rng import step_generator
from self6d.scene.batch import LabelledBatch
from self6d.synthesis import SceneMaker
from self6d.synthesis.pbr import PbrScenes

READ_AHEAD = 4  # steps whose files are read while earlier ones train
PBR_STREAM = 4  # random numbers of the choice between made and read images


class Batches(Ahead[LabelledBatch]):
    """Batches as a function of (seed, step) alone.

    Args:
        maker: of synthetic images. pbr: further images, read from files; None: none.
        pbr_share: share of the batches read.
        steps: how many there will be.
        seed: of the choice between both, the same on every rank. own_seed: of the images.
    """

    def __init__(
        self,
        maker: SceneMaker,
        pbr: PbrScenes | None,
        pbr_share: float,
        steps: int,
        seed: int,
        own_seed: int,
    ) -> None:
        super().__init__(self.make, steps, maker.device)
        self.maker, self.pbr, self.pbr_share, self.steps = maker, pbr, pbr_share, steps
        self.seed, self.own_seed = seed, own_seed

    def make(self, step: int, size: int) -> LabelledBatch:
        """The batch of a step, `size` images."""
        if self.pbr is None:
            return self.maker.make(size, self.own_seed, step)
        for coming in range(step, min(step + READ_AHEAD, self.steps)):
            if self.is_pbr(coming):
                self.pbr.prepare(size, self.own_seed, coming)
        source = self.pbr if self.is_pbr(step) else self.maker
        return source.make(size, self.own_seed, step)

    def is_pbr(self, step: int) -> bool:
        """Which batches come from files: the same ones on every rank and after a resume."""
        draw = torch.rand((), generator=step_generator(self.seed, step, stream=PBR_STREAM))
        return self.pbr is not None and bool(draw < self.pbr_share)
