"""The student of stage 2, as one module, what it looks at in a step, and its poses' losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from self6d.losses.objective import SelfSupervision
from self6d.losses.supervised import pose_loss
from self6d.network import PoseNetwork
from self6d.network.objects import ObjectTable
from self6d.network.outputs import Detections
from self6d.network.roi import jitter_boxes
from self6d.refinement.refine import observe_detections
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.rng import step_generator
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.config import AdaptConfig
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
        heads_alone: poses pass a gradient to the pose heads alone; losses with labels to all.
        shared: whether several processes train it together.
    """

    def __init__(self, network: PoseNetwork, *, heads_alone: bool, shared: bool = False) -> None:
        super().__init__()
        self.network, self.heads_alone = network, heads_alone
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
        *,
        found: bool = True,
    ) -> tuple[Detections | None, list[Tensor], Tensor]:
        """Poses in boxes, a loss for each labelled batch, and a zero with a gradient.

        Where several processes train it together, all parameters have part in the zero.

        Args:
            boxes: corners, image and object of each; None: no poses are asked for.
            found: False: the first batch's losses are without the detector's (`found`).
        """
        losses = []
        for i, (batch, known) in enumerate(labelled):
            if found or i > 0:
                losses.append(self.network.losses(batch, noise, known)["total"])
            else:
                terms = self.network.region_losses(batch, None, noise)
                losses.append(torch.stack(list(terms.values())).sum())
        nothing = 0.0 * torch.stack([p.sum() for p in self._learning]).sum()
        if boxes is None:
            return None, losses, nothing
        detections = self.network.poses_for_boxes(images, K, *boxes, heads_alone=self.heads_alone)
        return detections, losses, nothing


class PoseLosses:
    """What the student's poses are held against.

    Args:
        models: packed, and objects: geometry, both in the order of `object_index`.
        objective: L_self. config: its changes are followed.
    """

    def __init__(
        self,
        models: PackedModels,
        objects: ObjectTable,
        objective: SelfSupervision,
        config: AdaptConfig,
    ) -> None:
        self.models, self.objects = models, objects
        self.objective, self.config = objective, config

    def asked(self, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor] | None:
        """Boxes, frames and objects to estimate poses of: a third of a step, and with label losses
        alone nothing looks at them."""
        config, (labels, box) = self.config, self._heard(drawn)
        if config.self_weight > 0 or (config.pulled and len(box)):
            return box, labels.detections.image_index, labels.detections.object_index
        return None

    def _heard(self, drawn: Drawn) -> tuple[PseudoLabels, Tensor]:
        """N pseudo-labels whose poses are compared, and their boxes (N, 4): without L_self those
        selected alone."""
        if self.config.self_weight > 0:
            return drawn.pseudo_labels, drawn.box
        rows = drawn.selected.to(drawn.box.device, non_blocking=True)
        return drawn.pseudo_labels[rows], drawn.box[rows]

    def of(self, drawn: Drawn, student: Detections | None) -> tuple[dict[str, Tensor], Tensor]:
        """L_self and the distance from selected poses, to be told, and their weighted sum.

        Args:
            student: of the boxes `asked`; None: none were.
        """
        config, (pseudo_labels, _) = self.config, self._heard(drawn)
        detections, selected = pseudo_labels.detections, pseudo_labels.selected.float()
        scalars: dict[str, Tensor] = {}
        total = torch.zeros((), device=drawn.box.device)
        if config.pulled:
            scalars["pseudo"] = total
            scalars["selected"] = drawn.pseudo_labels.selected.float().mean()
        if student is None:
            return scalars, total
        if config.self_weight > 0:
            terms = self.compare(
                drawn.sensor, detections, student, float(torch.rand((), generator=drawn.generator))
            )
            # far from the truth L_self points anywhere
            heard = selected if len(drawn.selected) else torch.ones_like(selected)
            terms = {k: (v * heard).sum() / heard.sum() for k, v in terms.items()}
            scalars |= {name: value.detach() for name, value in terms.items()}
            scalars["self"] = scalars.pop("total")
            total = total + config.self_weight * terms["total"]
        if config.pulled:
            index = detections.object_index
            points, symmetries = self.objects.points[index], self.objects.symmetries[index]
            distance = pose_loss(
                student.R, student.t, pseudo_labels.R, pseudo_labels.t, points, symmetries
            )
            pull = (distance * selected).sum() / selected.sum().clamp_min(1)
            scalars["pseudo"] = pull.detach()
            total = total + config.pseudo_weight * pull
        return scalars, total

    def compare(
        self, sensor: FrameBatch, detections: Detections, student: Detections, jitter: float
    ) -> dict[str, Tensor]:
        """Terms of L_self for the student's poses, (N,) each."""
        size = self.config.region
        checked = replace(detections, R=student.R.detach(), t=student.t.detach())
        target = observe_detections(
            sensor, checked, self.models, self.objective, size, self.config.padding
        )
        rendering = render(
            student.R, student.t, target.K, self.models, (size, size),
            object_index=detections.object_index,
        )  # fmt: skip
        return self.objective.compare(target, rendering, jitter=jitter)
