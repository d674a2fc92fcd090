"""Stage 1's forward and backward as one CUDA graph: thousands of launches become one.

A graph runs the same kernels on the same memory every time. So batches are copied into one of fixed
size, and random numbers come from a generator the graph knows of, seeded before each run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from self6d.synthesis.batch import SceneBatch

WARM = 3  # passes before capture: libraries start, kernels compile
PER_IMAGE = ("images", "K", "depth_m", "instance_map")
Losses = Callable[[SceneBatch, torch.Generator], dict[str, Tensor]]


class Room:
    """A batch of fixed size that other batches are copied into.

    Places that a batch leaves empty hold instances that nothing is learnt from: no pixel, no box, a
    visible fraction below any threshold, and a harmless pose.

    Args:
        like: a batch of the images' size, number and device.
        instances: places for instances.

    Attributes:
        batch: what was last taken in.
    """

    def __init__(self, like: SceneBatch, instances: int) -> None:
        rows = {
            name: len(value) if name in PER_IMAGE else instances
            for name, value in vars(like).items()
        }
        self.batch = SceneBatch(
            **{name: v.new_zeros(rows[name], *v.shape[1:]) for name, v in vars(like).items()}
        )
        self.batch.image_index.fill_(len(like.images) - 1)
        self.batch.visible_fraction.fill_(-1.0)
        self.batch.R.diagonal(dim1=1, dim2=2).fill_(1.0)
        self.batch.t[:, 2].fill_(1.0)
        # masks of empty places are never looked at
        settled = (*PER_IMAGE, "mask_amodal")
        self._empty = {k: v.clone() for k, v in vars(self.batch).items() if k not in settled}

    def take(self, batch: SceneBatch) -> bool:
        """Copy a batch in; False if it does not fit."""
        count = len(batch.image_index)
        if count > len(self.batch.image_index) or batch.images.shape != self.batch.images.shape:
            return False
        for name, value in vars(batch).items():
            place = getattr(self.batch, name)
            place[: len(value)].copy_(value)
            if name in self._empty:
                place[count:].copy_(self._empty[name][count:])
        return True


class GraphedBackward:
    """Losses and gradients of batch after batch, replayed from a CUDA graph once captured.

    The same kernels with the same inputs as without a graph: the results are the same.

    Args:
        losses: (batch, generator) -> 0-dim terms, "total" among them. It must neither wait for the
            device nor have shapes that depend on values.
        parameters: whose gradients are wanted.
        instances: most instances of a batch.
        device: a CUDA device.
    """

    def __init__(
        self, losses: Losses, parameters: Sequence[Tensor], instances: int, device: torch.device
    ) -> None:
        self.losses, self.parameters, self.instances = losses, parameters, instances
        self.generator = torch.Generator(device=device)
        self.room: Room | None = None
        self.passes = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._names: list[str] = []
        self._values: Tensor | None = None
        self._gradients: list[Tensor | None] = []

    @property
    def captured(self) -> bool:
        return self._graph is not None

    def load(self, batch: SceneBatch) -> bool:
        """Take a batch in, and capture the graph if it is time; False if the batch does not fit.

        Raises:
            RuntimeError: the pass cannot be captured.
        """
        if self.room is None:
            self.room = Room(batch, self.instances)
        if not self.room.take(batch):
            return False
        if self._graph is None and self.passes >= WARM:
            self._capture()
        return True

    def run(self, seed: int) -> dict[str, Tensor]:
        """The terms of the batch taken in; each parameter's `grad` then is that of "total".

        Args:
            seed: of the random numbers, the same for the same result.
        """
        self.generator.manual_seed(seed)
        if self._graph is None:
            self.passes += 1
            return self._pass()
        assert self._values is not None
        # someone else's backward may have put others there
        for parameter, gradient in zip(self.parameters, self._gradients):
            parameter.grad = gradient
        self._graph.replay()
        return dict(zip(self._names, self._values.clone().unbind()))

    def _pass(self) -> dict[str, Tensor]:
        assert self.room is not None
        for parameter in self.parameters:
            parameter.grad = None
        terms = self.losses(self.room.batch, self.generator)
        terms["total"].backward()
        return {name: value.detach() for name, value in terms.items()}

    def _capture(self) -> None:
        device, graph = self.generator.device, torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)  # each replay draws from its seed
        with (
            torch.cuda.stream(
                torch.cuda.current_stream(device)
            ),  # a failed capture stays elsewhere
            torch.cuda.graph(graph, stream=torch.cuda.Stream(device)),
        ):
            terms = self._pass()
            values = torch.stack(list(terms.values()))
        self._graph, self._names, self._values = graph, list(terms), values
        self._gradients = [parameter.grad for parameter in self.parameters]
