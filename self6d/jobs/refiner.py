"""Poses of a network pulled onto the frames' depth, as evaluation and prediction ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from self6d.evaluation.predictions import (
    Refiner,
)
from self6d.events import Listener
from self6d.jobs.absent import leave_out
from self6d.jobs.config import build_config
from self6d.losses.objective import SelfSupervision
from self6d.network.outputs import Detections
from self6d.refinement.refine import refine_detections
from self6d.rendering import pack_models
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import (
    TrainedNetwork,
)
from self6d.scene import Frame
from self6d.scene.batch import FrameBatch


def depth_refiner(
    trained: TrainedNetwork,
    run: str | Path,
    device: torch.device,
    listener: Listener | None = None,
) -> tuple[Refiner, str]:
    """Pulls detections onto their frames with the run's [loss] and [optimize].

    Returns:
        the function, and a remark for its results where the perceptual term is left out.
    """
    config = build_config(None, base=RunFolder.open(run).config)
    remark = leave_out(config.loss, listener)
    objective = SelfSupervision(config.loss, device)
    packed = pack_models(trained.models, device)

    def refine(frames: Sequence[Frame], detections: Detections) -> Detections:
        refined = refine_detections(
            FrameBatch.of(frames, device),
            detections,
            packed,
            trained.network.objects,
            objective,
            config.optimize,
            seed=frames[0].image_id,
            chunk=config.optimize.chunk,
        )
        return replace(detections, R=refined.R, t=refined.t)

    return refine, remark
