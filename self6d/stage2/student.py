"""The student of stage 2, as one module, and what it looks at in a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from self6d.network import PoseNetwork
from self6d.network.outputs import Detections
from self6d.network.roi import jitter_boxes
from self6d.rng import step_generator
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.frame_augmentation import selected_batch
from self6d.stage2.pseudo_labels import PseudoLabels, draw_frames
from self6d.synthesis import augment

if TYPE_CHECKING:
    from self6d.stage2.teacher import Teacher


@dataclass
class Drawn:
    """What a step looks at, as long as the pseudo-labels stay: a function of seed and step.

    Attributes:
        sensor: B clean frames. images: (B, 3, H, W), as the student sees them.
        pseudo_labels: N of them, `image_index` being the place in the batch.
        selected: (M,) int64 on the CPU, the rows learned from.
        box: (N, 4), pixels, jittered.
        labelled: the frames with the selected poses, and the objects known, see `selected_batch`;
            None where label losses are off or nothing is selected.
        generator, noise: for what is drawn later in the step, on the CPU and on the device.
    """

    sensor: FrameBatch
    images: Tensor
    pseudo_labels: PseudoLabels
    selected: Tensor
    box: Tensor
    labelled: tuple[LabelledBatch, Tensor] | None
    generator: torch.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, teacher: Teacher, seed: int, rank: int, step: int, size: int) -> Drawn:
        """Frames drawn at random among those worth it.

        Args:
            size: frames.
        """
        config = teacher.config
        assert teacher.pseudo_labels is not None
        generator = step_generator(seed, step, rank)
        pseudo_labels, numbers, rows = draw_frames(
            teacher.pseudo_labels, *teacher.on_host(), size,
            config.max_objects, generator, alone=config.selected_alone,
        )  # fmt: skip
        sensor, detections = teacher.sensor_of(pseudo_labels.detections, numbers)
        noise = step_generator(seed, step, rank, stream=1, device=teacher.store.device)
        box = detections.box
        if config.box_jitter:
            box = jitter_boxes(box, config.box_jitter, noise)
        images = augment(sensor.images, generator, config.augment)
        labelled = None
        if config.pseudo and config.label_weight > 0 and len(rows):
            selected = rows.to(teacher.store.device, non_blocking=True)
            labelled = selected_batch(
                replace(sensor, images=images),
                detections[selected],
                (pseudo_labels.R[selected], pseudo_labels.t[selected]),
                teacher.models,
                config,
                noise,
                margin_m=teacher.objective.config.occluder_margin_m,
                complete=teacher.complete(pseudo_labels[selected]),
            )
        drawn = replace(pseudo_labels, detections=detections)
        return cls(sensor, images, drawn, rows, box, labelled, generator, noise)


class Student(nn.Module):
    """All that a step asks of the network, in one call, as data-parallel training needs it.

    Args:
        frozen_for_self_loss: parameters that the poses pass no gradient to; losses with labels do.
        shared: whether several processes train it together.
    """

    def __init__(
        self, network: PoseNetwork, frozen_for_self_loss: Sequence[Tensor], *, shared: bool = False
    ) -> None:
        super().__init__()
        self.network, self.frozen_for_self_loss = network, list(frozen_for_self_loss)
        self._learning = [p for p in network.parameters() if p.requires_grad]
        if not shared:  # a kernel or two for each of them; see `finite_step(whole=True)`
            self._learning = self._learning[:1]

    def forward(
        self,
        images: Tensor,
        K: Tensor,
        boxes: tuple[Tensor, Tensor, Tensor] | None,
        labelled: Sequence[tuple[LabelledBatch, Tensor | None]],
        noise: torch.Generator,
    ) -> tuple[Detections | None, list[Tensor], Tensor]:
        """Poses in boxes, a loss for each labelled batch, and a zero with a gradient.

        Where several processes train it together, all parameters have part in the zero.

        Args:
            boxes: corners, image and object of each; None: no poses are asked for.
        """
        losses = [self.network.losses(batch, noise, known)["total"] for batch, known in labelled]
        nothing = 0.0 * torch.stack([p.sum() for p in self._learning]).sum()
        if boxes is None:
            return None, losses, nothing
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(False)
        detections = self.network.poses_for_boxes(images, K, *boxes)
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(True)
        return detections, losses, nothing
