"""Masks, boxes and detections: IoU, F1, average precision.

Sources: Self6D, section 4 (F1 and mIoU of predicted visible masks); COCO (Lin et al., ECCV 2014)
for average precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

import self6d.torchvision_guard  # noqa: F401  (before torchvision)

from torchvision.ops import box_iou  # isort: skip

COCO_THRESHOLDS = tuple((np.arange(10) * 0.05 + 0.5).round(2).tolist())


def mask_iou(mask: ArrayLike, mask_true: ArrayLike) -> float:
    """|A and B| / |A or B| of boolean masks (H, W); 0 if both are empty."""
    a, b = np.asarray(mask, bool), np.asarray(mask_true, bool)
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


def mask_f1(mask: ArrayLike, mask_true: ArrayLike) -> float:
    """2 |A and B| / (|A| + |B|) of boolean masks (H, W); 0 if both are empty."""
    a, b = np.asarray(mask, bool), np.asarray(mask_true, bool)
    total = int(a.sum()) + int(b.sum())
    return float(2 * (a & b).sum() / total) if total else 0.0


def pairwise_box_iou(boxes: ArrayLike, boxes_true: ArrayLike) -> np.ndarray:
    """IoU of every pair of boxes x0 y0 x1 y1: (E, 4) and (G, 4) -> (E, G); 0 for empty boxes."""
    a, b = (torch.as_tensor(np.asarray(x, np.float64)).view(-1, 4) for x in (boxes, boxes_true))
    return box_iou(a, b).nan_to_num(0.0).numpy()


def average_precision(correct: ArrayLike, scores: ArrayLike, targets: int) -> float:
    """Area under precision against recall, precision made monotone, at COCO's 101 recalls.

    Args:
        correct: (E,) bool, whether an estimate found a target nobody found before.
        scores: (E,). targets: how many there were to find; with none the result is 0.
    """
    correct = np.asarray(correct, bool)
    if not targets or not len(correct):
        return 0.0
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hits = np.cumsum(correct[order])
    recall = hits / targets
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101) - 1e-12)
    return float(
        np.where(at < len(envelope), envelope[np.minimum(at, len(envelope) - 1)], 0).mean()
    )


def detection_scores(
    overlaps: Sequence[np.ndarray], scores: Sequence[np.ndarray], thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and average precision of one class over many images.

    In every image and in the order of falling score, an estimate takes the free target it overlaps
    most, if it overlaps it by the threshold at least.

    Args:
        overlaps: per image (E, G), IoU of estimates and targets. scores: per image (E,).
        thresholds: (T,) of IoU.

    Returns:
        recall (T,), average precision (T,), both in [0, 1].
    """
    targets = sum(o.shape[1] for o in overlaps)
    recalls, precisions = [], []
    for threshold in thresholds:
        correct = []
        for overlap, score in zip(overlaps, scores, strict=True):
            free = np.ones(overlap.shape[1], bool)
            hit = np.zeros(len(score), bool)
            for e in np.argsort(-np.asarray(score), kind="stable"):
                candidate = np.where(free, overlap[e], -1.0)
                if len(candidate) and candidate.max() >= threshold:
                    free[int(candidate.argmax())] = False
                    hit[e] = True
            correct.append(hit)
        hits = np.concatenate(correct) if correct else np.zeros(0, bool)
        flat = np.concatenate([np.asarray(s, float) for s in scores]) if scores else np.zeros(0)
        recalls.append(hits.sum() / targets if targets else 0.0)
        precisions.append(average_precision(hits, flat, targets))
    return np.array(recalls), np.array(precisions)
