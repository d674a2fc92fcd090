"""How good a network is on synthetic images it was not trained on."""

from __future__ import annotations

import torch
from torch import Tensor

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.losses.supervised import add_distance, nearest_symmetric_pose
from self6d.network import Detections, PoseNetwork, roi_align
from self6d.scene.batch import LabelledBatch

from torchvision.ops import box_iou  # isort: skip

VISIBLE = 0.3  # instances less visible are not asked for
IOU = 0.5
MOST_INSTANCES = 20  # of an object that are looked at in an image
ADD_SHARE = 0.1  # of the diameter


@torch.no_grad()
def synthetic_recalls(network: PoseNetwork, batch: LabelledBatch) -> dict[str, float]:
    """Share of instances found, and found with a right pose.

    An instance visible by more than 30 % is found if a detection of its object overlaps its box by
    more than half; its pose is right if `detection_errors` is below 10 % of the diameter. Of
    several such detections the best overlap counts.

    Args:
        network: see `PoseNetwork`. batch: labelled images on its device.

    Returns:
        "detection_recall", "add_recall", "mask_iou" (mean over the found), each in [0, 1].
    """
    most = max(MOST_INSTANCES, network.config.instances)
    found = network.predict(batch.images, batch.K, instances=most, further_score=0.0)
    return recalls(network, found, batch)


def recalls(network: PoseNetwork, detections: Detections, batch: LabelledBatch) -> dict[str, float]:
    """What `synthetic_recalls` says of a network's detections in labelled images."""
    asked = (batch.visible_fraction > VISIBLE).nonzero()[:, 0]
    if len(asked) == 0 or len(detections) == 0:
        return {"detection_recall": 0.0, "add_recall": 0.0, "mask_iou": 0.0}
    boxes = batch.box_visible if network.config.box == "visible" else batch.box_amodal
    same = detections.image_index == batch.image_index[asked, None]
    same &= detections.object_index == batch.object_index[asked, None]
    overlap, best = torch.where(same, box_iou(boxes[asked], detections.box), 0.0).max(1)
    hit = overlap > IOU
    instance, match = asked[hit], detections[best[hit]]
    right = detection_errors(network, match, batch, instance) < ADD_SHARE
    return {
        "detection_recall": float(hit.float().mean()),
        "add_recall": float(right.sum() / len(asked)),
        "mask_iou": float(region_mask_iou(match, batch, instance).mean()) if len(match) else 0.0,
    }


def detection_errors(
    network: PoseNetwork, detections: Detections, batch: LabelledBatch, instance: Tensor
) -> Tensor:
    """(n,) ADD in diameters; for symmetric objects the least over their symmetries.

    That is stricter than ADD-S, and exact with few points.

    Args:
        detections: n detections. instance: (n,) int64, the instance each is compared with.
    """
    objects, which = network.objects, batch.object_index[instance]
    points = objects.points[which]
    R, t = nearest_symmetric_pose(
        detections.R,
        detections.t,
        batch.R[instance],
        batch.t[instance],
        points,
        objects.symmetries[which],
    )
    return add_distance(detections.R, detections.t, R, t, points) / objects.diameter[which]


def region_mask_iou(detections: Detections, batch: LabelledBatch, instance: Tensor) -> Tensor:
    """(n,) IoU of visible masks over the detections' regions."""
    side = detections.mask_logits.shape[-1]
    truth = batch.mask_visible(instance)[:, None].float()
    rows = torch.arange(len(instance), device=truth.device)
    truth = roi_align(truth, detections.roi_box, rows, (side, side))[:, 0] > 0.5
    guess = detections.mask_logits[:, 0] > 0
    union = (truth | guess).sum((1, 2))
    return (truth & guess).sum((1, 2)) / union.clamp_min(1)
