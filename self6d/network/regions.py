"""RegionNetwork: from regions of interest to masks, dense coordinates and poses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.geometry import (
    allocentric_to_egocentric,
    quaternion_to_matrix,
    rotation6d_to_matrix,
)
from self6d.network.config import NetworkConfig
from self6d.network.fused_distance import fused_distance
from self6d.network.heads import CropFeatures, DenseBranch, FusedFeatures, MaskBranch, VectorBranch
from self6d.network.objects import ObjectTable
from self6d.network.targets import cell_rays
from self6d.network.translation import DECODE, origin_of


class RegionBoxes(NamedTuple):
    """N regions of B images, to look at.

    Attributes:
        box: (N, 4), pixels; may leave the image.
        image_index: (N,) int64.
        object_index: (N,) int64.
        K: (N, 3, 3), pixels, of each region's image.
        per_image: regions per image if they lie image by image, the same number in each; else 0.
    """

    box: Tensor
    image_index: Tensor
    object_index: Tensor
    K: Tensor
    per_image: int = 0

    def layout(self) -> tuple[Tensor, Tensor | None]:
        """Boxes and image_index as `roi_align` takes them fastest."""
        if self.per_image:
            return self.box.view(-1, self.per_image, 4), None
        return self.box, self.image_index


class RegionOutput(NamedTuple):
    """What the branches say about N regions.

    Attributes:
        mask_logits: (N, 1 or 2, M, M).
        rotation: (N, 3, 3) as put out, allocentric or egocentric. translation: (N, 3) code.
        R: (N, 3, 3) and t: (N, 3), metres, the pose in the model's own frame.
        position: (N, 3), metres, camera frame, of `ObjectTable.pivot`, from which t
            follows. It is the decoded code, changed by `fused_distance` where the configuration
            asks for it.
        coordinates: (N, 3, S, S), metres, and region_logits: (N, K, S, S), or None.
    """

    mask_logits: Tensor
    rotation: Tensor
    translation: Tensor
    R: Tensor
    t: Tensor
    position: Tensor
    coordinates: Tensor | None
    region_logits: Tensor | None


class RegionNetwork(nn.Module):
    """Region features and the branches on them.

    Args:
        config: form and sizes. objects: geometry of the objects.
        stride: of the detector's finest maps, pixels.
    """

    def __init__(self, config: NetworkConfig, objects: ObjectTable, stride: float) -> None:
        super().__init__()
        self.config = config
        count = len(objects.diameter)
        heads = count if config.per_object else 1
        width = config.head_channels
        self.features: CropFeatures | FusedFeatures
        if config.roi_input == "crop":
            self.features = CropFeatures(config, count)
        else:
            self.features = FusedFeatures(config, stride)
        self.mask = MaskBranch(config, heads)
        self.dense: DenseBranch | None = None
        self.condense: nn.Module | None = None
        rotation_maps = translation_maps = width
        if config.pose_head == "dense":
            self.dense = DenseBranch(config, heads)
            rotation_maps = 3 + 1 + 2 + 2 + config.regions + config.pnp_features
            if config.pnp_features:
                self.condense = nn.Conv2d(width, config.pnp_features, 1)
            if config.translation_from == "correspondences":
                translation_maps = rotation_maps
        side = self.features.side
        start = (1.0, 0, 0, 0, 1.0, 0) if config.rotation == "allocentric6d" else (1.0, 0, 0, 0)
        self.rotate = VectorBranch(rotation_maps, side, heads, width, start)
        self.translate = VectorBranch(translation_maps, side, heads, width, (0.0, 0, 0))

    def forward(
        self,
        images: Tensor,
        maps: Sequence[Tensor] | None,
        regions: RegionBoxes,
        objects: ObjectTable,
        *,
        heads_alone: bool = False,
    ) -> RegionOutput:
        """Images (B, 3, H, W), the detector's maps (for roi_input "features") and regions.

        Args:
            heads_alone: features and masks pass on no gradient.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not heads_alone):
            features, mask_logits = self._seen(images, maps, regions)
        coordinates = about_pivot = region_logits = None
        correspondences = features
        pivot = objects.pivot[regions.object_index]
        if self.dense is not None:
            normalised, region_logits = self.dense(features, regions.object_index)
            half = objects.half_extent[regions.object_index][..., None, None]
            off = (objects.centre[regions.object_index] - pivot)[..., None, None]
            about_pivot = normalised * half + off
            coordinates = about_pivot + pivot[..., None, None]
            masks = F.avg_pool2d(mask_logits.sigmoid(), self.config.mask_upsample)
            seen = masks[:, :1]
            rays = cell_rays(regions.box, regions.K, self.features.side)
            diameter = objects.diameter[regions.object_index][:, None, None, None]
            parts = [_correspondences(about_pivot / diameter, seen, rays)]
            if self.config.regions:
                parts.append(region_logits.softmax(1) * seen)
            if self.condense is not None:
                parts.append(self.condense(features).float())
            correspondences = torch.cat(parts, dim=1)
        raw = self.rotate(correspondences, regions.object_index)
        from_features = self.config.translation_from == "features"
        place = features if from_features else correspondences
        translation = self.translate(place, regions.object_index)
        with torch.autocast(images.device.type, enabled=False):
            if self.config.mask_prior:
                translation = translation + _site_of_mask(mask_logits[:, -1])
            decode = DECODE[self.config.translation]
            diameter = objects.diameter[regions.object_index]
            position = decode(translation, regions.box, regions.K, diameter)
            if self.config.rotation == "allocentric6d":
                rotation = rotation6d_to_matrix(raw)
                R = allocentric_to_egocentric(rotation, position)
            else:
                rotation = R = quaternion_to_matrix(raw)
            if about_pivot is not None and self.config.fused_distance:
                visible, whole = masks[:, 0], masks[:, -1]
                same = objects.pivot_symmetries[regions.object_index]
                if not self.config.coordinates_follow_rotation:
                    same = same[:, :1]  # the identity
                position = fused_distance(
                    position, R, about_pivot, visible, whole, rays, diameter, same
                )
            t = origin_of(R, position, pivot)
        return RegionOutput(
            mask_logits, rotation, translation, R, t, position, coordinates, region_logits
        )

    def _seen(
        self, images: Tensor, maps: Sequence[Tensor] | None, regions: RegionBoxes
    ) -> tuple[Tensor, Tensor]:
        """Features (N, D, S, S) and mask logits."""
        boxes, image_index = regions.layout()
        if isinstance(self.features, CropFeatures):
            crops = self.features.crops(images, boxes, image_index)
            features = self.features(crops, regions.object_index)
        else:
            assert maps is not None
            features = self.features(maps, images, boxes, image_index)
        return features, self.mask(features, regions.object_index)


def _site_of_mask(logits: Tensor) -> Tensor:
    """A first guess of the SITE code: the mask's centroid, and distance from its area.

    The silhouette's area, in shares A of the region's, is about c (d / (a z))^2 with a constant c
    of the object, so dz = log(a z / d) is -log(A) / 2 up to a constant the pose head learns.

    Args:
        logits: (N, M, M), of the most complete mask there is.

    Returns:
        (N, 3), without gradient.
    """
    p = logits.detach().sigmoid()
    side = p.shape[-1]
    axis = (torch.arange(side, device=p.device) + 0.5) / side - 0.5
    total = p.sum((1, 2)).clamp_min(1.0)
    x = (p.sum(1) * axis).sum(-1) / total
    y = (p.sum(2) * axis).sum(-1) / total
    return torch.stack((x, y, -0.5 * (total / side**2).log()), dim=-1)


def _correspondences(scaled: Tensor, seen: Tensor, rays: Tensor) -> Tensor:
    """What a PnP solver needs, as maps: object coordinates, their weight, where they are seen.

    In units of the diameter this is a geometric problem of its own, the same for every object.

    Args:
        scaled: (N, 3, S, S), object coordinates about the box's middle, in diameters.
        seen: (N, 1, S, S) in [0, 1].
        rays: (N, 2, S, S), of the cells.

    Returns:
        (N, 8, S, S): weighted coordinates, weight, viewing rays, place within the region.
    """
    n, side = len(scaled), scaled.shape[-1]
    axis = (torch.arange(side, device=scaled.device) + 0.5) / side * 2 - 1
    place = torch.stack(torch.meshgrid(axis, axis, indexing="xy")).expand(n, -1, -1, -1)
    return torch.cat((scaled * seen, seen, rays, place), dim=1)
