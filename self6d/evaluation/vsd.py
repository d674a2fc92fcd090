"""Visible Surface Discrepancy [Hodan et al., BOP, ECCV 2018], with our renderer.

Convention: BOP's. Its toolkit draws a pixel (column j, row i) along the ray through
(j + 0.5, i + 0.5) of a camera matrix whose pixel centres lie at whole numbers, and turns depth into
distance along (j, i). Both are kept here, so that figures equal the toolkit's; hence everything
uses `Camera.K_opencv`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike

from self6d.errors import InputError
from self6d.evaluation.metrics import pose_pairs
from self6d.geometry import Camera
from self6d.rendering import PackedModels, render

BOP_DELTA_M = 0.015  # BOP's tolerance of the visibility test
BOP_DELTA_ITODD_M = 0.005
BOP_TAUS = tuple(np.arange(0.05, 0.51, 0.05).tolist())  # shares of the diameter


def vsd(
    R: ArrayLike,
    t: ArrayLike,
    R_true: ArrayLike,
    t_true: ArrayLike,
    depth_m: np.ndarray,
    camera: Camera,
    models: PackedModels,
    object_index: Sequence[int],
    diameters: Sequence[float],
    *,
    delta_m: float = BOP_DELTA_M,
    taus: Sequence[float] = BOP_TAUS,
) -> np.ndarray:
    """VSD of pose pairs in one image: the share of the union of the two visible masks where the
    masks differ or the distances do, by at least tau times the diameter.

    A model pixel is visible if it is not more than `delta_m` behind the measured surface, or where
    nothing was measured ("bop19"); the estimate also wherever the true pose is visible.

    Args:
        R, R_true: (B, 3, 3). t, t_true: (B, 3), metres. One pair each.
        depth_m: (H, W), metres, the sensor's, 0 where nothing was measured.
        camera: of the image.
        models: from `pack_models`; object_index: (B,) positions in it.
        diameters: (B,), metres. delta_m: metres. taus: (T,) shares of the diameter.

    Returns:
        (B, T) float64 in [0, 1]; 1 where neither pose shows anything or one is not finite.

    Raises:
        InputError: poses, object indices or diameters of different lengths.
    """
    R, t, R_true, t_true = pose_pairs(R, t, R_true, t_true)
    if not len(R) == len(object_index) == len(diameters):
        raise InputError(
            f"{len(R)} pose pairs have {len(object_index)} object indices "
            f"and {len(diameters)} diameters"
        )
    K = camera.K_opencv
    depth_m = np.ascontiguousarray(depth_m, np.float32)
    out = np.ones((len(R), len(taus)))
    corners = {which: _box_corners(models, which) for which in set(object_index)}
    for i, which in enumerate(object_index):
        poses = ((R[i], t[i]), (R_true[i], t_true[i]))
        if not all(np.isfinite(part).all() for pose in poses for part in pose):
            continue
        window = _window(corners[which], poses, K, camera.size)
        if window is None:
            continue
        x0, y0, x1, y1 = window
        shift = np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0]])
        drawn = render(
            torch.tensor(np.stack([p[0] for p in poses]), dtype=models.dtype, device=models.device),
            torch.tensor(np.stack([p[1] for p in poses]), dtype=models.dtype, device=models.device),
            torch.tensor(K - shift, dtype=models.dtype, device=models.device),
            models,
            (y1 - y0, x1 - x0),
            object_index=torch.tensor([which, which], device=models.device),
            soft_mask=False,
        ).depth_m
        estimate, truth = drawn.cpu().numpy()
        out[i] = _discrepancy(
            estimate, truth, depth_m[y0:y1, x0:x1], x0, y0, K, delta_m,
            np.asarray(taus, np.float64) * diameters[i],
        )  # fmt: skip
    return out


def _box_corners(models: PackedModels, which: int) -> np.ndarray:
    """(8, 3) float64 corners of a model's axis-aligned box, metres."""
    start, stop = models.vertex_offset[which : which + 2].tolist()
    vertices = np.ascontiguousarray(models.vertices[start:stop].detach().cpu().numpy().T)
    ends = np.stack((vertices.min(1), vertices.max(1))).astype(np.float64)
    pick = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)
    return ends[pick, np.arange(3)]


def _window(
    corners: np.ndarray, poses: Sequence[tuple], K: np.ndarray, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Pixels x0 y0 x1 y1 that may show the model in one of the poses; None if there are none."""
    height, width = size
    seen = np.concatenate([corners @ R.T + t for R, t in poses])
    if (seen[:, 2] < 1e-3).any():  # reaches behind the camera: its projection has no bounds
        return (0, 0, width, height) if (seen[:, 2] > 1e-3).any() else None
    uv = (seen @ K.T)[:, :2] / seen[:, 2:]
    low, high = np.floor(uv.min(0)).astype(int) - 1, np.ceil(uv.max(0)).astype(int) + 1
    x0, y0 = max(low[0], 0), max(low[1], 0)
    x1, y1 = min(high[0], width), min(high[1], height)
    return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None


@njit(cache=True, nogil=True)
def _discrepancy(estimate, truth, measured, x0, y0, K, delta, limits):
    """VSD for every limit of distance (T,) -> (T,)."""
    union, common = 0, 0
    wrong = np.zeros(len(limits), np.int64)
    for i in range(truth.shape[0]):
        y = (y0 + i - K[1, 2]) / K[1, 1]
        for j in range(truth.shape[1]):
            if truth[i, j] <= 0 and estimate[i, j] <= 0:
                continue
            x = (x0 + j - K[0, 2]) / K[0, 0]
            ray = np.sqrt(x * x + y * y + 1)
            e, g, s = ray * estimate[i, j], ray * truth[i, j], ray * measured[i, j]
            see_truth = g > 0 and (s == 0 or np.float32(g) - np.float32(s) <= delta)
            see_estimate = e > 0 and (s == 0 or np.float32(e) - np.float32(s) <= delta or see_truth)
            if see_truth or see_estimate:
                union += 1
            if see_truth and see_estimate:
                common += 1
                for k in range(len(limits)):
                    if abs(g - e) >= limits[k]:
                        wrong[k] += 1
    if union == 0:
        return np.ones(len(limits))
    return (wrong + (union - common)) / union
