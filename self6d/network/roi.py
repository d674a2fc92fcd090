"""RegionBoxes of interest: ROI-Align by grid sampling, regions square in ray space, mask pasting.

Convention: image coordinates are corner-based (see geometry.camera). A box (x0, y0, x1, y1)
resampled to (h, w) has the centre of cell (column j, row i) at x0 + (j + 0.5) / w * (x1 - x0), and
so on: ROI-Align, mask targets and mask pasting all use `cell_centres`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.layers import roi_kernels
from self6d.network.outputs import Detections


def cell_centres(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Image coordinates of the cells of regions.

    Args:
        boxes: (..., 4), pixels. size: (h, w) cells.

    Returns:
        x (..., w) and y (..., h), pixels.
    """
    h, w = size
    u = (torch.arange(w, device=boxes.device, dtype=boxes.dtype) + 0.5) / w
    v = (torch.arange(h, device=boxes.device, dtype=boxes.dtype) + 0.5) / h
    x0, y0, x1, y1 = boxes[..., None].unbind(-2)
    return x0 + u * (x1 - x0), y0 + v * (y1 - y0)


def roi_align(
    features: Tensor,
    boxes: Tensor,
    image_index: Tensor | None,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    samples: int = 2,
) -> Tensor:
    """ROI-Align (He et al., Mask R-CNN), equal to torchvision's with aligned=True.

    Bilinear samples, averaged over samples x samples points a cell; zero where a point lies more
    than a cell outside the features. Differentiable with respect to the features.

    Args:
        features: (B, C, H, W).
        boxes: (N, 4), pixels of the image; with image_index None, (B, R, 4), and N = B R.
        image_index: (N,) int64, which image each box is in. Leave it None for the same number of
            boxes in each image, which avoids copying `features` for every box.
        size: (h, w) of the output.
        scale: feature cells per image pixel, 1 / stride.
        samples: points a cell and axis.

    Returns:
        (N, C, h, w), float32 (float64 for float64 features).
    """
    if roi_kernels.usable(features, boxes):
        of = image_index
        if of is None:
            of = torch.arange(len(boxes)).repeat_interleave(boxes.shape[1])
        return roi_kernels.crops(features, boxes.reshape(-1, 4) * scale, of, size, samples)
    if image_index is not None:
        boxes = boxes[:, None]
        if features.shape[0] == 1:
            boxes = boxes.transpose(0, 1)
        else:
            features = features[image_index]
    if features.dtype != torch.float64:  # half-precision grids are off by pixels
        features = features.float()
    (b, c, height, width), r, (h, w) = features.shape, boxes.shape[1], size
    if b * r == 0:  # pooling refuses empty maps
        return features.new_zeros(0, c, h, w)
    x, y = cell_centres(boxes.to(features.dtype) * scale, (h * samples, w * samples))
    grid_x = _grid_coordinate(x, width)[:, :, None, :].expand(-1, -1, h * samples, -1)
    grid_y = _grid_coordinate(y, height)[:, :, :, None].expand(-1, -1, -1, w * samples)
    grid = torch.stack((grid_x, grid_y), dim=-1).view(b, r * h * samples, w * samples, 2)
    out = F.grid_sample(features, grid, padding_mode="border", align_corners=False)
    inside = _near(x, width)[:, :, None, :] & _near(y, height)[:, :, :, None]
    out = out * inside.view(b, 1, r * h * samples, w * samples)
    if samples > 1:
        out = F.avg_pool2d(out, samples)
    return out.view(b, c, r, h, w).transpose(1, 2).reshape(b * r, c, h, w)


def _grid_coordinate(position: Tensor, cells: int) -> Tensor:
    """Corner-based coordinate -> grid_sample's [-1, 1]."""
    return 2 * position / cells - 1


def _near(position: Tensor, cells: int) -> Tensor:
    """Where torchvision samples at all: less than one cell beyond the outer cell centres."""
    return (position >= -0.5) & (position <= cells + 0.5)


def sample_cells(boxes: Tensor, size: tuple[int, int], image_size: tuple[int, int]) -> tuple:
    """Pixels nearest to the cell centres of regions.

    Args:
        boxes: (N, 4), pixels. size: (h, w) cells. image_size: (H, W).

    Returns:
        row (N, h, 1) and column (N, 1, w) int64, clamped into the image; inside (N, h, w) bool.
    """
    x, y = cell_centres(boxes, size)
    column, row = x.floor().long()[:, None, :], y.floor().long()[:, :, None]
    height, width = image_size
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row.clamp(0, height - 1), column.clamp(0, width - 1), inside


def pose_regions(boxes: Tensor, K: Tensor, padding: float, square: bool) -> Tensor:
    """Enlarged boxes, square in viewing-ray space if asked.

    With fx != fy a square of pixels is no square of rays; the region's sides are in the ratio
    fx : fy, so a crop resampled to a square image has pixels of equal angle.

    Args:
        boxes: (N, 4), pixels. K: (N, 3, 3), pixels. padding: factor on the sides.
        square: take the longer side (in rays) for both.

    Returns:
        (N, 4), pixels; may leave the image.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(1.0) * padding
    if square:
        focal = torch.stack((K[:, 0, 0], K[:, 1, 1]), dim=-1)
        sides = (sides / focal).amax(-1, keepdim=True) * focal
    return torch.cat((centre - sides / 2, centre + sides / 2), dim=-1)


def jitter_boxes(boxes: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Dynamic zoom-in (CDPN, GDR-Net): shift and scale by up to `amount` of each side.

    Args:
        boxes: (N, 4), pixels. generator: on the boxes' device.
    """
    noise = torch.rand(len(boxes), 4, generator=generator, device=boxes.device) * 2 - 1
    return moved_boxes(boxes, amount * noise[:, :2], 1 + amount * noise[:, 2:])


def moved_boxes(boxes: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Boxes (..., 4) with centres shifted by shares (..., 2) of the sides, scaled about them."""
    sides = boxes[..., 2:] - boxes[..., :2]
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 + shift * sides
    half = sides * scale / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def masks_in_regions(detections: Detections, regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask probabilities resampled over any regions; half-pixel exact, differentiable.

    Args:
        detections: N instances. regions: (N, 4), pixels of the same image, such as the whole
            image (0, 0, W, H) or a crop. size: (h, w) of the output.

    Returns:
        (N, C, h, w) float32 in [0, 1]: channel 0 visible, 1 amodal; 0 outside `roi_box`.
    """
    x, y = cell_centres(regions, size)
    x0, y0, x1, y1 = detections.roi_box[..., None].unbind(-2)
    u, v = (x - x0) / (x1 - x0), (y - y0) / (y1 - y0)
    n, (h, w) = len(regions), size
    grid = torch.stack(
        ((2 * u - 1)[:, None, :].expand(n, h, w), (2 * v - 1)[:, :, None].expand(n, h, w)), dim=-1
    )
    inside = ((u >= 0) & (u <= 1))[:, None, :] & ((v >= 0) & (v <= 1))[:, :, None]
    probability = detections.mask_logits.float().sigmoid()
    out = F.grid_sample(probability, grid, padding_mode="border", align_corners=False)
    return out * inside[:, None]
