"""Stage 1 with a track beside it: synthetic images, and real frames at the track's poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import PoseTrack
from self6d.engine.schedule import TrainConfig
from self6d.events import Told, told_to_nobody
from self6d.geometry import Camera
from self6d.network import NetworkConfig
from self6d.rng import step_generator
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage1.task import SyntheticTask
from self6d.stage2.config import AdaptConfig
from self6d.stage2.posed_frames import PosedFrames, views_of
from self6d.stage2.track_task import sure_poses
from self6d.synthesis import SynthesisConfig


class TrackTraining(SyntheticTask):
    """Trains a network from nothing on synthetic images and on the poses a tracker is sure of.

    As everything that learns from a recording it sees `UnlabelledFrames` alone.

    Args:
        models, camera, network, synthesis, train, start, seed, device, tell: as
            `SyntheticTask`; `synthesis.views_share` of the instances are seen from near the track.
        frames: the recording. track: poses in it, see `sure_poses`.
        adapt: `track_confidence`, how many frames a step (`batch`), and how they are varied. Their
            losses count as those of the synthetic images do.

    Raises:
        TypeError, InputError: see `sure_poses`.
    """

    graph = False  # its losses draw frames on the host: a graph would learn from the first for ever

    def __init__(
        self,
        models: Sequence[ObjectModel],
        camera: Camera | None,
        network: NetworkConfig,
        synthesis: SynthesisConfig,
        train: TrainConfig,
        frames: UnlabelledFrames,
        track: PoseTrack,
        adapt: AdaptConfig,
        *,
        start: dict[str, Tensor] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tell: Told = told_to_nobody,
    ) -> None:
        poses = sure_poses(track, frames, [m.object_id for m in models], adapt.track_confidence)
        super().__init__(
            models, camera, network, synthesis, train, views=views_of(poses, len(models)),
            start=start, seed=seed, device=device, tell=tell,
        )  # fmt: skip
        varied = replace(adapt, image_height=self.camera.height)
        self.posed = PosedFrames(
            frames, models, poses, varied, self.device, complete=False, tell=tell
        )

    def losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        terms = super().losses(batch, generator)
        draws = step_generator(generator.initial_seed(), 0)
        count = max(2, self.posed.config.batch)  # batch norms need more than one
        frames, known = self.posed.draw(count, draws, generator)
        own = self.network.losses(frames, generator, known)["total"]
        return terms | {"poses": own, "total": terms["total"] + own}

    def result(self) -> dict[str, Any]:
        """As of stage 1, and how much of the track there was to learn from."""
        return super().result() | self.posed.counts()
