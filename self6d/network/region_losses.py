"""Losses of the region branches against a labelled batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from self6d.geometry import egocentric_to_allocentric
from self6d.losses import supervised
from self6d.network.config import NetworkConfig
from self6d.network.objects import ObjectTable
from self6d.network.regions import RegionBoxes, RegionOutput
from self6d.network.targets import coordinate_targets, mask_targets
from self6d.network.translation import ENCODE, position_of
from self6d.scene.batch import LabelledBatch


class Labelled(NamedTuple):
    """RegionBoxes with the instances they were made from.

    Attributes:
        batch: the labels. instance: (N,) int64, into the batch's instances.
        weight: (N,) float32, 0 for regions that count for nothing. regions: N regions.
    """

    batch: LabelledBatch
    instance: Tensor
    weight: Tensor
    regions: RegionBoxes


def region_losses(
    out: RegionOutput, labelled: Labelled, objects: ObjectTable, config: NetworkConfig
) -> dict[str, Tensor]:
    """Weighted scalars "mask", "pose" and, by form, "translation", "distance", "coordinates" and
    "regions"."""
    with torch.autocast(out.t.device.type, enabled=False):
        terms = {"mask": config.mask_weight * _mask_loss(out, labelled, config.amodal_mask)}
        terms |= _pose_losses(out, labelled, objects, config)
        if out.coordinates is not None:
            terms |= _dense_losses(out, labelled, objects, config)
    return terms


def _mask_loss(out: RegionOutput, labelled: Labelled, amodal: bool) -> Tensor:
    target = mask_targets(
        labelled.batch,
        labelled.instance,
        labelled.regions.image_index,
        labelled.regions.box,
        out.mask_logits.shape[-1],
        amodal,
    )
    return supervised.mask_bce(out.mask_logits, target, labelled.weight)


def _pose_losses(
    out: RegionOutput, labelled: Labelled, objects: ObjectTable, config: NetworkConfig
) -> dict[str, Tensor]:
    """Equation (3) in diameters; or, disentangled, rotation, centre and distance apart.

    Apart, an error of one does not disturb the gradient of another: the rotation is compared in
    the frame it is put out in, the translation as the code it is put out as. The fused distance is
    a term of its own, |log z - log z*|, through which the coordinates learn their common scale.
    """
    batch, instance, weight, regions = labelled
    index = regions.object_index
    points, diameter = objects.points[index], objects.diameter[index]
    pivot = objects.pivot[index]
    R, t = supervised.nearest_symmetric_pose(
        out.R, out.t, batch.R[instance], batch.t[instance], points, objects.symmetries[index]
    )
    if not config.disentangled:
        distance = supervised.point_distance(out.R, out.t, R, t, points) / diameter
        return {"pose": config.pose_weight * supervised.weighted_mean(distance, weight)}
    position = position_of(R, t, pivot)
    rotation = egocentric_to_allocentric(R, position) if config.rotation == "allocentric6d" else R
    zero = torch.zeros_like(t)
    about_pivot = points - pivot[:, None]
    distance = supervised.point_distance(out.rotation, zero, rotation, zero, about_pivot)
    code = ENCODE[config.translation](position, regions.box, regions.K, diameter)
    off = (out.translation - code).abs().sum(-1)
    terms = {
        "pose": config.pose_weight * supervised.weighted_mean(distance / diameter, weight),
        "translation": config.translation_weight * supervised.weighted_mean(off, weight),
    }
    if out.coordinates is not None and config.fused_distance:
        ratio = (out.position[:, 2] / position[:, 2]).clamp_min(1e-3).log().abs()
        terms["distance"] = config.distance_weight * supervised.weighted_mean(ratio, weight)
    return terms


def _dense_losses(
    out: RegionOutput, labelled: Labelled, objects: ObjectTable, config: NetworkConfig
) -> dict[str, Tensor]:
    assert out.coordinates is not None
    assert out.region_logits is not None
    batch, instance, weight, regions = labelled
    index = regions.object_index
    target, visible = coordinate_targets(
        batch, instance, regions.image_index, regions.box, out.coordinates.shape[-1]
    )
    true = supervised.nearest_symmetric_coordinates(
        out.coordinates, target, visible, objects.symmetries[index]
    )
    loss = supervised.coordinate_loss(
        out.coordinates, true, visible, objects.diameter[index], weight
    )
    terms = {"coordinates": config.coordinate_weight * loss}
    if config.regions:
        cells = true.flatten(2).transpose(1, 2)
        nearest = torch.cdist(cells, objects.regions[index]).argmin(-1)
        entropy = F.cross_entropy(out.region_logits.flatten(2), nearest, reduction="none")
        seen = visible.flatten(1)
        per_item = (entropy * seen).sum(1) / seen.sum(1).clamp_min(1)
        terms["regions"] = config.region_weight * supervised.weighted_mean(per_item, weight)
    return terms
