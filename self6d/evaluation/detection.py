"""Masks, boxes and detections: IoU, F1, average precision.

Sources: Self6D, section 4 (F1 and mIoU of predicted visible masks); COCO (Lin et al., ECCV 2014)
for average precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

COCO_THRESHOLDS = tuple((np.arange(10) * 0.05 + 0.5).round(2).tolist())


def pairwise_mask_scores(
    masks: Sequence[ArrayLike], masks_true: Sequence[ArrayLike]
) -> tuple[np.ndarray, np.ndarray]:
    """IoU |A and B| / |A or B| and F1 2 |A and B| / (|A| + |B|) of every pair of masks.

    Args:
        masks: E of (H, W) bool. masks_true: G of them.

    Returns:
        IoU and F1, (E, G) each; 0 where both masks are empty.
    """
    a, b = _packed(masks), _packed(masks_true)
    common = np.bitwise_count(a[:, None] & b).sum(-1, dtype=np.int64)
    total = np.bitwise_count(a).sum(-1, dtype=np.int64)[:, None] + np.bitwise_count(b).sum(
        -1, dtype=np.int64
    )
    return common / np.maximum(total - common, 1), 2 * common / np.maximum(total, 1)


def _packed(masks: Sequence[ArrayLike]) -> np.ndarray:
    """Masks as bits, (N, H W / 64) uint64."""
    if not len(masks):
        return np.zeros((0, 0), np.uint64)
    length = -(-np.size(masks[0]) // 8)
    bits = np.zeros((len(masks), -(-length // 8) * 8), np.uint8)
    for row, mask in zip(bits, masks, strict=True):
        row[:length] = np.packbits(np.asarray(mask, bool), axis=None)
    return bits.view(np.uint64)


def pairwise_box_iou(boxes: ArrayLike, boxes_true: ArrayLike) -> np.ndarray:
    """IoU of every pair of boxes x0 y0 x1 y1: (E, 4) and (G, 4) -> (E, G); 0 for empty boxes."""
    a, b = (np.asarray(x, np.float64).reshape(-1, 4) for x in (boxes, boxes_true))
    low = np.maximum(a[:, None, :2], b[:, :2])
    shared = (np.minimum(a[:, None, 2:], b[:, 2:]) - low).clip(min=0).prod(-1)
    area, area_true = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    union = area[:, None] + area_true - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union != 0)


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
    limits = np.asarray(thresholds, np.float64)
    hits = np.zeros((len(limits), sum(map(len, scores))), bool)
    every, start = np.arange(len(limits)), 0
    for overlap, score in zip(overlaps, scores, strict=True):
        free = np.ones((len(limits), overlap.shape[1]), bool)
        for e in np.argsort(-np.asarray(score), kind="stable") if overlap.shape[1] else ():
            candidate = np.where(free, overlap[e], -1.0)
            best = candidate.argmax(1)
            hit = candidate[every, best] >= limits
            free[every[hit], best[hit]] = False
            hits[:, start + e] = hit
        start += len(score)
    flat = np.concatenate([np.zeros(0), *(np.asarray(s, float) for s in scores)])
    recalls = hits.sum(1) / max(targets, 1)
    return recalls, np.array([average_precision(hit, flat, targets) for hit in hits])
