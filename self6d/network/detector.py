"""FCOS (Tian et al., ICCV 2019): class, box and centerness at every pyramid location; which boxes
and poses are different instances of one object.

Target assignment, losses and decoding work on the whole batch at once, with shapes that depend on
the sizes of the batch alone, so nothing waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.layers import GroupNormReLU
from self6d.losses.supervised import focal_loss, giou_loss
from self6d.network.backbone import Backbone, Pyramid

from torchvision.models.detection.fcos import (  # isort: skip
    FCOSClassificationHead,
    FCOSRegressionHead,
)

CENTRE_RADIUS = 1.5  # positives lie this close to the box centre, in strides (FCOS)
LEVEL_REACH = 8.0  # a level takes boxes that reach up to this far from a location, in strides
ABSENT = -30.0  # a logit that the focal loss has nothing to say about where no object is
SAME_BOX = 0.6  # box IoU above which two boxes of one object show the same instance (FCOS)
CANDIDATES = 200  # locations looked at for each object, at least
SAME_PLACE = 0.25  # centres nearer than this share of the model's shortest side: one thing
FURTHER_SLOTS = 8  # of further instances in exported graphs, whatever their object


class FCOSOutput(NamedTuple):
    """Raw predictions at L locations of B images.

    Attributes:
        logits: (B, L, C). ltrb: (B, L, 4), distances to the box sides, pixels, >= 0.
        centerness: (B, L), logits. locations: (L, 2), pixels. strides: (L,), pixels.
    """

    logits: Tensor
    ltrb: Tensor
    centerness: Tensor
    locations: Tensor
    strides: Tensor

    @property
    def boxes(self) -> Tensor:
        """(B, L, 4), x0 y0 x1 y1, pixels."""
        top_left = self.locations - self.ltrb[..., :2]
        return torch.cat((top_left, self.locations + self.ltrb[..., 2:]), dim=-1)

    @property
    def scores(self) -> Tensor:
        """(B, L, C) in [0, 1]: geometric mean of class probability and centerness."""
        return (self.logits.sigmoid() * self.centerness.sigmoid()[..., None]).sqrt()


class Detector(nn.Module):
    """Backbone, pyramid and FCOS towers.

    Args:
        backbone, weights: as `Backbone`. classes: number of objects.
        channels, levels: of the pyramid. convs: in each tower.
        scale: images are resampled by this factor first; boxes are of the images as given.
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        classes: int,
        channels: int,
        levels: int,
        convs: int,
        scale: float,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.backbone = Backbone(backbone, weights)
        self.pyramid = Pyramid(self.backbone.channels[1:], channels, levels)
        norm = partial(GroupNormReLU, 32)
        self.classify = FCOSClassificationHead(channels, 1, classes, convs, norm_layer=norm)
        self.regress = FCOSRegressionHead(channels, 1, convs, norm_layer=norm)
        for tower in (self.classify.conv, self.regress.conv):
            for i in range(2, len(tower), 3):
                tower[i] = nn.Identity()  # the ReLU is in the norm before it
        nn.init.constant_(self.regress.bbox_reg.bias, 2.0)  # start at small boxes, not at none

    @property
    def strides(self) -> tuple[float, ...]:
        """Of the pyramid, in pixels of the images as given."""
        return tuple(stride / self.scale for stride in self.pyramid.strides)

    def forward(self, images: Tensor) -> tuple[FCOSOutput, list[Tensor]]:
        """(B, 3, H, W) in [0, 1] -> predictions, and the pyramid's maps."""
        if self.scale != 1:
            size = [round(side * self.scale) for side in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        maps = self.pyramid(self.backbone(images)[1:])
        logits = self.classify(maps).float()
        distances, centerness = self.regress(maps)
        locations, strides = [], []
        for feature, stride in zip(maps, self.strides):
            h, w = feature.shape[-2:]
            x = (torch.arange(w, device=images.device) + 0.5) * stride
            y = (torch.arange(h, device=images.device) + 0.5) * stride
            locations.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2))
            strides.append(torch.full((h * w,), stride, device=images.device))
        stride_of = torch.cat(strides)
        output = FCOSOutput(
            logits=logits,
            ltrb=distances.float() * stride_of[:, None],
            centerness=centerness.float()[..., 0],
            locations=torch.cat(locations),
            strides=stride_of,
        )
        return output, maps


@dataclass
class Targets:
    """What every location should say.

    Attributes:
        instance: (B, L) int64, index into the N boxes, -1 for background.
        box: (B, L, 4), pixels, zeros for background.
        centerness: (B, L), zeros for background.
    """

    instance: Tensor
    box: Tensor
    centerness: Tensor


def assign(output: FCOSOutput, boxes: Tensor, image_index: Tensor) -> Targets:
    """FCOS targets with centre sampling; where boxes overlap the smallest wins.

    Args:
        boxes: (N, 4), pixels. image_index: (N,) int64.
    """
    batch, count, _ = output.logits.shape
    x, y = output.locations.unbind(-1)
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    ltrb = torch.stack((x - x0, y - y0, x1 - x, y1 - y), dim=-1)  # (N, L, 4)
    radius = CENTRE_RADIUS * output.strides
    central = ((x - (x0 + x1) / 2).abs() < radius) & ((y - (y0 + y1) / 2).abs() < radius)
    reach, first, last = ltrb.amax(-1), output.strides.min(), output.strides.max()
    longest = torch.where(output.strides == last, torch.inf, LEVEL_REACH * output.strides)
    shortest = torch.where(output.strides == first, 0.0, LEVEL_REACH / 2 * output.strides)
    positive = central & (ltrb.amin(-1) > 0) & (reach > shortest) & (reach <= longest)

    # smallest box per location: one integer holds area (high bits) and instance (low bits)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    key = (area.clamp(max=2**40).long() << 20) + torch.arange(len(boxes), device=boxes.device)
    none = torch.iinfo(torch.int64).max
    keys = torch.where(positive, key[:, None], none)
    best = keys.new_full((batch, count), none)
    best.scatter_reduce_(0, image_index[:, None].expand(-1, count), keys, "amin")
    instance = torch.where(best == none, -1, best & ((1 << 20) - 1))

    detections = instance >= 0
    box = boxes.new_zeros(batch, count, 4)
    if len(boxes):
        box = torch.where(detections[..., None], boxes[instance.clamp_min(0)], box)
    sides = torch.cat((output.locations - box[..., :2], box[..., 2:] - output.locations), dim=-1)
    low = torch.minimum(sides[..., :2], sides[..., 2:])
    high = torch.maximum(sides[..., :2], sides[..., 2:])
    ratio = (low / high.clamp_min(1e-6)).clamp(0, 1).prod(-1)
    return Targets(instance, box, torch.where(detections, ratio, 0.0).sqrt())


def detection_losses(
    output: FCOSOutput,
    boxes: Tensor,
    image_index: Tensor,
    object_index: Tensor,
    known: Tensor | None = None,
) -> dict[str, Tensor]:
    """FCOS losses: focal over all locations; GIoU and centerness over positive ones.

    Focal and centerness are divided by the number of positives, GIoU is weighted by centerness
    (as in FCOS) and divided by the sum of the weights.

    Args:
        boxes: (N, 4), pixels. image_index, object_index: (N,) int64.
        known: (B, C) bool, the objects of which it is known where all they are in each image; of
            others the class is not learned. None: all.

    Returns:
        scalars "class", "box", "centerness".
    """
    target = assign(output, boxes, image_index)
    detections = target.instance >= 0
    positives = detections.sum().clamp_min(1)
    logits = output.logits
    if known is not None:
        logits = torch.where(known[:, None], logits, ABSENT)
    labels = torch.zeros_like(logits)
    if len(boxes):
        classes = object_index[target.instance.clamp_min(0)]
        labels.scatter_(2, classes[..., None], detections[..., None].to(labels.dtype))
        labels = labels if known is None else labels * known[:, None]
    overlap = giou_loss(output.boxes, target.box) * target.centerness
    centre = F.binary_cross_entropy_with_logits(
        output.centerness, target.centerness, weight=detections.float(), reduction="sum"
    )
    return {
        "class": focal_loss(logits, labels) / positives,
        "box": overlap.sum() / target.centerness.sum().clamp_min(1e-6),
        "centerness": centre / positives,
    }


def best_per_object(output: FCOSOutput) -> tuple[Tensor, Tensor]:
    """The best box of each object in each image.

    Returns:
        score (B, C) and box (B, C, 4), pixels.
    """
    score, where = output.scores.max(dim=1)
    box = output.boxes.gather(1, where[..., None].expand(-1, -1, 4))
    return score, box


def best_instances(output: FCOSOutput, count: int, iou: float = SAME_BOX) -> tuple[Tensor, Tensor]:
    """The best boxes of each object in each image, by greedy non-maximum suppression.

    The N first boxes that the usual loop keeps of each object; for N = 1 its best box.
    `torchvision.ops.nms` waits for the device and has no fixed shape.

    Args:
        count: N, most boxes an object. iou: overlap above which the worse box goes.

    Returns:
        score (B, C, N), falling, 0 where there are no more; box (B, C, N, 4), pixels.
    """
    if count == 1:
        score, box = best_per_object(output)
        return score[:, :, None], box[:, :, None]
    # a box on an instance has a dozen others of its own beside it
    most = min(max(CANDIDATES, 20 * count), output.logits.shape[1])
    left, where = output.scores.transpose(1, 2).topk(most, dim=2)
    box = output.boxes[:, None].expand(-1, left.shape[1], -1, -1)
    box = box.gather(2, where[..., None].expand(-1, -1, -1, 4))
    area = (box[..., 2:] - box[..., :2]).prod(-1)
    scores, boxes = [], []
    for _ in range(count):
        score, best = left.max(dim=2, keepdim=True)
        chosen = box.gather(2, best[..., None].expand(-1, -1, -1, 4))
        low = torch.maximum(box[..., :2], chosen[..., :2])
        high = torch.minimum(box[..., 2:], chosen[..., 2:])
        shared = (high - low).clamp_min(0).prod(-1)
        union = (area + area.gather(2, best) - shared).clamp_min(1e-6)
        left = torch.where(shared / union > iou, -1.0, left)
        left = left.scatter(2, best, -1.0)  # a box without area does not overlap itself
        scores.append(score.clamp_min(0))
        boxes.append(chosen)
    return torch.cat(scores, 2), torch.cat(boxes, 2)


def without_faint(score: Tensor, least: float) -> Tensor:
    """Scores (B, M, N) with the second and later instances below `least` set to 0."""
    if score.shape[2] == 1:
        return score
    further = score[..., 1:]
    return torch.cat((score[..., :1], torch.where(further >= least, further, 0.0)), 2)


def places(objects: int, instances: int) -> int:
    """How many detections `slots` gives an image of so many objects, each so often at most."""
    further = instances - 1
    return objects + min(objects * further, max(further, FURTHER_SLOTS))


def slots(score: Tensor, box: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A fixed number of detections an image: each object's best, then the best of the further ones.

    Further ones have `FURTHER_SLOTS` places together, or N - 1 if that is more.

    Args:
        score: (B, M, N). box: (B, M, N, 4).

    Returns:
        score (B, S), box (B, S, 4), object index (B, S) int64; S = M for N = 1.
    """
    b, m, n = score.shape
    index = torch.arange(m, device=score.device)
    if n == 1:
        return score[..., 0], box[:, :, 0], index.repeat(b, 1)
    count = places(m, n) - m
    further, place = score[..., 1:].flatten(1).topk(count, dim=1)
    boxes = box[:, :, 1:].flatten(1, 2).gather(1, place[..., None].expand(-1, -1, 4))
    return (
        torch.cat((score[..., 0], further), 1),
        torch.cat((box[:, :, 0], boxes), 1),
        torch.cat((index.repeat(b, 1), place // (n - 1)), 1),
    )


def seen_twice(
    image_index: Tensor,
    object_index: Tensor,
    score: Tensor,
    centre: Tensor,
    half_extent: Tensor,
) -> Tensor:
    """Detections that show what a better one of the same object shows already.

    Two solids are never in one place: of two whose centres lie closer together than `SAME_PLACE` of
    the model's shortest side, across the view, and less than its longest side in depth, the worse
    is the other once more.

    Args:
        image_index, object_index: (N,) int64. score: (N,). centre: (N, 3), metres, camera frame.
        half_extent: (N, 3), metres, of the models' boxes.

    Returns:
        (N,) bool.
    """
    number = torch.arange(len(score), device=score.device)
    same = (image_index[:, None] == image_index) & (object_index[:, None] == object_index)
    level = (score[:, None] == score) & (number < number[:, None])
    better = same & ((score > score[:, None]) | level)
    z = centre[:, 2].clamp_min(1e-6)
    ray = centre[:, :2] / z[:, None]
    # no cdist: its matrix form loses the small differences
    across = (ray[:, None] - ray).square().sum(-1).sqrt() * z[:, None]
    along = (z[:, None] - z).abs()
    limit, reach = 2 * SAME_PLACE * half_extent.amin(1), 2 * half_extent.amax(1)
    near = (across < limit[:, None]) & (along < reach[:, None])
    return (better & near).any(1)
