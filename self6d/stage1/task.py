"""Stage 1: train a pose network on synthetic images alone."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from self6d.engine import distributed
from self6d.engine.averaging import MovingAverage
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, BatchStatistics, finite_update
from self6d.engine.schedule import TrainConfig, learning_rate
from self6d.errors import InputError
from self6d.events import Preview
from self6d.geometry import Camera
from self6d.network import NetworkConfig, PoseNetwork
from self6d.rng import mixed_seed, seeded
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.batches import Batches
from self6d.stage1.validation import synthetic_recalls
from self6d.synthesis import SceneMaker, SynthesisConfig, gallery, scaled_camera
from self6d.synthesis.pbr import PbrScenes

LOSS_STREAM = 1  # random numbers of the losses
VALIDATION_STREAM = 7  # keeps validation images apart from all training images
log = logging.getLogger("self6d")

__all__ = ["SyntheticTask", "TrainConfig", "learning_rate"]


class SyntheticTask:
    """The task of stage 1, run by `engine.loop.run_task`.

    Args:
        models: the objects.
        camera: whose images the network will see; scaled to `synthesis.height`. None: a common one.
        network, synthesis, train: configurations.
        seed: decides initial weights and every image.
        device: "cpu", "cuda", "cuda:1", ...
        distractors: models that appear without a label.

    Under torchrun the same construction in every process trains one network: each rank makes its
    own images, gradients are averaged, rank 0 validates and writes (`engine.distributed`).
    """

    name = "train"

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera | None = None,
        network: NetworkConfig | None = None,
        synthesis: SynthesisConfig | None = None,
        train: TrainConfig | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        distractors: Sequence[ObjectModel] = (),
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
            self.network = PoseNetwork(replace(network or NetworkConfig()), models)
        self.network.to(self.device)
        if self.config.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.statistics = BatchStatistics(self.network)
        self.average = MovingAverage(self.network, self.config.ema)
        if self._compiles():
            self.network.detector.compile()
            self.network.regions.features.compile()
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            _groups(self.parameters, self.config.weight_decay),
            lr=self.config.lr,
            fused=True,
        )
        self.maker = SceneMaker(
            models, self.camera, self.synthesis, self.device, distractors=distractors
        )
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

    def _compiles(self) -> bool:
        wanted = self.config.compile
        if wanted == "auto":
            return self.cuda and any(shutil.which(name) for name in ("cc", "gcc", "clang"))
        return wanted == "on"

    def _losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        with self.autocast():
            return self.network.losses(batch, generator)

    def autocast(self) -> AbstractContextManager:
        """bfloat16 where the configuration says so."""
        amp = self.config.amp
        if amp == "off" or (amp == "auto" and not self.cuda):
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def step(self, step: int) -> dict[str, float | Tensor]:
        """One optimiser step on a fresh batch."""
        self.world.announce(step, self.clock.share)
        values = self._health(step)
        batch = self.batches.take(step, self.batch_size)
        seed = mixed_seed(self.seed, step, self.world.rank, LOSS_STREAM)
        terms = self._losses(batch, torch.Generator(device=self.device).manual_seed(seed))
        # from here on the interpreter is mostly free: backward runs without it
        self.batches.start(step + 1, self.batch_size)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        terms = {name: value.detach() for name, value in terms.items()}
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

    def _health(self, step: int) -> dict[str, float | Tensor]:
        every = self.config.validate_every
        if self.world.rank or not every or step == 0 or step % every:
            return {}
        return {f"health/{name}": value for name, value in self.validate(step).items()}

    def validate(self, step: int) -> dict[str, float]:
        """Recalls of the averaged weights on a fixed batch of synthetic images."""
        if self._judged is None or self._judged[0] != step:
            network = self.average.network
            parts: list[dict[str, float]] = []
            for batch in self._validation_batches():
                with self.autocast():
                    parts.append(synthetic_recalls(network, batch))
            mean = {name: sum(p[name] for p in parts) / len(parts) for name in parts[0]}
            self._judged = (step, mean)
        return self._judged[1]

    def _validation_batches(self) -> list[LabelledBatch]:
        if self._validation is None:
            seed, n = mixed_seed(self.seed, VALIDATION_STREAM), self.config.validation_images
            self._validation = self.maker.make(n, seed, 0)
        return [self._validation]

    def score(self) -> float:
        """Recall of right poses, with detection recall to break early ties."""
        health = self.validate(self._step)
        return health["add_recall"] + 0.01 * health["detection_recall"]

    def previews(self, step: int) -> list[Preview]:
        """Training images with their labels, and the poses found in two of them."""
        batch = self.maker.make(min(8, self.batch_size), mixed_seed(self.seed, 1, 1), step)
        shown = [Preview(step, "train/gallery", {"gallery": gallery(batch, columns=4, images=8)})]
        with self.autocast():
            found = self.average.network.predict(batch.images[:2], batch.K[:2])
        for i in range(min(2, len(batch.images))):
            rgb = (batch.images[i].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
            rows = (found.image_index == i).nonzero()[:, 0].tolist()
            poses = [
                {
                    "object_id": self.network.object_ids[int(found.object_index[row])],
                    "R_m2c": found.R[row].tolist(),
                    "t_m2c": found.t[row].tolist(),
                    "score": float(found.score[row]),
                }
                for row in rows
            ]
            shown.append(Preview(step, f"train/{i}", {"rgb": rgb}, poses))
        return shown

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights under "network", to be used; the rest is for going on."""
        camera = {"K": self.camera.K.tolist(), "size": list(self.camera.size)}
        return checkpoint.pack(
            {
                "network": self.average.network.state_dict(),
                "trained": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "network_config": asdict(self.network.config),
                "object_ids": list(self.network.object_ids),
                "camera": camera,
                "batch_size": self.batch_size,
                "images_made": self.images_made,
                "step": self._step,
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
            elif section == "network" and name.endswith("_weight"):
                if not hasattr(self.network.config, name):
                    raise InputError(f"there is no {key} to change")
                setattr(self.network.config, name, value)

    def halve_batch(self) -> bool:
        """Half as many images a step from now on; not under torchrun, where ranks must agree."""
        if self.batch_size < 2 or self.world.size > 1:
            return False
        self.batch_size //= 2
        return True


def _groups(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, vectors (biases, norms) do not."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
