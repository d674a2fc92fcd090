"""Labels in BOP's spelling (scene_gt.json, scene_gt_info.json, gt.yml): parts of `GroundTruth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError
from self6d.geometry import Pose

_REMEDY = "Each label needs obj_id, cam_R_m2c (9 numbers) and cam_t_m2c (3 numbers, millimetres)."


def pose_from_bop(entry: Any, path: Path, image: str) -> tuple[int, Pose]:
    """Object id and pose (metres) of one label.

    Raises:
        InputError: something missing, or a matrix that is not a rotation.
    """
    try:
        object_id = int(entry["obj_id"])
        R = np.asarray(entry["cam_R_m2c"], dtype=np.float64).reshape(3, 3)
        t_mm = np.asarray(entry["cam_t_m2c"], dtype=np.float64).reshape(3)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        raise InputError(
            f"image {image} has an incomplete label", path=path, remedy=_REMEDY
        ) from None
    return object_id, checked_pose(R, t_mm / 1000, path, f"image {image}")


def checked_pose(R: np.ndarray, t_m: np.ndarray, path: Path, where: str) -> Pose:
    """A `Pose`, its errors naming the file."""
    try:
        if not np.abs(R).max() < 1e3:  # also keeps R R^T from overflowing
            raise InputError("pose holds a matrix that is not a rotation")
        return Pose(R, t_m)
    except InputError as error:
        remedy = error.remedy or "Correct or leave out this label."
        raise InputError(f"{where}: {error.what}", path=path, remedy=remedy) from None


def box_from_bop(info: Any, path: Path) -> tuple[float | None, np.ndarray | None]:
    """Visible fraction and visible box (x0 y0 x1 y1, pixels) of one scene_gt_info entry.

    BOP writes x, y, width, height with width = last - first column (likewise the height), one less
    than the columns there are, and -1 throughout for an instance nobody sees.
    """
    if not isinstance(info, dict):
        raise InputError("scene_gt_info holds an entry that is no table", path=path, remedy=_REMEDY)
    try:
        fraction = None if info.get("visib_fract") is None else float(info["visib_fract"])
        box = info.get("bbox_visib")
        box = None if box is None else np.asarray(box, dtype=np.float64).reshape(4)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "scene_gt_info holds an entry that is not made of numbers", path=path, remedy=_REMEDY
        ) from None
    if box is None or not np.isfinite(box).all() or (box[2:] < 0).any():
        return fraction, None
    return fraction, box_edges(box)


def box_edges(box: np.ndarray) -> np.ndarray:
    """BOP's x, y, width, height as the box's edges x0 y0 x1 y1, (4,) float64, pixels."""
    return np.concatenate((box[:2], box[:2] + box[2:] + 1))


def box_for_bop(edges: np.ndarray) -> list[float]:
    """The inverse of `box_edges`."""
    x0, y0, x1, y1 = (float(v) for v in edges)
    return [x0, y0, x1 - x0 - 1, y1 - y0 - 1]
