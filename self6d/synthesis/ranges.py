"""Distances at which objects stand, read from an unlabelled recording's depth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from self6d.scene import Frame

MARGIN = 0.1  # objects stand in front of the surface seen; and the next recording is another one


def ranges_from_depth(frames: Iterable[Frame]) -> tuple[float, float] | None:
    """Range of distances in the middle of the pictures, for `distance_near_m` and `distance_far_m`.

    Takes the 5th and 75th percentile of the valid depth in the central half of each frame (what
    a camera is pointed at is there; the far quarter is mostly background) and widens the range of
    all frames by 10 % either way. No label is used.

    Args:
        frames: of a recording.

    Returns:
        nearest and farthest distance, metres; None if no frame has depth.
    """
    near, far = [], []
    for frame in frames:
        if frame.depth_m is None:
            continue
        h, w = frame.depth_m.shape
        middle = frame.depth_m[h // 4 : h - h // 4, w // 4 : w - w // 4]
        valid = middle[middle > 0]
        if len(valid) >= 100:
            low, high = np.percentile(valid, (5, 75))
            near.append(low)
            far.append(high)
    if not near:
        return None
    low, high = np.percentile(near, 10), np.percentile(far, 90)
    return float(low * (1 - MARGIN)), float(max(low, high) * (1 + MARGIN))
