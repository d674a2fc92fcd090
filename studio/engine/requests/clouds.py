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
    whole = on_surface(model, MODEL_POINTS) @ pose.R.T + pose.t
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


def on_surface(model: ObjectModel, count: int) -> np.ndarray:
    """(count, 3) points spread evenly over the faces, the same every time; metres, model frame."""
    corners = model.vertices[model.faces].astype(np.float64)
    edges = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).cumsum()
    number = np.arange(count)
    face = np.searchsorted(area, (number + 0.5) / count * area[-1])
    # Roberts' R2 sequence, folded into the triangle
    u, v = (number * 0.7548776662) % 1, (number * 0.5698402910) % 1
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return corners[face, 0] + u[:, None] * edges[face, 0] + v[:, None] * edges[face, 1]


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each point to the nearest other, nan where there are none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.nan, np.float32)
    return cKDTree(others).query(points)[0].astype(np.float32)
