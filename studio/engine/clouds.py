"""Point sets for the 3D view and the distances between them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from self6d.geometry import backproject
from self6d.scene import Frame, ObjectModel
from studio.engine.types import CloudData, PoseData, RenderData

SENSOR_POINTS = 20_000
MODEL_POINTS = 4_000
SURFACE_POINTS = 4_000
REACH = 1.0  # sensor points within so many diameters of the object's centre are shown


def compare(frame: Frame, model: ObjectModel, pose: PoseData, drawn: RenderData) -> CloudData:
    """Sensor points near the object, the model at the pose, and how far apart they are.

    `chamfer_mm` is equation (11) of the paper with the rendered silhouette as the mask: the mean
    distance from sensor points to the rendered surface plus the mean distance back.
    """
    points, colours, inside = _sensor(frame, drawn.mask)
    near = np.linalg.norm(points - pose.t, axis=1) < REACH * model.diameter
    inside = inside[near]
    points, colours = points[near], colours[near]
    keep = _pick(len(points), SENSOR_POINTS)
    whole = model.vertices[_pick(len(model.vertices), MODEL_POINTS)] @ pose.R.T + pose.t
    surface_map = backproject(
        torch.from_numpy(drawn.depth_m), torch.tensor(frame.camera.K, dtype=torch.float32)
    ).numpy()
    surface = surface_map[drawn.mask]
    surface = surface[_pick(len(surface), SURFACE_POINTS)]
    seen = points[inside]
    chamfer = None
    if len(seen) and len(surface):
        seen = seen[_pick(len(seen), SURFACE_POINTS)]
        chamfer = 1000 * float(nearest(seen, surface).mean() + nearest(surface, seen).mean())
    return CloudData(
        sensor=points[keep].astype(np.float32),
        sensor_rgb=colours[keep],
        model=whole.astype(np.float32),
        distance=nearest(whole, points),
        surface=surface.astype(np.float32),
        surface_distance=nearest(surface, points),
        chamfer_mm=chamfer,
    )


def sensor_only(frame: Frame) -> CloudData:
    """All of the sensor's points."""
    points, colours, _ = _sensor(frame, np.zeros(frame.rgb.shape[:2], bool))
    keep = _pick(len(points), SENSOR_POINTS)
    empty, none = np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
    return CloudData(points[keep].astype(np.float32), colours[keep], empty, none, empty, none, None)


def _sensor(frame: Frame, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if frame.depth_m is None:
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0, bool)
    K = torch.tensor(frame.camera.K, dtype=torch.float32)
    xyz = backproject(torch.from_numpy(np.ascontiguousarray(frame.depth_m)), K).numpy()
    known = frame.depth_m > 0
    return xyz[known], frame.rgb[known], mask[known]


def _pick(count: int, wanted: int) -> np.ndarray:
    """Indices of an even choice; the same every time, so that nothing flickers."""
    if count <= wanted:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).astype(int)


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each point to the nearest other, nan where there are none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.nan, np.float32)
    return cKDTree(others).query(points)[0].astype(np.float32)
