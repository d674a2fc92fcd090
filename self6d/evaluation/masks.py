"""Visible masks implied by labels that do not state them, and boxes of projected models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from self6d.evaluation import kernels
from self6d.evaluation.detection import pairwise_mask_scores
from self6d.evaluation.predictions import Prediction
from self6d.geometry import Camera
from self6d.rendering import PackedModels, render
from self6d.scene import Frame, GroundTruth, ObjectModel

DEPTH_TOLERANCE_M = 0.015  # how far behind the measured surface a visible one may lie


class _Compared(Protocol):
    targets: list[GroundTruth]
    estimates: list[Prediction]
    masks: dict[int, tuple[float, float]]


def visible_masks(
    frame: Frame, truth: Sequence[GroundTruth], models: PackedModels
) -> list[np.ndarray]:
    """Visible masks of labelled instances: annotated ones as they are, others drawn.

    A drawn pixel is visible if no other labelled instance is nearer and the sensor, where it
    measured, saw nothing more than `DEPTH_TOLERANCE_M` in front.

    Args:
        frame: gives camera and depth. truth: all labelled instances whose models are packed.

    Returns:
        (H, W) bool each, in the order of `truth`.
    """
    if all(t.mask_visible is not None for t in truth):
        return [t.mask_visible for t in truth if t.mask_visible is not None]
    position = {object_id: i for i, object_id in enumerate(models.object_ids)}

    def tensor(values: list) -> torch.Tensor:
        return torch.tensor(np.stack(values), dtype=models.dtype, device=models.device)

    drawn = render(
        tensor([t.pose.R_m2c for t in truth]),
        tensor([t.pose.t_m2c for t in truth]),
        tensor([frame.camera.K])[0],
        models,
        frame.camera.size,
        object_index=torch.tensor([position[t.object_id] for t in truth], device=models.device),
        soft_mask=False,
    ).depth_m
    depth = drawn.cpu().numpy()
    depth = np.where(depth > 0, depth, np.inf)
    nearest = depth.min(0)
    seen = (depth <= nearest) & np.isfinite(depth)
    if frame.depth_m is not None:
        seen &= (frame.depth_m == 0) | (nearest <= frame.depth_m + DEPTH_TOLERANCE_M)
    return [
        s if t.mask_visible is None else t.mask_visible for s, t in zip(seen, truth, strict=True)
    ]


def compare_masks(
    frame: Frame, truth: Sequence[GroundTruth], sights: Sequence[_Compared], models: PackedModels
) -> None:
    """IoU and F1 of predicted visible masks, into each sight's `masks`.

    An estimate is compared with the free target its mask overlaps most; a target left over counts
    0, as do all of a frame without any estimate, see `forget_unmasked`. Nothing is compared in a
    frame whose estimates carry no mask.
    """
    if not any(s.estimates for s in sights):
        for sight in sights:
            sight.masks.update(dict.fromkeys(range(len(sight.targets)), (0.0, 0.0)))
        return
    if not _masked(sights):
        return
    by_truth = dict(zip(map(id, truth), visible_masks(frame, truth, models), strict=True))
    for sight in sights:
        masks = [by_truth[id(t)] for t in sight.targets]
        sight.masks.update(dict.fromkeys(range(len(masks)), (0.0, 0.0)))
        own = [p.mask for p in sight.estimates if p.mask is not None]
        free = np.ones(len(masks), bool)
        for iou, f1 in zip(*pairwise_mask_scores(own, masks), strict=True) if masks else ():
            if free.any():
                g = int(np.where(free, iou, -1.0).argmax())
                free[g] = False
                sight.masks[g] = (float(iou[g]), float(f1[g]))


def forget_unmasked(sights: Sequence[_Compared]) -> None:
    """Of a predictor that makes no masks nothing is compared: misses do not count 0 either.

    Args:
        sights: of all frames.
    """
    if not _masked(sights):
        for sight in sights:
            sight.masks.clear()


def _masked(sights: Sequence[_Compared]) -> bool:
    return any(p.mask is not None for s in sights for p in s.estimates)


def projected_box(R: np.ndarray, t: np.ndarray, model: ObjectModel, camera: Camera) -> np.ndarray:
    """Box x0 y0 x1 y1 of a model's projection within the image, (4,) float64, pixels."""
    R, t, K = (np.ascontiguousarray(x, np.float64) for x in (R, t, camera.K))
    low_x, low_y, high_x, high_y = kernels.limits(R, t, K, np.asarray(model.vertices))
    if low_x > high_x:  # all of it lies behind the camera
        return np.zeros(4)
    box = np.array([low_x, low_y, high_x, high_y])
    return box.clip(0, [camera.width, camera.height] * 2)
