"""Whether things look larger or smaller than their models at the depth's distance, throughout.

Then the camera's focal lengths, the depth scale or the CAD's size are off by so much, and what sees
the colours alone puts them nearer or farther than the depth does, whatever it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import TrackedPose
from self6d.doctor.beside import error_of_median
from self6d.doctor.frames import spread
from self6d.scene import ObjectModel
from self6d.tracking.colours.polish import larger
from self6d.tracking.colours.region import PackedThing

LOOKED_AT = 16  # poses of an object, spread over the track
FEWEST = 4
LEAST_PX, LEAST = 1.0, 0.02  # pixels to each side, and share of the extent: less is not told
SURE = 3.0  # standard errors


def looks_larger(
    frames: UnlabelledFrames,
    poses: Sequence[TrackedPose],
    models: Sequence[ObjectModel],
    *,
    sure: float,
    device: torch.device | str = "cpu",
) -> list[str]:
    """In words, which objects of a track look larger or smaller than they should, and by how much.

    Args:
        frames: with depth. poses: of the track; those below the confidence `sure` say nothing.
    """
    place, texts = {key: i for i, key in enumerate(frames.keys)}, []

    def look(thing: PackedThing, row: TrackedPose) -> tuple[np.ndarray, np.ndarray] | None:
        frame, pose = frames[place[row.key]], row.pose
        assert pose is not None
        region = thing.region(frame, pose)
        if region is None:
            return None
        R, t = pose.R_m2c, pose.t_m2c
        return larger(region, R, t, thing.packed, thing.centre, painted=thing.painted)

    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="larger") as threads:
        for model in models:
            own = [
                p
                for p in poses
                if p.object_id == model.object_id and p.pose is not None and p.confidence >= sure
            ]
            if len(own) < FEWEST:
                continue
            chosen = [own[i] for i in spread(len(own), LOOKED_AT)]
            seen = threads.map(partial(look, PackedThing(model, device)), chosen)
            told = throughout(np.array([x for x in seen if x is not None]).reshape(-1, 2, 2))
            if told is not None:
                texts.append(f"{model.name} {_in_words(told)}")
    return texts


def throughout(found: np.ndarray) -> np.ndarray | None:
    """Median shares (2,) of (N, 2, 2), pixels and shares by axis; None: nothing worth saying."""
    if len(found) < FEWEST:
        return None
    pixels, share = np.median(found, axis=0)
    surely = np.abs(share) > np.maximum(LEAST, SURE * error_of_median(found[:, 1]))
    return share if (surely & (np.abs(pixels) > LEAST_PX)).any() else None


def _in_words(share: np.ndarray) -> str:
    across, down = 100 * share
    wide, high = "wider" if across > 0 else "narrower", "higher" if down > 0 else "lower"
    where = "nearer" if share.sum() > 0 else "farther"
    return (
        f"looks {abs(across):.1f} % {wide} and {abs(down):.1f} % {high} than its model at the "
        "depth's distance: focal lengths, depth scale or the CAD's size are off. "
        f"A network that sees colours alone puts it {where} than the depth has it, until it has "
        "learned from depth or from this track"
    )
