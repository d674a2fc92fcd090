"""The supervised upper bound: the same network trained on the poses that stage 2 must not see.

For comparison only. It is apart from stage 2, which has no way to a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from self6d.datasets import Recording, UnlabelledFrames, upper_bound_truth
from self6d.engine.averaging import MovingAverage
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, finite_step
from self6d.engine.schedule import learning_rate
from self6d.errors import InputError
from self6d.events import Preview
from self6d.network import PoseNetwork
from self6d.rendering import pack_models
from self6d.rng import step_generator
from self6d.runs import checkpoint
from self6d.scene import GroundTruth, ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_augmentation import varied_batch
from self6d.stage2.frame_store import FrameStore
from self6d.synthesis import augment

SETTLED = 10**6  # the average starts from a trained network


class UpperBoundTask:
    """Fine-tunes a network with the true poses of the frames that stage 2 adapts to.

    Args:
        network: trained in stage 1. models: its objects.
        dataset: frames with poses (those set aside for this bound included).
        adapt: steps, batch, learning rate, scope and augmentation are taken from stage 2's
            configuration.
        seed: decides every draw. device: "cpu", "cuda", ...

    Raises:
        InputError: no frame has a pose of the network's objects.
    """

    name = "upper bound"

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        dataset: Recording,
        adapt: AdaptConfig,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.seed = replace(adapt), seed
        self.total_steps, self.batch_size = adapt.steps, adapt.batch
        self.clock = Clock(adapt.minutes)
        self.device = torch.device(device)
        self.store = FrameStore(
            UnlabelledFrames(dataset),
            self.device,
            height=adapt.image_height,
            budget_mb=adapt.cache_mb,
        )
        truth = upper_bound_truth(dataset)
        place = {object_id: i for i, object_id in enumerate(network.object_ids)}
        self.truth: dict[int, list[GroundTruth]] = {}
        for index in range(len(dataset)):
            known = [t for t in truth(index) if t.object_id in place]
            if known:
                self.truth[index] = known
        if not self.truth:
            raise InputError("no frame has a pose of the network's objects", path=dataset.root)
        self.place = place
        self.network = network.to(self.device)
        self.parameters = network.stage2_parameters(adapt.scope)
        self.network.eval()  # batch norms keep the statistics of stage 1
        self.average = MovingAverage(self.network, adapt.ema)
        self.models = pack_models(models, self.device)
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=adapt.lr,
            weight_decay=adapt.weight_decay,
            fused=self.device.type == "cuda",
        )

    def step(self, step: int) -> dict[str, Any]:
        """One optimiser step on labelled frames drawn at random."""
        generator = step_generator(self.seed, step)
        frames = sorted(self.truth)
        chosen = torch.randperm(len(frames), generator=generator)[: self.batch_size]
        noise = step_generator(self.seed, step, stream=1, device=self.device)
        batch = self._batch([frames[i] for i in chosen.tolist()], noise)
        batch = replace(batch, images=augment(batch.images, generator, self.config.augment))
        rate = learning_rate(step, self.config, self.clock.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self.network.losses(batch, noise)
        ok = finite_step(self.optimizer, self.parameters, terms["total"], self.config.clip)
        self.average.update(step + SETTLED)
        values = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return values | {"lr": rate, SKIPPED: ~ok}

    def _batch(self, frames: list[int], noise: torch.Generator) -> LabelledBatch:
        rows = [(i, t) for i, frame in enumerate(frames) for t in self.truth[frame]]
        R = np.stack([t.pose.R_m2c for _, t in rows]).astype(np.float32)
        t = np.stack([t.pose.t_m2c for _, t in rows]).astype(np.float32)
        index = torch.tensor([i for i, _ in rows], device=self.device)
        objects = [self.place[t.object_id] for _, t in rows]
        return varied_batch(
            self.store.batch(frames),
            self.models,
            (torch.tensor(R, device=self.device), torch.tensor(t, device=self.device)),
            index,
            torch.tensor(objects, device=self.device),
            self.config,
            noise,
        )

    def previews(self, step: int) -> list[Preview]:
        return []

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights under "network", to be used; the rest is for going on."""
        camera = {"K": self.store.camera.K.tolist(), "size": list(self.store.camera.size)}
        return checkpoint.pack(
            {
                "network": self.average.network.state_dict(),
                "trained": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "network_config": asdict(self.network.config),
                "object_ids": list(self.network.object_ids),
                "camera": camera,
                "batch_size": self.batch_size,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        tree = checkpoint.unpack(state)
        self.average.network.load_state_dict(tree["network"])
        self.network.load_state_dict(tree["trained"])
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])
        self.batch_size = tree["batch_size"]

    def result(self) -> dict[str, Any]:
        return {"frames": len(self.truth)}

    def set_live(self, values: dict[str, float]) -> None:
        for name in ("lr", "clip"):
            setattr(self.config, name, values.get(f"adapt.{name}", getattr(self.config, name)))

    def halve_batch(self) -> bool:
        if self.batch_size < 2:
            return False
        self.batch_size //= 2
        return True
