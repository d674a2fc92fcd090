"""The student of stage 2, as one module, what it looks at in a step, and its poses' losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from self6d.cuda_graph import capture, filled
from self6d.engine.learning import Filling, Learning, add_gradients, arithmetic, nothing
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
    def of(
        cls, teacher: Teacher, seed: int, rank: int, step: int, size: int,
        aside: Sequence[int] = (),
    ) -> Drawn:  # fmt: skip
        """Frames drawn at random among those worth it.

        Args:
            size: frames. aside: numbers of those not drawn.
        """
        config = teacher.config
        assert teacher.pseudo_labels is not None
        generator = step_generator(seed, step, rank)
        pseudo_labels, numbers, rows = draw_frames(
            teacher.pseudo_labels, *teacher.on_host(), size,
            config.max_objects, generator, alone=config.selected_alone, aside=aside,
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


@dataclass
class PoseBatch:
    """N pseudo-labels that the student's poses are compared with, all that it takes as tensors.

    Attributes:
        images: (B, 3, H, W), as the student sees them. clean: (B, 3, H, W), depth_m: (B, H, W) or
            None, K: (B, 3, 3), as the sensor does.
        box: (N, 4), pixels, that the student looks at. image_index, object_index, score, seen_box,
            mask_logits, roi_box: of the teacher's `Detections`.
        R: (N, 3, 3). t: (N, 3), metres. selected: (N,), 1 where they are learned from.
        heard: (N,), weights in L_self. jitter: (1,), see `SelfSupervision.compare`.
    """

    images: Tensor
    clean: Tensor
    depth_m: Tensor | None
    K: Tensor
    box: Tensor
    image_index: Tensor
    object_index: Tensor
    score: Tensor
    seen_box: Tensor
    mask_logits: Tensor
    roi_box: Tensor
    R: Tensor
    t: Tensor
    selected: Tensor
    heard: Tensor
    jitter: Tensor

    @property
    def sensor(self) -> FrameBatch:
        """The clean frames."""
        return FrameBatch(self.clean, self.depth_m, self.K)

    @property
    def detections(self) -> Detections:
        """What the teacher found."""
        return Detections(
            self.image_index, self.object_index, self.score, self.seen_box, self.R, self.t,
            self.mask_logits, self.roi_box,
        )  # fmt: skip

    def filled(self, rows: int) -> PoseBatch:
        """The batch with so many rows, those added not heard."""
        count = len(self.R)
        fill, frames = filled(count, rows, self.R.device), {"images", "clean", "depth_m", "K"}
        names = {field.name for field in fields(self)} - frames - {"jitter"}
        more = replace(self, **{name: getattr(self, name)[fill] for name in names})
        more.quiet(count)
        return more

    def quiet(self, count: int) -> None:
        """Rows from there on are not heard."""
        self.selected[count:] = 0
        self.heard[count:] = 0


@dataclass(frozen=True)
class Labels:
    """A batch to learn from as stage 1 does, the objects `known` in it (see
    `PoseNetwork.losses`), and what its loss is called and counts."""

    name: str
    weight: float
    batch: LabelledBatch
    known: Tensor | None = None


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
        asked: PoseBatch | None,
        labelled: Sequence[Labels],
        noise: torch.Generator,
        *,
        found: bool = True,
    ) -> tuple[Detections | None, list[Tensor], Tensor]:
        """Poses in boxes, a loss for each labelled batch, and a zero with a gradient.

        Where several processes train it together, all parameters have part in the zero.

        Args:
            asked: the boxes; None: no poses are asked for.
            found: False: the first batch's losses are without the detector's (`found`).
        """
        losses = []
        for i, given in enumerate(labelled):
            if found or i > 0:
                losses.append(self.network.losses(given.batch, noise, given.known)["total"])
            else:
                terms = self.network.region_losses(given.batch, None, noise)
                losses.append(torch.stack(list(terms.values())).sum())
        nothing = 0.0 * torch.stack([p.sum() for p in self._learning]).sum()
        poses = None if asked is None else self.poses(asked)
        return poses, losses, nothing

    def poses(self, asked: PoseBatch) -> Detections:
        """The poses in its boxes."""
        return self.network.poses_for_boxes(
            asked.images, asked.K, asked.box, asked.image_index, asked.object_index,
            heads_alone=self.heads_alone,
        )  # fmt: skip


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

    def asked(self, drawn: Drawn) -> PoseBatch | None:
        """What the student's poses are asked of: a third of a step, and with label losses alone
        nothing looks at them."""
        config, labels, box = self.config, drawn.pseudo_labels, drawn.box
        if config.self_weight == 0:  # without L_self those selected alone
            rows = drawn.selected.to(box.device, non_blocking=True)
            labels, box = labels[rows], box[rows]
            if not config.pulled or not len(box):
                return None
        selected = labels.selected.float()
        # far from the truth L_self points anywhere
        heard = selected.clone() if len(drawn.selected) else torch.ones_like(selected)
        seen, sensor = labels.detections, drawn.sensor
        jitter = torch.rand(1, generator=drawn.generator).to(box.device, non_blocking=True)
        return PoseBatch(
            drawn.images, sensor.images, sensor.depth_m, sensor.K, box, seen.image_index,
            seen.object_index, seen.score, seen.box, seen.mask_logits, seen.roi_box, labels.R,
            labels.t, selected, heard, jitter,
        )  # fmt: skip

    def told(self, drawn: Drawn) -> dict[str, Tensor]:
        """What is said of a step besides its losses."""
        if not self.config.pulled:
            return {}
        share = drawn.pseudo_labels.selected.float().mean()
        return {"pseudo": torch.zeros_like(share), "selected": share}

    def of(self, batch: PoseBatch, student: Detections) -> dict[str, Tensor]:
        """Terms of L_self, as "self" their sum, and as "pseudo" the distance from selected poses,
        detached; as "total" the weighted sum of both.

        Args:
            student: of what was `asked`.
        """
        config = self.config
        scalars: dict[str, Tensor] = {}
        total = torch.zeros((), device=batch.box.device)
        if config.self_weight > 0:
            terms = self.compare(batch.sensor, batch.detections, student, batch.jitter[0])
            terms = {k: (v * batch.heard).sum() / batch.heard.sum() for k, v in terms.items()}
            scalars |= {name: value.detach() for name, value in terms.items()}
            scalars["self"] = scalars.pop("total")
            total = total + config.self_weight * terms["total"]
        if config.pulled:
            index = batch.object_index
            points, symmetries = self.objects.points[index], self.objects.symmetries[index]
            distance = pose_loss(student.R, student.t, batch.R, batch.t, points, symmetries)
            pull = (distance * batch.selected).sum() / batch.selected.sum().clamp_min(1)
            scalars["pseudo"] = pull.detach()
            total = total + config.pseudo_weight * pull
        return scalars | {"total": total}

    def compare(
        self,
        sensor: FrameBatch,
        detections: Detections,
        student: Detections,
        jitter: float | Tensor,
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


class RecordedStudent:
    """The student's losses and gradients on one GPU, each part of them a CUDA graph.

    Args:
        student: and what its poses are held against. parameters: whose gradients are made.
        config: its changes are followed, see `forget`. record: see `Learning`.
    """

    def __init__(
        self,
        student: Student,
        of_poses: PoseLosses,
        parameters: Sequence[Tensor],
        config: AdaptConfig,
        record: Callable[..., tuple[Callable[[], None], Any]] | None = capture,
    ) -> None:
        self.student, self.of_poses = student, of_poses
        self.parameters, self.config = parameters, config
        self.device = parameters[0].device
        filling: Filling[PoseBatch] = Filling(self._rows, PoseBatch.filled, PoseBatch.quiet)
        self._poses = Learning(self._compared, parameters, self.device, record, filling)
        self._labelled = {
            name: Learning[LabelledBatch](self._told, parameters, self.device, record)
            for name in ("labels", "synthetic")
        }

    def __call__(
        self,
        asked: PoseBatch | None,
        labelled: Sequence[Labels],
        seed: int,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses to be told, and their weighted sum, detached; its gradients are in the parameters.

        Args:
            asked: what poses are asked of; None: nothing. labelled: batches of different names.
            seed: of what is drawn.
        """
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=self.device)
        sums: list[Tensor | None] = [None] * len(self.parameters)
        if asked is not None:
            terms = self._poses(asked, seed)
            total = terms.pop("total")
            sums = [parameter.grad for parameter in self.parameters]
        for given in labelled:
            others = () if given.known is None else (given.known,)
            terms[given.name] = self._labelled[given.name](given.batch, seed, nothing, *others)[
                "total"
            ]
            total = total + given.weight * terms[given.name]
            add_gradients(self.parameters, sums, given.weight)
            sums = [parameter.grad for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, sums, strict=True):
            parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
        return terms, total

    def forget(self) -> None:
        """Record anew: a number has changed that the losses read, or memory is short."""
        self._poses.forget()
        for learning in self._labelled.values():
            learning.forget()

    def _rows(self, batch: PoseBatch) -> int:
        """Quarters of the most there are: few graphs, none of them half empty for long."""
        quarter = -(-self.config.max_objects // 4)
        return -(-len(batch.R) // quarter) * quarter

    def _compared(self, batch: PoseBatch, generator: torch.Generator) -> dict[str, Tensor]:
        with arithmetic(self.config.amp, self.device):
            poses = self.student.poses(batch)
        return self.of_poses.of(batch, poses)

    def _told(
        self, batch: LabelledBatch, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        with arithmetic(self.config.amp, self.device):
            return self.student.network.losses(batch, generator, known)
