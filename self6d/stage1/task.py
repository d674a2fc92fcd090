"""Stage 1: train a pose network on synthetic images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from self6d.engine.schedule import TrainConfig, learning_rate
from self6d.events import Preview, Told, told_to_nobody
from self6d.geometry import Camera, Pose
from self6d.network import NetworkConfig, PoseNetwork
from self6d.rng import mixed_seed
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.training import SyntheticTraining
from self6d.stage1.validation import synthetic_recalls
from self6d.synthesis import SynthesisConfig, gallery

__all__ = ["SyntheticTask", "TrainConfig", "learning_rate"]


class SyntheticTask(SyntheticTraining[PoseNetwork]):
    """The task of stage 1, see `SyntheticTraining` for what is not said here.

    Args:
        network: configuration of the pose network.
        start: weights to go on from, of a network of this form; None: anew.
    """

    graph = True

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera | None = None,
        network: NetworkConfig | None = None,
        synthesis: SynthesisConfig | None = None,
        train: TrainConfig | None = None,
        *,
        start: dict[str, Tensor] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        distractors: Sequence[ObjectModel] = (),
        views: Sequence[Sequence[Pose]] | None = None,
        tell: Told = told_to_nobody,
    ) -> None:
        self._form, self._start = replace(network or NetworkConfig()), start
        scenes = (synthesis or SynthesisConfig()).for_instances(self._form.instances)
        super().__init__(
            models, camera, scenes, train,
            seed=seed, device=device, distractors=distractors, views=views, tell=tell,
        )  # fmt: skip

    def make_network(self, models: Sequence[ObjectModel]) -> PoseNetwork:
        if self._start is None:
            return PoseNetwork(self._form, models)
        # pretrained weights, perhaps not installed here, would be written over at once
        network = PoseNetwork(replace(self._form, weights="none", crop_weights="none"), models)
        network.load_state_dict(self._start)
        return network

    def compiled_parts(self) -> Sequence[nn.Module]:
        regions = self.network.regions
        return (self.network.detector, regions.features, regions.rotate, regions.translate)

    def losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.network.losses(batch, generator)

    def judge(self, network: PoseNetwork, batch: LabelledBatch) -> dict[str, float]:
        return synthetic_recalls(network, batch)

    def about_network(self) -> dict[str, Any]:
        return {
            "network_config": asdict(self.network.config),
            "object_ids": list(self.network.object_ids),
        }

    def weighted_config(self, section: str) -> Any:
        return self.network.config if section == "network" else None

    def previews(self, step: int) -> list[Preview]:
        """Training images with their labels, and the poses found in two of them."""
        batch = self.maker.make(min(8, self.batch_size), mixed_seed(self.seed, 1, 1), step)
        shown = [Preview(step, "train/gallery", {"gallery": gallery(batch, columns=4, images=8)})]
        with self.autocast():
            detections = self.average.network.predict(batch.images[:2], batch.K[:2])
        for i in range(min(2, len(batch.images))):
            rgb = (batch.images[i].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
            rows = (detections.image_index == i).nonzero()[:, 0].tolist()
            poses = [
                {
                    "object_id": self.network.object_ids[int(detections.object_index[row])],
                    "R_m2c": detections.R[row].tolist(),
                    "t_m2c": detections.t[row].tolist(),
                    "score": float(detections.score[row]),
                }
                for row in rows
            ]
            shown.append(Preview(step, f"train/{i}", {"rgb": rgb}, poses))
        return shown
