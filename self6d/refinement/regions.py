"""Square regions of sensor images, resampled to one size, with the camera that sees them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from self6d.geometry import crop_intrinsics, pixel_centres, project, transform
from self6d.rendering.models import PackedModels


@dataclass
class ModelBoxes:
    """Bounding boxes of M packed models, model frame.

    Attributes:
        centre: (M, 3), metres. corners: (M, 8, 3), metres. diameter: (M,), the box's diagonal,
            metres.
    """

    centre: Tensor
    corners: Tensor
    diameter: Tensor

    @classmethod
    def of(cls, models: PackedModels) -> ModelBoxes:
        """Boxes of packed models, on their device; made once."""
        if "boxes" in models.cache:
            return models.cache["boxes"]
        parts = models.vertices.split(models.vertex_counts)
        low = torch.stack([p.amin(0) for p in parts])
        high = torch.stack([p.amax(0) for p in parts])
        pick = torch.cartesian_prod(*[torch.arange(2, device=low.device)] * 3)  # (8, 3)
        corners = torch.where(pick.bool(), high[:, None], low[:, None])
        models.cache["boxes"] = cls((low + high) / 2, corners, (high - low).norm(dim=1))
        return models.cache["boxes"]


def project_boxes(
    boxes: ModelBoxes, object_index: Tensor, R: Tensor, t: Tensor, K: Tensor
) -> Tensor:
    """Image box around the projected bounding boxes of posed models.

    Args:
        object_index: (N,) int64. R: (N, 3, 3). t: (N, 3), metres. K: (N, 3, 3), pixels.

    Returns:
        (N, 4), x0 y0 x1 y1, pixels; corners behind the camera count at 1 cm in front of it.
    """
    corners = transform(boxes.corners[object_index], R, t)
    corners = torch.cat((corners[..., :2], corners[..., 2:].clamp_min(0.01)), -1)
    xy = project(corners, K)
    return torch.cat((xy.amin(1), xy.amax(1)), 1)


def square_boxes(box: Tensor, padding: float = 1.2) -> Tensor:
    """Squares around the centres of boxes, `padding` times their longer side.

    Args:
        box: (N, 4), x0 y0 x1 y1, pixels.

    Returns:
        (N, 4), pixels; may leave the image.
    """
    centre = (box[:, :2] + box[:, 2:]) / 2
    half = (box[:, 2:] - box[:, :2]).amax(1, keepdim=True).clamp_min(2) * padding / 2
    return torch.cat((centre - half, centre + half), 1)


def union_boxes(a: Tensor, b: Tensor) -> Tensor:
    """Smallest boxes around pairs of boxes: (N, 4), (N, 4) -> (N, 4)."""
    return torch.cat((torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])), 1)


def _grid(box: Tensor, size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """(N, h, w, 2) positions of the pixel centres for grid_sample (align_corners=False)."""
    unit = pixel_centres(*size, device=box.device, dtype=box.dtype)
    x0, y0, x1, y1 = box[:, :, None, None].unbind(1)
    x = x0 + unit[..., 0] * ((x1 - x0) / size[1])
    y = y0 + unit[..., 1] * ((y1 - y0) / size[0])
    return torch.stack((x * (2 / image_size[1]) - 1, y * (2 / image_size[0]) - 1), -1)


def crop_images(
    images: Tensor, box: Tensor, size: tuple[int, int], *, nearest: bool = False
) -> Tensor:
    """Regions of images, resampled; pixel (i, j) of a region looks along the ray that
    `crop_intrinsics` gives it, so renderings at that K match to a fraction of a pixel.

    Args:
        images: (N, C, H, W) float, one a box.
        box: (N, 4), x0 y0 x1 y1, pixels; 0 is read outside the image.
        size: (h, w) of the regions.
        nearest: take the nearest pixel instead of interpolating (for depth and labels).

    Returns:
        (N, C, h, w).
    """
    grid = _grid(box, size, (images.shape[-2], images.shape[-1]))
    mode = "nearest" if nearest else "bilinear"
    return grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def crop_depth(depth_m: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest pixel's depth, never a blend of two surfaces or of a surface and a hole.

    Args:
        depth_m: (N, H, W) float, metres, 0 where unknown. box: (N, 4), pixels.

    Returns:
        (N, h, w), metres, 0 where unknown or outside the image.
    """
    return crop_images(depth_m[:, None], box, size, nearest=True)[:, 0]


def inside_image(box: Tensor, size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Which pixels of a region lie in the image: (N, 4), pixels -> (N, h, w) bool."""
    return (_grid(box, size, image_size).abs() <= 1).all(-1)


@dataclass
class RegionCrops:
    """What the sensor saw in N square regions.

    Attributes:
        rgb: (N, 3, h, w) float in [0, 1]. depth_m: (N, h, w) metres, 0 unknown; None without depth.
        observed: (N, h, w) bool, inside the image. K: (N, 3, 3), pixels of the regions.
        box: (N, 4), pixels of the image.
    """

    rgb: Tensor
    depth_m: Tensor | None
    observed: Tensor
    K: Tensor
    box: Tensor

    @classmethod
    def cut(
        cls,
        images: Tensor,
        depth_m: Tensor | None,
        K: Tensor,
        box: Tensor,
        image_index: Tensor,
        size: int,
    ) -> RegionCrops:
        """Cut regions out of a batch of images.

        Args:
            images: (B, 3, H, W) float in [0, 1]. depth_m: (B, H, W), metres, or None.
            K: (B, 3, 3), pixels. box: (N, 4), pixels. image_index: (N,) int64.
            size: side of the regions, pixels.
        """
        shape = (size, size)
        rgb = crop_images(images[image_index], box, shape)
        depth = None if depth_m is None else crop_depth(depth_m[image_index], box, shape)
        observed = inside_image(box, shape, (images.shape[-2], images.shape[-1]))
        return cls(rgb, depth, observed, crop_intrinsics(K[image_index], box, shape), box)
