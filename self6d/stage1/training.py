"""Training on synthetic images, whatever the network: its average, its images, its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from self6d.cuda_graph import capture
from self6d.engine import distributed
from self6d.engine.averaging import MovingAverage
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, BatchStatistics, finite_update
from self6d.engine.learning import Learning, arithmetic
from self6d.engine.optimizer import AdamW
from self6d.engine.schedule import TrainConfig, learning_rate
from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.fusing import can_compile, fused, prepare_compiler, unfused
from self6d.geometry import Camera, Pose
from self6d.rendering.warm_up import warm_up
from self6d.rng import mixed_seed, seeded
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.batches import Batches
from self6d.synthesis import SceneMaker, SynthesisConfig, scaled_camera
from self6d.synthesis.pbr import PbrScenes

LOSS_STREAM = 1  # random numbers of the losses
COMPILED_STEPS = 2000  # compiling pays in runs of so many steps,
COMPILED_MINUTES = 6  # and of so much time
COMPILING_STEPS = 3  # meanwhile no other thread makes images: torch compiles in one at a time
VALIDATION_STREAM = 7  # keeps validation images apart from all training images

N = TypeVar("N", bound=nn.Module)


class SyntheticTraining(ABC, Generic[N]):
    """What every training on synthetic images shares; a task of `engine.loop.run_task`.

    Args:
        models: the objects.
        camera: whose images the network will see; scaled to `synthesis.height`. None: a common one.
        synthesis, train: configurations.
        seed: decides initial weights and every image.
        device: "cpu", "cuda", "cuda:1", ...
        distractors: models that appear without a label.
        views: poses near which objects are seen, see `SceneMaker`.
        tell: hears how far it is before the first step.

    Under torchrun the same construction in every process trains one network: each rank makes its
    own images, gradients are averaged, rank 0 validates and writes (`engine.distributed`).
    """

    name = "train"
    graph = False  # whether the losses can be recorded as a CUDA graph

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera | None = None,
        synthesis: SynthesisConfig | None = None,
        train: TrainConfig | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        distractors: Sequence[ObjectModel] = (),
        views: Sequence[Sequence[Pose]] | None = None,
        tell: Told = told_to_nobody,
    ) -> None:
        self.config = replace(train or TrainConfig())
        self.synthesis = synthesis or SynthesisConfig()
        self.seed, self.total_steps = seed, self.config.steps
        self.clock = Clock(self.config.minutes)
        self.world = distributed.join(device)
        self.device = self.world.device
        self.cuda = self.device.type == "cuda"
        self.batch_size = self.config.batch
        self.images_made = 0
        self.camera = scaled_camera(camera, self.synthesis.height)
        with seeded(mixed_seed(seed, 0)):
            self.network = self.make_network(models)
        self.network.to(self.device)
        if self.config.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.statistics = BatchStatistics(self.network)
        self.average = MovingAverage(self.network, self.config.ema)
        compiles = is_compiled(self.config, self.cuda)
        self._compiling = COMPILING_STEPS if compiles else 0
        if compiles:
            prepare_compiler()
            for part in self.compiled_parts():
                part.compile()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = AdamW(
            _groups(self.parameters, self.config.weight_decay),
            lr=self.config.lr,
            fused=True,
        )
        records = self.cuda and self.graph and not compiles
        self._learning = Learning[LabelledBatch](
            self._weighted, self.parameters, self.device, capture if records else None
        )
        self.maker = SceneMaker(
            models, self.camera, self.synthesis, self.device, distractors=distractors,
            views=views, work=fused if compiles else unfused, tell=tell,
        )  # fmt: skip
        warm_up(self.maker.packed, tell, gradients=False)
        pbr: PbrScenes | None = None
        if self.synthesis.pbr:
            pbr = PbrScenes(self.synthesis.pbr, models, self.camera, self.synthesis, self.device)
        self.batches = Batches(
            self.maker,
            pbr,
            self.synthesis.pbr_share,
            self.total_steps,
            seed,
            own_seed=mixed_seed(seed, self.world.rank),
        )
        self._validation: LabelledBatch | None = None
        self._judged: tuple[int, dict[str, float]] | None = None
        self._step = 0
        self.on_preparing = told_to_nobody

    @abstractmethod
    def make_network(self, models: Sequence[ObjectModel]) -> N:
        """The network before training."""

    @abstractmethod
    def compiled_parts(self) -> Sequence[nn.Module]:
        """What torch.compile is worth its time for."""

    @abstractmethod
    def losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted scalars of a batch and their sum "total"; the generator is on the device."""

    @abstractmethod
    def judge(self, network: N, batch: LabelledBatch) -> dict[str, float]:
        """Recalls of a network on labelled images."""

    @abstractmethod
    def about_network(self) -> dict[str, Any]:
        """What a checkpoint says of the network, as JSON can hold it."""

    def autocast(self) -> AbstractContextManager:
        """bfloat16 where the configuration says so."""
        return arithmetic(self.config.amp, self.device)

    def step(self, step: int) -> dict[str, float | Tensor]:
        """One optimiser step on a fresh batch."""
        self.world.announce(step, self.clock.share)
        values = self._health(step)
        if self._compiling:
            done = COMPILING_STEPS - self._compiling
            self.on_preparing("first steps, which compile the network", done, COMPILING_STEPS)
        batch = self.batches.take(step, self.batch_size)
        seed = mixed_seed(self.seed, step, self.world.rank, LOSS_STREAM)
        terms = self._learning(batch, seed, partial(self._make_ahead, step + 1))
        rate = learning_rate(step, self.config, self.clock.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # with the loss, so that all ranks find the same step finite
        self.world.average(
            [terms["total"], *(p.grad for p in self.parameters if p.grad is not None)]
        )
        ok = finite_update(self.optimizer, self.parameters, terms["total"], self.config.clip)
        self.statistics.settle(ok)
        self.average.update(step)
        self._step = step + 1
        self.images_made += self.batch_size * self.world.size
        values |= {f"loss/{name}": value for name, value in terms.items()}
        return values | {"lr": rate, SKIPPED: ~ok}

    def _weighted(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        with self.autocast():
            return self.losses(batch, generator)

    def _make_ahead(self, step: int) -> None:
        if self._compiling:
            self._compiling -= 1
        else:
            self.batches.start(step, self.batch_size)

    def _health(self, step: int) -> dict[str, float | Tensor]:
        every = self.config.validate_every
        if self.world.rank or not every or step == 0 or step % every:
            return {}
        return {f"health/{name}": value for name, value in self.validate(step).items()}

    def validate(self, step: int) -> dict[str, float]:
        """Recalls of the averaged weights on a fixed batch of synthetic images."""
        if self._judged is None or self._judged[0] != step:
            if self._validation is None:
                seed, n = mixed_seed(self.seed, VALIDATION_STREAM), self.config.validation_images
                self.on_preparing(f"rendering {n} validation images", 0, 1)
                self._validation = self.maker.make(n, seed, 0)
            self.on_preparing("judging the network on validation images", 0, 1)
            with self.autocast():
                self._judged = (step, self.judge(self.average.network, self._validation))
        return self._judged[1]

    def score(self) -> float:
        """Recall of right poses, with detection recall to break early ties."""
        health = self.validate(self._step)
        return health["add_recall"] + 0.01 * health.get("detection_recall", 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights under "network", to be used; the rest is for going on."""
        camera = {"K": self.camera.K.tolist(), "size": list(self.camera.size)}
        return checkpoint.pack(
            {
                "network": self.average.network.state_dict(),
                "trained": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "camera": camera,
                "batch_size": self.batch_size,
                "images_made": self.images_made,
                "step": self._step,
                **self.about_network(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from a state of `state_dict`."""
        tree = checkpoint.unpack(state)
        self.average.network.load_state_dict(tree["network"])
        self.network.load_state_dict(tree["trained"])
        self.statistics.keep()
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])
        self.batch_size = tree["batch_size"]
        self.images_made = tree["images_made"]
        self._step = tree["step"]
        self._judged = None

    def result(self) -> dict[str, Any]:
        """Images seen, and the recalls of the averaged weights on synthetic images."""
        return {"images": self.images_made, **self.validate(self._step)}

    def set_live(self, values: dict[str, float]) -> None:
        """Change "train.lr", "train.clip" or a weight such as "network.pose_weight"."""
        for key, value in values.items():
            section, _, name = key.partition(".")
            if section == "train" and name in ("lr", "clip"):
                setattr(self.config, name, value)
            elif name.endswith("_weight"):
                config = self.weighted_config(section)
                if config is None:
                    continue
                if not hasattr(config, name):
                    raise InputError(f"there is no {key} to change")
                setattr(config, name, value)
                self._learning.forget()

    @abstractmethod
    def weighted_config(self, section: str) -> Any:
        """The configuration whose weights count, for its section; None for others."""

    def halve_batch(self) -> bool:
        """Half as many images a step from now on; not under torchrun, where ranks must agree."""
        if self.batch_size < 2 or self.world.size > 1:
            return False
        self.batch_size //= 2
        self._learning.forget()
        return True


def is_compiled(config: TrainConfig, cuda: bool) -> bool:
    """Whether torch.compile is worth its time for a run, on a GPU or not."""
    if config.compile == "auto":
        long = config.steps >= COMPILED_STEPS and not 0 < config.minutes < COMPILED_MINUTES
        return cuda and long and can_compile()
    return config.compile == "on"


def _groups(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, vectors (biases, norms) do not."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
