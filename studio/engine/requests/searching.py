"""A frame searched for an object, until it is found or the user wants no more of it."""

from __future__ import annotations

from functools import partial

import torch

from self6d.losses.objective import SelfSupervision
from self6d.run_config import build_config
from self6d.scene import Frame, ObjectModel
from self6d.tracking.locate import locate
from studio.engine.requests.stopping import stop_where_asked
from studio.engine.types import PoseData


def search(frame: Frame, model: ObjectModel, stop_file: str | None = None) -> PoseData | None:
    """Search a whole frame for an object; None: not found. Takes seconds.

    Args:
        stop_file: ends it, within some two seconds, where it is there.

    Raises:
        Cancelled: it was there.
    """
    config = build_config("track", stage="track")
    objective = SelfSupervision(config.loss, torch.device("cpu"))
    found = locate(
        frame, model, objective, config.track, between=partial(stop_where_asked, stop_file)
    )
    if found is None:
        return None
    pose, confidence = found
    return PoseData(model.object_id, pose.R_m2c, pose.t_m2c, confidence)
