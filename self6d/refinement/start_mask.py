"""A visible mask without a network: sensor depth near a rough pose's surface, and colour."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

SURFACE_POINTS = 4000


def surface_distance(
    points: np.ndarray, surface: np.ndarray, reach_m: float = np.inf
) -> np.ndarray:
    """Distance of each point to the nearest of the (thinned) surface points.

    Args:
        points: (N, 3), metres. surface: (M, 3), metres; empty gives infinity.
        reach_m: what is farther is given as infinity, and sooner, metres.

    Returns:
        (N,), metres.
    """
    if len(surface) == 0:
        return np.full(len(points), np.inf)
    step = max(1, len(surface) // SURFACE_POINTS)
    # few points are asked for: a tree made quickly
    tree = cKDTree(surface[::step], compact_nodes=False, balanced_tree=False)
    return tree.query(points, distance_upper_bound=reach_m)[0]


def mask_from_pose(
    rgb: np.ndarray,
    sensor: np.ndarray | None,
    rendered: np.ndarray,
    reach_m: float,
    focal: float,
) -> np.ndarray:
    """Where the object is visible if its pose is wrong by at most about `reach_m`.

    Depth farther than `reach_m` from the rendered surface is not the object; GrabCut (Rother et
    al., SIGGRAPH 2004), started from the silhouette shrunk and grown by that reach, settles the
    rest by colour. No label and no network is used.

    Args:
        rgb: (h, w, 3) uint8, image region.
        sensor: (h, w, 3), metres, sensor points, z = 0 where unknown; None without depth.
        rendered: (h, w, 3), metres, rendered surface points, z = 0 where uncovered.
        reach_m: how far the pose may be off, metres.
        focal: focal length of the region, pixels.

    Returns:
        (h, w) bool; empty if the object is not in view.
    """
    inside = rendered[..., 2] > 0
    if not inside.any():
        return inside
    reach_px = int(np.ceil(reach_m * focal / np.median(rendered[inside][:, 2])))
    grown = cv2.dilate(inside.astype(np.uint8), _disc(reach_px)) > 0
    core = cv2.erode(inside.astype(np.uint8), _disc(reach_px), borderValue=0) > 0
    known = sensor[..., 2] > 0 if sensor is not None else np.zeros_like(inside)
    near = np.zeros_like(inside)
    candidates = known & grown
    if sensor is not None and candidates.any():
        # most lie as near to what is drawn at their own pixel
        near = candidates & inside & (((sensor - rendered) ** 2).sum(-1) < reach_m**2)
        asked = candidates & ~near
        near[asked] = surface_distance(sensor[asked], rendered[inside], reach_m) < reach_m
    possible = grown & (near | ~known)
    likely = possible & (inside | (near & (cv2.blur(near.astype(np.float32), (9, 9)) > 0.8)))
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[possible] = cv2.GC_PR_BGD
    labels[likely] = cv2.GC_PR_FGD
    labels[possible & core & (near | (sensor is None))] = cv2.GC_FGD
    if likely.any() and (labels == cv2.GC_BGD).any():
        back, front = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)
        whole = (0, 0, 0, 0)  # not read: the labels are given
        cv2.grabCut(rgb, labels, whole, back, front, 3, cv2.GC_INIT_WITH_MASK)
    mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(1)) > 0
    return _main_parts(mask)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _main_parts(mask: np.ndarray, share: float = 0.15) -> np.ndarray:
    """Connected parts of at least `share` of the largest; an occluder may cut an object in two."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return np.isin(label, np.flatnonzero(area >= share * area.max())) & mask
