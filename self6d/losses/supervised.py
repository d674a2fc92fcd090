"""Losses of stage 1, Self6D equations (2) and (3), and the terms of the dense head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.geometry import transform


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017): -a_t (1 - p_t)^gamma log p_t, summed.

    Args:
        logits: (...), any shape. target: (...), 0 or 1.
    """
    p = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    missed = p + target - 2 * p * target  # 1 - p_t
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * missed**gamma * cross_entropy).sum()


def giou_loss(boxes: Tensor, target: Tensor) -> Tensor:
    """1 - GIoU, GIoU = |A n B| / |A u B| - |C \\ (A u B)| / |C| (Rezatofighi et al., CVPR 2019).

    Args:
        boxes, target: (..., 4), x0 y0 x1 y1. C is the smallest box around both.

    Returns:
        (...), in [0, 2].
    """
    top, bottom = torch.maximum(boxes, target), torch.minimum(boxes, target)
    overlap = _product((bottom[..., 2:] - top[..., :2]).clamp_min(0))
    around = _product(top[..., 2:] - bottom[..., :2])
    union = _area(boxes) + _area(target) - overlap
    tiny = torch.finfo(boxes.dtype).eps
    return 1 - overlap / (union + tiny) + (around - union) / (around + tiny)


def _area(boxes: Tensor) -> Tensor:
    return _product((boxes[..., 2:] - boxes[..., :2]).clamp_min(0))


def _product(sides: Tensor) -> Tensor:
    """(..., 2) -> (...); the gradient of `Tensor.prod` waits for the device."""
    return sides[..., 0] * sides[..., 1]


def mask_bce(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy per pixel, mean over the pixels of weighted instances.

    Args:
        logits: (N, C, h, w). target: (N, C, h, w) in [0, 1]. weight: (N,).
    """
    per_item = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
    return weighted_mean(per_item, weight)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum w v / sum w over (N,) and (N,); zero where no weight is left."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def point_distance(R: Tensor, t: Tensor, R_true: Tensor, t_true: Tensor, points: Tensor) -> Tensor:
    """avg_x |(R x + t) - (R* x + t*)|_1 (Self6D, equation 3, without symmetry).

    Args:
        R, R_true: (..., 3, 3). t, t_true: (..., 3), metres. points: (..., P, 3), metres.

    Returns:
        (...), metres.
    """
    moved, true = transform(points, R, t), transform(points, R_true, t_true)
    return (moved - true).abs().sum(-1).mean(-1)


def add_distance(R: Tensor, t: Tensor, R_true: Tensor, t_true: Tensor, points: Tensor) -> Tensor:
    """ADD, avg_x ||(R x + t) - (R* x + t*)||_2; arguments as `point_distance` -> (...), metres."""
    moved, true = transform(points, R, t), transform(points, R_true, t_true)
    return (moved - true).norm(dim=-1).mean(-1)


def nearest_symmetric_pose(
    R: Tensor,
    t: Tensor,
    R_true: Tensor,
    t_true: Tensor,
    points: Tensor,
    symmetries: Tensor,
) -> tuple[Tensor, Tensor]:
    """Of all poses that look like the true one, the nearest to the estimate by `point_distance`.

    A symmetry transform S leaves the object looking the same, so R* S is as true as R*.

    Args:
        R, R_true: (N, 3, 3). t, t_true: (N, 3), metres. points: (N, P, 3), metres.
        symmetries: (N, S, 4, 4), identity first; shorter lists are filled up with identities.

    Returns:
        R (N, 3, 3) and t (N, 3), metres.
    """
    if symmetries.shape[1] == 1:
        return R_true, t_true
    with torch.no_grad(), torch.autocast(R.device.type, enabled=False):
        count = symmetries.shape[1]
        # R* S for all S side by side: one small product an item, not one a symmetry
        beside = symmetries[..., :3, :].transpose(1, 2).flatten(2)  # (N, 3, 4 S)
        both = (R_true @ beside).unflatten(2, (count, 4)).transpose(1, 2)  # (N, S, 3, 4)
        R_all, t_all = both[..., :3], both[..., 3] + t_true[:, None]
        apart = torch.cat((R_all - R[:, None], (t_all - t[:, None])[..., None]), -1)
        moved = apart.flatten(1, 2) @ _homogeneous(points.transpose(1, 2))  # (N, 3 S, P)
        best = moved.abs().sum(2).unflatten(1, (count, 3)).sum(2).argmin(1)
        rows = torch.arange(len(R), device=R.device)
    return R_all[rows, best], t_all[rows, best]


def _homogeneous(points: Tensor) -> Tensor:
    """(N, 3, P) -> (N, 4, P), the last row 1."""
    return torch.cat((points, torch.ones_like(points[:, :1])), 1)


def pose_loss(
    R: Tensor,
    t: Tensor,
    R_true: Tensor,
    t_true: Tensor,
    points: Tensor,
    symmetries: Tensor,
) -> Tensor:
    """L_pose of Self6D, equation (3), with the minimum over the symmetry group.

    min_S avg_x |(R x + t) - (R* S x + t*)|_1; arguments as `nearest_symmetric_pose`.

    Returns:
        (N,), metres.
    """
    R_near, t_near = nearest_symmetric_pose(R, t, R_true, t_true, points, symmetries)
    return point_distance(R, t, R_near, t_near, points)


def nearest_symmetric_coordinates(
    coordinates: Tensor, true: Tensor, visible: Tensor, symmetries: Tensor
) -> Tensor:
    """Of all true coordinate maps under the symmetry group, the nearest to the estimate.

    The surface point x of pose R* is S^-1 x under the equally true pose R* S.

    Args:
        coordinates, true: (N, 3, h, w), metres, model frame. visible: (N, h, w), 0 to 1.
        symmetries: (N, S, 4, 4), as in `nearest_symmetric_pose`.

    Returns:
        (N, 3, h, w), metres.
    """
    if symmetries.shape[1] == 1:
        return true
    with torch.no_grad(), torch.autocast(true.device.type, enabled=False):
        n, count = symmetries.shape[:2]
        inverse = symmetries[..., :3, :3].transpose(-1, -2)
        shift = inverse @ symmetries[..., :3, 3:]
        # S^-1 x - c of all S in one product, and one pass over it: it is S times as large as x
        minus = -torch.eye(3, device=true.device, dtype=true.dtype).expand(n, count, 3, 3)
        flat = true.flatten(2)
        both = torch.cat((flat, coordinates.detach().flatten(2)), 1)
        error = torch.cat((inverse, minus, -shift), 3).flatten(1, 2) @ _homogeneous(both)
        error = error.abs_().unflatten(1, (count, 3)).sum(2)  # (N, S, h w)
        best = (error @ visible.flatten(1)[..., None])[..., 0].argmin(1)
        rows = torch.arange(n, device=best.device)
        nearest = inverse[rows, best] @ flat - shift[rows, best]
    return nearest.view_as(true)


def coordinate_loss(
    coordinates: Tensor, true: Tensor, visible: Tensor, scale: Tensor, weight: Tensor
) -> Tensor:
    """Dense object-coordinate loss: mean over visible pixels of |x - x*|_1 / scale.

    Args:
        coordinates, true: (N, 3, h, w), metres; `true` from `nearest_symmetric_coordinates`.
        visible: (N, h, w), 0 to 1. scale: (N,), metres. weight: (N,).
    """
    error = (coordinates - true).abs().sum(1) / scale[:, None, None]
    pixels = visible.sum((1, 2))
    per_item = (error * visible).sum((1, 2)) / pixels.clamp_min(1e-6)
    return weighted_mean(per_item, weight * (pixels > 0))
