"""One frame of the sample: a world seen through the sensor, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from self6d.sample.raster import rasterise, shade
from self6d.sample.scene import SampleWorld
from self6d.sample.sensor import measure_depth, photograph
from self6d.sample.things import label_images

_LABELS = label_images()


@dataclass(frozen=True)
class Shot:
    """What is written of one frame."""

    rgb: np.ndarray
    depth_mm: np.ndarray
    truth: list[dict]
    info: list[dict]
    masks: list[np.ndarray]


def shoot(
    world: SampleWorld,
    view: tuple[np.ndarray, np.ndarray],
    K: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Shot:
    """One frame of a world through the sensor, with its truth.

    Args:
        world: an arrangement. view: world-to-camera R (3, 3) and t (3,), metres.
        K: (3, 3), pixels, centres at + 0.5. size: (height, width). rng: this frame's generator.
    """
    (R, t), (height, width) = view, size
    seen = (world.corner @ R.T + t).astype(np.float32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    # twice as many pixels a side, moved so that every other one lies on a sensor pixel's centre:
    # those give depth and masks, and a filter about them the colour
    fine = (2 * fx, 2 * fy, 2 * cx - 0.5, 2 * cy - 0.5)
    inverse, face = rasterise(seen, *fine, 2 * height, 2 * width)
    radiance, *rest = shade(
        inverse, face, R, t, *fine,
        world.corner, world.normal, world.color, world.local, world.material_of,
        world.materials, world.accent, world.label_frame, _LABELS,
        world.table_style, world.light_position, world.light_color, world.light_rotation,
        world.light_focal, world.shadow, world.ambient,
    )  # fmt: skip
    radiance = cv2.GaussianBlur(radiance, (0, 0), 0.85)[::2, ::2]
    what, z, gloss, facing = (image[::2, ::2] for image in rest)
    truth, info, masks = [], [], []
    for object_id, (R_object, t_object) in sorted(world.object_pose.items()):
        part = world.object_faces[object_id]
        whole = rasterise(seen[part], fx, fy, cx, cy, height, width)[1] >= 0
        visible = (what >= part.start) & (what < part.stop)
        truth.append(
            {
                "cam_R_m2c": (R @ R_object).ravel().tolist(),
                "cam_t_m2c": (1000 * (R @ t_object + t)).tolist(),
                "obj_id": object_id,
            }
        )
        info.append(_visibility(whole, visible, z, part))
        masks.append(visible)
    depth = measure_depth(z, gloss, facing, fx, rng)
    rgb = photograph(radiance, width / 320, rng)
    for entry, mask in zip(info, masks, strict=True):
        entry["px_count_valid"] = int((mask & (depth > 0)).sum())
    return Shot(rgb, depth, truth, info, masks)


def _visibility(whole: np.ndarray, visible: np.ndarray, z: np.ndarray, part: slice) -> dict:
    """BOP's scene_gt_info entry; boxes are x, y, width, height, as BOP counts
    them: last - first column."""

    def extent(mask: np.ndarray) -> list[int]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return [-1, -1, -1, -1]
        x, y = int(columns[0]), int(rows[0])
        return [x, y, int(columns[-1]) - x, int(rows[-1]) - y]

    count, seen = int(whole.sum()), int(visible.sum())
    return {
        "bbox_obj": extent(whole), "bbox_visib": extent(visible), "px_count_all": count,
        "px_count_valid": 0, "px_count_visib": seen, "visib_fract": seen / count if count else 0.0,
    }  # fmt: skip
