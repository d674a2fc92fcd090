"""Distances of the stage-1 images, from the recording that the network is meant for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.datasets.registry import is_recording
from self6d.datasets.splits import default_split, some_frames
from self6d.geometry import Camera
from self6d.scene import ObjectModel
from self6d.synthesis import SynthesisConfig, ranges_from_depth

FRAMES = 64  # looked at, spread over the recording
LEEWAY = 2.0  # how much larger or smaller than `apparent_max` and `apparent_min` objects may look


def with_recorded_ranges(
    config: SynthesisConfig,
    source: Camera | str | Path | None,
    models: Sequence[ObjectModel],
) -> tuple[SynthesisConfig, str]:
    """The distances that are left open, taken from the depth of a recording. It reads no label.

    Frames are those that stage 2 would adapt to. Where a middle-sized object would look twice
    larger than `apparent_max`, or half as large as `apparent_min`, the range ends: depth behind
    and before what the camera is pointed at must not fill the images.

    Args:
        config: as the user has it.
        source: what the user gave as the camera.
        models: the objects.

    Returns:
        the configuration, and one line that tells of the change; "" if nothing was changed:
        distances are set, `ranges` is "size", or there is no recording with depth.
    """
    is_set = config.distance_near_m > 0 or config.distance_far_m > 0
    if config.ranges == "size" or is_set or source is None or isinstance(source, Camera):
        return config, ""
    if not is_recording(source):
        return config, ""
    dataset = open_dataset(source)
    chosen = some_frames(dataset, default_split(dataset, None, "adapt"))
    looked_at = np.unique(np.linspace(0, len(chosen) - 1, FRAMES).round().astype(int)).tolist()
    frames = UnlabelledFrames(chosen.subset(looked_at))
    found = ranges_from_depth(frames)
    if found is None:
        return config, ""
    by_size = config.distances(frames[0].camera, np.array([model.diameter for model in models]))
    near, far = np.clip(found, by_size[0] / LEEWAY, by_size[1] * LEEWAY).round(3).tolist()
    if near >= far:
        return config, (
            f"distances follow from the objects' size: depth of {found[0]:.2f} to {found[1]:.2f} m "
            "does not suit it (see the doctor)"
        )
    return replace(config, distance_near_m=near, distance_far_m=far), (
        f"distances of {near:g} to {far:g} m, from the depth of {len(looked_at)} frames "
        '(synthesis.ranges = "size": from the objects\' size)'
    )
