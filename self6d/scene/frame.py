"""One sensor frame, and, kept apart from it, what is known to be true about it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from self6d.geometry import Camera, Pose


@dataclass(frozen=True, eq=False)
class Frame:
    """What the sensor saw. It carries no label of any kind, by construction.

    Attributes:
        rgb: (H, W, 3) uint8, RGB order.
        depth_m: (H, W) float32, metres along z, 0 where unknown; None without depth.
        camera: intrinsics of both (depth is registered to colour).
        scene_id: BOP scene number; 0 for a plain folder.
        image_id: BOP image number, or the index in a plain folder.
        name: short text that identifies the frame to a person.

    >>> camera = Camera([[100, 0, 40], [0, 100, 30], [0, 0, 1]], 80, 60)
    >>> Frame(np.zeros((60, 80, 3), np.uint8), None, camera, name="dark").camera.size
    (60, 80)
    """

    rgb: np.ndarray
    depth_m: np.ndarray | None
    camera: Camera
    scene_id: int = 0
    image_id: int = 0
    name: str = ""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """A labelled instance; for evaluation and for the supervised upper bound only.

    Attributes:
        object_id: BOP object number.
        pose: model to camera, metres.
        visible_fraction: visible share of the silhouette in [0, 1]; None if not annotated.
        mask_visible: (H, W) bool; None if not annotated.
        box_visible: (4,) float64, x0 y0 x1 y1, pixels; None if not annotated.
    """

    object_id: int
    pose: Pose
    visible_fraction: float | None = None
    mask_visible: np.ndarray | None = None
    box_visible: np.ndarray | None = None


def alike_frames(frames: Iterable[Frame], most: int) -> Iterator[list[Frame]]:
    """Frames, in order, in groups that make one batch: of one size, with depth or without.

    Args:
        frames: read as they are needed; at most one group is held. most: frames in a group.
    """
    for _, alike in itertools.groupby(frames, lambda f: (f.camera.size, f.depth_m is None)):
        while group := list(itertools.islice(alike, most)):
            yield group
