"""Train the RGB refiner on the images of stage 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from self6d.events import Preview, Told, told_to_nobody
from self6d.geometry import Camera
from self6d.losses.supervised import add_distance, nearest_symmetric_pose
from self6d.network.objects import ObjectTable
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.learning import RefinedObjects, refiner_losses, wrong_poses
from self6d.refinement.rgb.look import diameters, take_look
from self6d.refinement.rgb.losses import CLOSE
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.rng import mixed_seed
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.training import SyntheticTraining, TrainConfig
from self6d.synthesis import SynthesisConfig, gallery

POINTS = 128  # of each model, in the losses
TURNS = 32  # samples of a continuous symmetry
JUDGE_SEED = 11


class RefinerTask(SyntheticTraining[RefinerNetwork]):
    """A task of `engine.loop.run_task`, see `SyntheticTraining` for what is not said here.

    Args:
        models: what to train on: the user's objects, generated ones, or both.
        refiner: configuration.
        start: weights to go on from, such as the shipped refiner's; None: anew.
    """

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera | None = None,
        refiner: RefinerConfig | None = None,
        synthesis: SynthesisConfig | None = None,
        train: TrainConfig | None = None,
        *,
        start: dict[str, Tensor] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tell: Told = told_to_nobody,
    ) -> None:
        self.refiner = replace(refiner or RefinerConfig())
        self._start = start
        self.object_ids = [model.object_id for model in models]
        super().__init__(models, camera, synthesis, train, seed=seed, device=device, tell=tell)
        outputs = range(len(models)) if self.refiner.per_object else [0] * len(models)
        self.objects = RefinedObjects(
            self.maker.packed,
            diameters(models, self.device),
            ObjectTable(models, POINTS, 0, TURNS).to(self.device),
            torch.tensor(list(outputs), device=self.device),
        )

    def make_network(self, models: Sequence[ObjectModel]) -> RefinerNetwork:
        network = RefinerNetwork(self.refiner, len(models) if self.refiner.per_object else 1)
        if self._start is not None:
            network.start_from(self._start)
        return network

    def compiled_parts(self) -> Sequence[nn.Module]:
        return (self.network.backbone.body, self.network.condense)  # what its forward calls

    def losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        return refiner_losses(self.network, batch, self.objects, self.refiner, generator)

    @torch.no_grad()
    def judge(self, network: RefinerNetwork, batch: LabelledBatch) -> dict[str, float]:
        """Share of poses within a tenth of the diameter before and after `looks`, and how well the
        confidence is calibrated: mean of (confidence - right)^2, the Brier score."""
        g = torch.Generator(device=self.device).manual_seed(JUDGE_SEED)
        start = wrong_poses(batch, self.objects, self.refiner, None, g)
        scene, R, t, rows = start.scene, start.R, start.t, start.used
        R_true, t_true, index = start.R_true, start.t_true, scene.object_index
        points, symmetries = self.objects.table.points[index], self.objects.table.symmetries[index]
        diameter = self.objects.diameter[index]

        def right(R: Tensor, t: Tensor) -> Tensor:
            with torch.autocast(self.device.type, enabled=False):
                near = nearest_symmetric_pose(R, t, R_true, t_true, points, symmetries)
                error = add_distance(R, t, *near, points) / diameter
            return (error < CLOSE)[rows].float()

        before = right(R, t)
        for _ in range(self.refiner.looks):
            look = take_look(network, scene, R, t)
            R, t = look.R, look.t
        after, sure = right(R, t), look.change.confidence.sigmoid()[rows]
        return {
            "start_recall": float(before.mean()),
            "add_recall": float(after.mean()),
            "brier": float((sure - after).square().mean()),
        }

    def about_network(self) -> dict[str, Any]:
        ids = self.object_ids if self.refiner.per_object else []
        return {"refiner_config": asdict(self.refiner), "object_ids": ids}

    def weighted_config(self, section: str) -> Any:
        return self.refiner if section == "refiner" else None

    def previews(self, step: int) -> list[Preview]:
        """Training images with their labels."""
        batch = self.maker.make(min(8, self.batch_size), mixed_seed(self.seed, 1, 1), step)
        return [Preview(step, "train/gallery", {"gallery": gallery(batch, columns=4, images=8)})]
