"""ROI-Align of maps that nothing learns from, on a CPU: `network.roi.roi_align` in one pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from self6d.numba_tools import vector


def usable(features: Tensor, boxes: Tensor) -> bool:
    """Whether `crops` takes them: float32, on a CPU, without gradients."""
    return (
        features.device.type == "cpu"
        and features.dtype == boxes.dtype == torch.float32
        and not (torch.is_grad_enabled() and (features.requires_grad or boxes.requires_grad))
        and not torch.compiler.is_compiling()
    )


def crops(
    features: Tensor, boxes: Tensor, image_index: Tensor, size: tuple[int, int], samples: int
) -> Tensor:
    """Regions of maps, each cell the mean of samples x samples bilinear samples.

    Args:
        features: (B, C, H, W) float32. boxes: (N, 4) float32, in cells of the features.
        image_index: (N,) int64. size: (h, w).

    Returns:
        (N, C, h, w) float32.
    """
    out = torch.empty(len(boxes), features.shape[1], *size)
    _crops(
        features.detach().contiguous().numpy(),
        boxes.detach().contiguous().numpy(),
        image_index.contiguous().numpy(),
        samples,
        out.numpy(),
    )
    return out


@vector
def _places(first, last, count, cells, low, share, seen):  # type: ignore[no-untyped-def]
    """Of `count` samples between two sides: the cell before, how far on, whether it counts."""
    for k in range(count):
        at = first + (k + np.float32(0.5)) / np.float32(count) * (last - first)
        inside = (at >= np.float32(-0.5)) & (at <= np.float32(cells) + np.float32(0.5))
        seen[k] = np.float32(1) if inside else np.float32(0)
        at = min(max(at - np.float32(0.5), np.float32(0)), np.float32(cells - 1))
        low[k] = max(min(int(at), cells - 2), 0)  # 0 for a box that is no number, too
        share[k] = at - np.float32(low[k])


@vector
def _crops(features, boxes, image_index, samples, out):  # type: ignore[no-untyped-def]
    _, channels, height, width = features.shape
    count, _, h, w = out.shape
    columns, rows = w * samples, h * samples
    left, top = np.empty(columns, np.int64), np.empty(rows, np.int64)
    right_share, low_share = np.empty(columns, np.float32), np.empty(rows, np.float32)
    across, down = np.empty(columns, np.float32), np.empty(rows, np.float32)
    row = np.empty(width, np.float32)
    next_column, next_row = min(1, width - 1), min(1, height - 1)
    mean = np.float32(1) / np.float32(samples * samples)
    for n in range(count):
        _places(boxes[n, 0], boxes[n, 2], columns, width, left, right_share, across)
        _places(boxes[n, 1], boxes[n, 3], rows, height, top, low_share, down)
        first, last = left.min(), left.max() + next_column + 1
        for c in range(channels):
            image = features[image_index[n], c]
            for i in range(h):
                # rows first: the samples of a row of cells share them
                row[first:last] = np.float32(0)
                for k in range(i * samples, (i + 1) * samples):
                    upper, lower = image[top[k]], image[top[k] + next_row]
                    b = down[k] * low_share[k]
                    a = down[k] - b
                    for x in range(first, last):
                        row[x] += a * upper[x] + b * lower[x]
                for j in range(w):
                    total = np.float32(0)
                    for k in range(j * samples, (j + 1) * samples):
                        x = left[k]
                        value = row[x]
                        value += right_share[k] * (row[x + next_column] - value)
                        total += across[k] * value
                    out[n, c, i, j] = total * mean
