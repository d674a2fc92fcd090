"""The images of each step of stage 1, made a step ahead where that hides the making."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from self6d.rng import step_generator
from self6d.scene.batch import LabelledBatch
from self6d.synthesis import SceneMaker
from self6d.synthesis.pbr import PbrScenes

READ_AHEAD = 4  # steps whose files are read while earlier ones train
PBR_STREAM = 4  # random numbers of the choice between made and read images


class Batches:
    """Batches as a function of (seed, step) alone.

    On CUDA `start` makes one in a thread and a stream of its own, while the step before it trains:
    launching kernels takes as long as they do. Autograd and launches leave the interpreter free, so
    that both threads get on.

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
        self.maker, self.pbr, self.pbr_share, self.steps = maker, pbr, pbr_share, steps
        self.seed, self.own_seed, self.device = seed, own_seed, maker.device
        self._thread: ThreadPoolExecutor | None = None
        self._coming: tuple[int, int, Future[LabelledBatch]] | None = None
        if self.device.type == "cuda":
            self._thread = ThreadPoolExecutor(1, "scenes")
            self._side = torch.cuda.Stream(self.device, priority=-1)  # short kernels, needed soon
            self._side.wait_stream(torch.cuda.current_stream(self.device))

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

    def start(self, step: int, size: int) -> None:
        """Begin to make a step's batch, where there is a thread for it."""
        if self._thread is not None and step < self.steps:
            self._coming = (step, size, self._thread.submit(self._beside, step, size))

    def take(self, step: int, size: int) -> LabelledBatch:
        """The batch of a step: the one begun, if it is that one."""
        coming, self._coming = self._coming, None
        if coming is None or coming[:2] != (step, size):
            return self.make(step, size)
        batch = coming[2].result()
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._side)
        for value in vars(batch).values():
            value.record_stream(current)
        return batch

    def _beside(self, step: int, size: int) -> LabelledBatch:
        with torch.cuda.device(self.device), torch.cuda.stream(self._side):
            return self.make(step, size)
