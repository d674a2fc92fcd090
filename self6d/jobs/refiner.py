"""Poses of a network refined, as evaluation and prediction ask for it: on depth, or on colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from self6d.errors import InputError
from self6d.evaluation.predictions import Refiner
from self6d.events import Listener, Note
from self6d.jobs.absent import leave_out
from self6d.losses.objective import SelfSupervision
from self6d.network.outputs import Detections
from self6d.paths import SHIPPED, is_package
from self6d.refinement.refine import refine_detections
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.refinement.rgb.weights import holds_refiner
from self6d.rendering import pack_models
from self6d.run_config import build_config
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import TrainedNetwork
from self6d.scene import Frame
from self6d.scene.batch import FrameBatch

Refine = Literal["none", "depth", "rgb"]


def pose_refiner(
    kind: Refine,
    trained: TrainedNetwork,
    run: str | Path,
    device: torch.device,
    *,
    refiner: str | Path | None = None,
    listener: Listener | None = None,
) -> tuple[Refiner | None, str]:
    """What refines a run's detections.

    Args:
        run: its folder, or the package that was exported from it.
        kind: "depth": on the frames' depth, with the run's own [loss] and [optimize]; "rgb": by a
            trained refiner, from colours alone; "none".
        refiner: run folder or file of the trained refiner, for "rgb"; None: the one the run
            adapted, else the shipped one, which knows no object.

    Returns:
        the function, None for "none"; and a remark for its results, empty if there is none.

    Raises:
        InputError: no such kind, "depth" of a package, or a refiner that does not know an object.
    """
    if kind == "none":
        return None, ""
    if kind == "depth":
        return depth_refiner(trained, run, device, listener)
    if kind == "rgb":
        own = refiner is None or Path(refiner) == Path(run)
        source = refiner or own_refiner(run, listener)
        return rgb_refiner(trained, source, device, beside=own), ""
    raise InputError(f"there is no refinement {kind!r}", remedy="Use none, depth or rgb.")


def own_refiner(run: str | Path, listener: Listener | None = None) -> str | Path:
    """The run itself if it adapted a refiner, else the shipped one; the listener hears which."""
    own = holds_refiner(run)
    mine = "in this package" if is_package(run) else "adapted in this run"
    which = mine if own else "that ships, which was trained on no given object"
    if listener is not None:
        listener(Note("info", f"poses are refined by the refiner {which}"))
    return run if own else SHIPPED


def rgb_refiner(
    trained: TrainedNetwork, source: str | Path, device: torch.device, *, beside: bool
) -> Refiner:
    """Moves detections look by look until image and rendering agree, and says how sure it is.

    Args:
        beside: see `RgbRefiner.load`.
    """
    refiner = RgbRefiner.load(source, trained.models, device, beside=beside)

    def refine(frames: Sequence[Frame], detections: Detections) -> tuple[Detections, torch.Tensor]:
        batch = FrameBatch.of(frames, device)
        return refiner.refine_predicted(batch.images, batch.K, detections)

    return refine


def depth_refiner(
    trained: TrainedNetwork,
    run: str | Path,
    device: torch.device,
    listener: Listener | None = None,
) -> tuple[Refiner, str]:
    """Pulls detections onto their frames with the run's [loss] and [optimize].

    Returns:
        the function, which raises InputError for a frame without depth; and a remark for its
        results where the perceptual term is left out.
    """
    if is_package(run):
        raise InputError(
            "a package does not hold the settings that poses are refined on depth with",
            path=Path(run),
            remedy="Name the run that it was exported from, or use --refine rgb, or none.",
        )
    config = build_config(None, base=RunFolder.open(run).config)
    remark = leave_out(config.loss, listener)
    objective = SelfSupervision(config.loss, device)
    packed = pack_models(trained.models, device)

    def refine(frames: Sequence[Frame], detections: Detections) -> tuple[Detections, None]:
        for frame in frames:
            if frame.depth_m is None:  # masks and colours alone would move the poses anywhere
                raise InputError(
                    f"image {frame.name or frame.image_id} has no depth to refine its poses on",
                    remedy="Use --refine rgb, or none.",
                )
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
        return replace(detections, R=refined.R, t=refined.t), None

    return refine, remark
