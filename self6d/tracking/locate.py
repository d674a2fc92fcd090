"""One object looked for in one frame with depth, without a start pose and without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from self6d.errors import InputError
from self6d.geometry import Pose
from self6d.losses.objective import SelfSupervision
from self6d.scene import Frame, ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import DEFAULT
from self6d.tracking.fit import Estimate, ObjectFitter
from self6d.tracking.follow import seek
from self6d.tracking.look import PaintedFrame


class _InParts(ObjectFitter):
    """Tells before each part of its work."""

    between: Callable[[], None]

    def everywhere(
        self, sensor: PaintedFrame, rng: np.random.Generator, near: np.ndarray | None = None
    ) -> Candidates:
        self.between()
        return super().everywhere(sensor, rng, near)

    def _glanced(self, sensor: PaintedFrame, found: Candidates) -> tuple[Candidates, Candidates]:
        self.between()
        return super()._glanced(sensor, found)

    def fit(self, sensor: PaintedFrame, starts: Candidates) -> list[Estimate]:
        self.between()
        return super().fit(sensor, starts)


def locate(
    frame: Frame,
    model: ObjectModel,
    objective: SelfSupervision,
    config: TrackConfig,
    *,
    near: np.ndarray | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    between: Callable[[], None] = lambda: None,
) -> tuple[Pose, float] | None:
    """Search a frame for an object, as `track` does at its first frame; takes seconds.

    Args:
        near: (H, W) bool, pixels that may show the object's middle; None: all.
        between: called before each part of the work, some two seconds on a core; may raise.

    Returns:
        the surest pose and its confidence in [0, 1], to be looked at below `track.found`; None:
        nothing is surer than `track.lost`.

    Raises:
        InputError: the frame has no depth.
    """
    if frame.depth_m is None:
        raise InputError(
            "the frame has no depth, and the search looks at depth",
            remedy="Place the object by hand, or let a trained network predict it.",
        )
    place = torch.device(device)
    fitter = _InParts(model, objective, config, DEFAULT, place)
    fitter.between = between
    sensor = FrameBatch.of([frame], place)
    rng = np.random.default_rng(seed)

    def anywhere() -> Candidates:
        return fitter.everywhere(PaintedFrame.seen(sensor, None), rng, near)

    found = seek(fitter, sensor, rng, anywhere)
    return None if found is None else (Pose(found.R, found.t), found.confidence)
