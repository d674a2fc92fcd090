"""PoseNetwork: detector, region features and branches put together; losses and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from self6d.errors import InputError
from self6d.network.backbone import STRIDES, freeze_batch_norm
from self6d.network.config import NetworkConfig
from self6d.network.detector import (
    Detector,
    best_instances,
    detection_losses,
    seen_twice,
    slots,
    without_faint,
)
from self6d.network.objects import ObjectTable
from self6d.network.outputs import Detections
from self6d.network.region_losses import Labelled, region_losses
from self6d.network.regions import RegionBoxes, RegionNetwork
from self6d.network.roi import jitter_boxes, pose_regions
from self6d.network.targets import choose_instances
from self6d.network.views import average_poses, view_boxes
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch


class PoseNetwork(nn.Module):
    """6D poses of known objects from RGB and K.

    Args:
        config: form and sizes; `NetworkConfig.preset(name)`.
        models: the objects, in the order of `object_index`.

    Attributes:
        object_ids: BOP number of each object.
    """

    def __init__(self, config: NetworkConfig, models: Sequence[ObjectModel]) -> None:
        super().__init__()
        self.config = config
        self.object_ids = [model.object_id for model in models]
        self.objects = ObjectTable(
            models,
            config.loss_points,
            config.regions,
            config.symmetry_steps,
            config.about_centre,
        )
        count = len(models)
        self.detector = Detector(
            config.backbone,
            config.weights,
            count,
            config.pyramid_channels,
            config.pyramid_levels,
            config.head_convs,
            config.detector_scale,
        )
        self.regions = RegionNetwork(config, self.objects, self.detector.strides[0])
        self.train()

    def train(self, mode: bool = True) -> PoseNetwork:
        """As `nn.Module.train`, keeping batch norms frozen where the configuration says so."""
        super().train(mode)
        if self.config.frozen_batch_norm:
            freeze_batch_norm(self)
        return self

    def losses(
        self,
        batch: LabelledBatch,
        generator: torch.Generator | None = None,
        known: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted training losses, Self6D equation (2) and the terms of the chosen form.

        Args:
            batch: labelled images.
            generator: on the batch's device; draws which instances train the pose branches and
                jitters their boxes. None: the first instances, exact boxes.
            known: (B, C) bool, the objects of which all instances in an image are labelled; of
                others the detector learns nothing. None: all.

        Returns:
            float32 scalars "class", "box", "centerness", "mask", "pose", those of the form
            ("translation", "distance", "coordinates", "regions"), and their sum "total".
        """
        terms, maps = self.detector_losses(batch, known)
        terms |= self.region_losses(batch, maps, generator)
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def detector_losses(
        self, batch: LabelledBatch, known: Tensor | None = None
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Those of `losses` that are the detector's, and its maps."""
        output, maps = self.detector(batch.images)
        boxes, _ = self._learned(batch)
        terms = detection_losses(output, boxes, batch.image_index, batch.object_index, known)
        return {k: v * getattr(self.config, f"{k}_weight") for k, v in terms.items()}, maps

    def _learned(self, batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4), pixels, empty where too little is visible, and (N,) bool, the others."""
        boxes = batch.box_visible if self.config.box == "visible" else batch.box_amodal
        eligible = batch.visible_fraction >= self.config.min_visible
        return torch.where(eligible[:, None], boxes, 0.0), eligible  # an empty one: never positive

    def region_losses(
        self,
        batch: LabelledBatch,
        maps: Sequence[Tensor] | None,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """The other ones of `losses`; maps are looked at for roi_input "features" alone."""
        config, images = self.config, len(batch.images)
        boxes, eligible = self._learned(batch)
        if len(boxes) == 0:  # keep every parameter in the graph, as data-parallel training needs
            unused = torch.stack([p.sum() for p in self.regions.parameters()]).sum()
            return {"pose": 0.0 * unused}
        slots = min(config.rois_per_image, -(-len(boxes) // images))
        instance, used = choose_instances(batch.image_index, eligible, images, slots, generator)
        instance = instance.flatten()
        image_index = torch.arange(images, device=boxes.device).repeat_interleave(slots)
        box = boxes[instance]
        if generator is not None:
            box = jitter_boxes(box, config.box_jitter, generator)
        used = used.flatten()
        if self._may_leave_out(used):
            instance, image_index, box, used, slots = (
                *(x[used] for x in (instance, image_index, box, used)), 0,
            )  # fmt: skip
        regions = self._look_at(
            box, image_index, batch.object_index[instance], batch.K, per_image=slots
        )
        out = self.regions(batch.images, maps, regions, self.objects)
        labelled = Labelled(batch, instance, used.float(), regions)
        return region_losses(out, labelled, self.objects, config)

    def _may_leave_out(self, used: Tensor) -> bool:
        """Whether regions that count for nothing, a fifth of them, need not be looked at: where
        nothing waits to know them, and batch norms do not learn from them."""
        cropped = self.config.roi_input == "crop"
        return cropped and not self.training and not used.is_cuda and bool(used.any())

    def _look_at(
        self,
        box: Tensor,
        image_index: Tensor,
        object_index: Tensor,
        K: Tensor,
        per_image: int = 0,
    ) -> RegionBoxes:
        """The regions that belong to boxes (N, 4); K (B, 3, 3)."""
        K_of = K[image_index]
        region = pose_regions(box, K_of, self.config.roi_padding, self.config.roi_square)
        return RegionBoxes(region, image_index, object_index, K_of, per_image)

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        K: Tensor,
        *,
        score_threshold: float = 0.3,
        max_per_image: int | None = None,
        instances: int | None = None,
        further_score: float | None = None,
    ) -> Detections:
        """Detect objects and estimate their poses, averaged over `NetworkConfig.views`.

        Batch norms use their running statistics.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], RGB. K: (B, 3, 3), pixels.
            score_threshold: detections below are dropped.
            max_per_image: most detections per image, best first; None: all.
            instances: most of each object in an image. further_score: of the second and later ones
                those below are dropped. None: as configured.

        Returns:
            by image, best score first; none shows what a better one shows already (`seen_twice`).

        Raises:
            InputError: images of which the detector's last map is a single place.
        """
        images, K, grow = self.as_trained(images, K)
        height, width = images.shape[-2:]
        if max(height, width) <= STRIDES[-1]:
            raise InputError(
                f"images of {width}x{height} pixels are too small for the network",
                remedy=f"Give images wider or higher than {STRIDES[-1]} pixels.",
            )
        most = self.config.instances if instances is None else instances
        least = self.config.further_score if further_score is None else further_score
        with _evaluating(self):
            output, maps = self.detector(images)
            score, box = best_instances(output, most)
            gone = torch.zeros_like(score, dtype=torch.bool)
            gone[..., 1:] = score[..., 1:] < max(least, 1e-6)
            score = torch.where(gone, -torch.inf, score).flatten(1)
            count = score.shape[1] if max_per_image is None else max_per_image
            score, place = score.topk(min(count, score.shape[1]), dim=1)
            box = box.flatten(1, 2).gather(1, place[..., None].expand(-1, -1, 4))
            image_index, slot = (score > score_threshold).nonzero(as_tuple=True)
            at = (image_index, slot)
            box, object_index = _clip(box[at], images.shape[-2:]), place[at] // most
            pose = self._averaged(images, maps, K, box, image_index, object_index)
            found = Detections(image_index, object_index, score[at], box, *pose)
            found = found if most == 1 else found[~self.seen_twice(found)]
        if grow is None:
            return found
        return replace(found, box=found.box * grow, roi_box=found.roi_box * grow)

    def as_trained(self, images: Tensor, K: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images and K at `image_height`, and what takes boxes back: (4,), None where nothing is
        to be done."""
        height, (h, w) = self.config.image_height, images.shape[-2:]
        if height in (0, h):
            return images, K, None
        width = round(w * height / h)
        images = F.interpolate(
            images, (height, width), mode="bilinear", align_corners=False, antialias=h > height
        )
        # made on the device: a CUDA graph cannot hold a copy from the CPU
        x, y = K.new_full((1,), width / w), K.new_full((1,), height / h)
        grow = torch.cat((K.new_full((1,), w / width), K.new_full((1,), h / height))).repeat(2)
        return images, K * torch.cat((x, y, K.new_ones(1)))[:, None], grow

    def seen_twice(self, detections: Detections) -> Tensor:
        """(N,) bool, detections that are better ones once more, see `detector.seen_twice`."""
        d, index = detections, detections.object_index
        centre = (d.R @ self.objects.centre[index][..., None])[..., 0] + d.t
        half = self.objects.half_extent[index]
        return seen_twice(d.image_index, index, d.score, centre, half)

    def moved_together(self, detections: Detections) -> Tensor:
        """(N,) bool, of poses that were moved: those that show what a better one shows by now.

        None of a network that finds one instance of each object.
        """
        if self.config.instances == 1:
            return torch.zeros_like(detections.score, dtype=torch.bool)
        return self.seen_twice(detections)

    def poses_for_boxes(
        self, images: Tensor, K: Tensor, box: Tensor, image_index: Tensor, object_index: Tensor,
        *, heads_alone: bool = False,
    ) -> Detections:  # fmt: skip
        """Poses and masks of given boxes, differentiable with respect to the parameters.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], RGB. K: (B, 3, 3), pixels.
            box: (N, 4), pixels. image_index, object_index: (N,) int64.
            heads_alone: of all parameters those of the pose heads alone, not of the masks'.

        Returns:
            N detections of score 1, in the order given.
        """
        maps = None
        if self.config.roi_input == "features":
            with torch.set_grad_enabled(torch.is_grad_enabled() and not heads_alone):
                maps = self.detector(images)[1]
        score = torch.ones(len(box), device=images.device)
        regions = self._look_at(box, image_index, object_index, K)
        out = self.regions(images, maps, regions, self.objects, heads_alone=heads_alone)
        return Detections(
            image_index, object_index, score, box, out.R, out.t, out.mask_logits, regions.box
        )

    def _averaged(
        self,
        images: Tensor,
        maps: Sequence[Tensor] | None,
        K: Tensor,
        box: Tensor,
        image_index: Tensor,
        object_index: Tensor,
        per_image: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """R, t, mask_logits and roi_box of `Detections`, poses averaged over `views`."""
        views, object_of = self.config.views, object_index
        if views > 1:
            box = view_boxes(box, views).flatten(0, 1)
            image_index, object_of = (
                index.repeat_interleave(views) for index in (image_index, object_index)
            )
        regions = self._look_at(box, image_index, object_of, K, per_image * views)
        out = self.regions(images, maps, regions, self.objects)
        if views == 1:
            return out.R, out.t, out.mask_logits, regions.box
        R, t = average_poses(
            out.R.unflatten(0, (-1, views)),
            out.t.unflatten(0, (-1, views)),
            self.objects.points[object_index],
            self.objects.symmetries[object_index],
            self.objects.pivot[object_index],
        )
        return R, t, out.mask_logits[::views], regions.box[::views]

    def forward_export(self, images: Tensor, K: Tensor) -> tuple[Tensor, ...]:
        """`predict` with fixed shapes and tensors only: D detections in each image.

        They are the best of each of the M objects, in order, and then the best further instances
        (`detector.slots`; D = M where `NetworkConfig.instances` is 1).

        Args:
            images: (B, 3, H, W). K: (B, 3, 3), pixels.

        Returns:
            score (B, D), 0 where there is no further instance, negative where a better one is seen
            twice; box (B, D, 4), pixels; R (B, D, 3, 3); t (B, D, 3), metres;
            mask_logits (B, D, C, S, S) over roi_box (B, D, 4), pixels; object index (B, D) int64.
        """
        images, K, grow = self.as_trained(images, K)
        output, maps = self.detector(images)
        score, box = best_instances(output, self.config.instances)
        score, box, index = slots(without_faint(score, self.config.further_score), box)
        box = _clip(box, images.shape[-2:])
        b, d = score.shape
        image_index = torch.arange(b, device=images.device).repeat_interleave(d)
        object_index = index.flatten()
        pose = self._averaged(images, maps, K, box.flatten(0, 1), image_index, object_index, d)
        if self.config.instances > 1:
            found = Detections(image_index, object_index, score.flatten(), box, *pose)
            score = torch.where(self.seen_twice(found), -found.score, found.score)
            score = score.unflatten(0, (b, d))
        R, t, mask_logits, roi_box = (part.unflatten(0, (b, d)) for part in pose)
        if grow is not None:
            box, roi_box = box * grow, roi_box * grow
        return score, box, R, t, mask_logits, roi_box, index

    def stage2_parameters(self, scope: Literal["heads", "pose", "all"] = "pose") -> list[Tensor]:
        """Free the parameters that stage 2 trains, freeze all others, and return the free ones.

        Args:
            scope: "heads" (mask, dense and pose branches), "pose" (with the region features,
                that is all behind the detector) or "all".
        """
        chosen: list[nn.Module] = [self]
        if scope == "pose":
            chosen = [self.regions]
        elif scope == "heads":
            chosen = [part for part in self.regions.children() if part is not self.regions.features]
        self.requires_grad_(False)
        for part in chosen:
            part.requires_grad_(True)
        if self.config.frozen_batch_norm:
            freeze_batch_norm(self)
        return [p for p in self.parameters() if p.requires_grad]


def _clip(box: Tensor, size: Sequence[int]) -> Tensor:
    """Boxes (..., 4) inside an image of (h, w)."""
    x = box[..., 0::2].clamp(0, size[1])
    y = box[..., 1::2].clamp(0, size[0])
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    if not module.training:  # walking through all parts costs as much as some layers
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()
