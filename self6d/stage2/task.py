"""Stage 2: adapt a pose network to unlabelled frames by differentiable render-and-compare."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from self6d.datasets.base import UnlabelledFrames
from self6d.engine import distributed
from self6d.engine.ahead import Ahead
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, finite_step
from self6d.engine.optimizer import AdamW
from self6d.engine.schedule import learning_rate
from self6d.engine.task import noted_by_nobody
from self6d.errors import InputError
from self6d.events import Preview, Told, told_to_nobody
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.losses.supervised import pose_loss
from self6d.losses.terms import TERMS, deaf
from self6d.network import PoseNetwork
from self6d.network.outputs import Detections
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import HealthMonitor
from self6d.refinement.refine import observe_detections
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.rendering import pack_models, render
from self6d.rendering.warm_up import warm_up
from self6d.rng import mixed_seed, step_generator
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.preview import frame_previews
from self6d.stage2.refiner_learning import RefinerLearning
from self6d.stage2.student import Drawn, Student
from self6d.stage2.teacher import Teacher
from self6d.synthesis import SceneMaker, SynthesisConfig
from self6d.tracking.still.arrangement import Thing

__all__ = ["AdaptConfig", "SelfSupTask"]

log = logging.getLogger("self6d")


class SelfSupTask:
    """The task of stage 2, run by `engine.loop.run_task`.

    The teacher, an average of the student's weights, looks at clean frames and says where objects
    are and which pixels show them. The student's poses in those boxes are rendered, all in one
    call, and L_self pulls rendering and sensor together. Optionally the teacher's poses are refined
    on their frames first, and those that label-free checks agree on are learned from (`pseudo`).

    Args:
        network: trained in stage 1; its weights are copied.
        models: its objects, in the order of `object_index`.
        frames: the recording, without labels.
        adapt, loss, optimize: configurations. synthesis: of mixed-in synthetic images.
        seed: decides every draw.
        device: "cpu", "cuda", "cuda:1", ... tell: hears how far it is before the first step.

    Raises:
        InputError: a refiner without pseudo-poses, or one that does not know an object.
    """

    name = "adapt"
    newest_is_best = True

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        frames: UnlabelledFrames,
        adapt: AdaptConfig | None = None,
        loss: LossConfig | None = None,
        optimize: OptimizeConfig | None = None,
        synthesis: SynthesisConfig | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tell: Told = told_to_nobody,
    ) -> None:
        config = self.config = replace(adapt or AdaptConfig())
        config.check_pseudo()
        self.seed, self.total_steps, self.batch_size = seed, config.steps, config.batch
        self.clock = Clock(config.minutes)
        self.world = distributed.join(device)
        self.device = self.world.device
        self.store = FrameStore(
            frames, self.device, use_depth=config.use_depth, height=config.image_height,
            budget_mb=config.cache_mb, tell=tell,
        )  # fmt: skip
        if not self.store.has_depth and not (config.refiner and config.pseudo):
            log.warning(
                "without depth, distances follow the predicted masks alone, and those of partly "
                "hidden objects can get worse: compare with stage 1 on some labelled frames"
            )
        self.network = network.to(self.device)
        self.parameters = self.network.stage2_parameters(config.scope)
        self.network.eval()  # batch norms keep the statistics of stage 1
        frozen, shared = self._frozen_for_self_loss(), self.world.size > 1
        self.student = self.world.wrap(Student(self.network, frozen, shared=shared))
        self.models = pack_models(models, self.device)
        warm_up(self.models, tell, gradients=config.self_weight > 0 or config.pseudo)
        self.objects = self.network.objects
        self.objective = SelfSupervision(replace(loss or LossConfig()), self.device)
        self.teacher = Teacher(
            self.network, self.store, self.models, self.objective, config,
            optimize or OptimizeConfig(), seed,
            RgbRefiner.load(config.refiner, models, self.device) if config.refiner else None,
            [Thing.of(model) for model in models],
        )  # fmt: skip
        self.refiner = self._refiner_learning()
        self.optimizer = AdamW(
            self.parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )  # fmt: skip
        # on a GPU it stays in the step's own stream
        self.drawn = Ahead(self.draw, config.steps, self.device, beside=self.device.type == "cpu")
        self.scenes: Ahead[LabelledBatch] | None = None
        if config.synthetic > 0:
            camera, small = self.store.camera, synthesis or SynthesisConfig()
            small = replace(small.for_instances(network.config.instances), height=camera.height)
            maker = SceneMaker(models, camera, small, self.device, tell=tell)
            self.scenes = Ahead(
                lambda step, size: maker.make(size, mixed_seed(seed, self.world.rank), step),
                config.steps, self.device, beside=self.device.type == "cpu",
            )  # fmt: skip
        self.monitor = HealthMonitor(config.collapse, config.patience)
        self.stop_reason: str | None = None
        self.on_preparing, self.on_note = told_to_nobody, noted_by_nobody
        self._step = 0

    def _refiner_learning(self) -> RefinerLearning | None:
        """Without depth, or frames solved together, it could only learn from its own poses."""
        looker, config = self.teacher.looker, self.config
        if looker is None or config.refiner_lr <= 0:
            return None
        if not (self.store.has_depth or config.still):
            return None
        return RefinerLearning(looker, self.objects, self.world, config)

    def _frozen_for_self_loss(self) -> list[Tensor]:
        """Trained parameters that L_self leaves alone: all but the pose heads, or none."""
        wanted = self.config.self_scope
        if wanted == "scope" or (wanted == "auto" and not self.network.config.mask_prior):
            return []
        regions = self.network.regions
        heads = [part for part in regions.children() if part is not regions.features]
        moved = {id(p) for part in heads if part is not regions.mask for p in part.parameters()}
        return [p for p in self.parameters if id(p) not in moved]

    def step(self, step: int) -> dict[str, Any]:
        """One optimiser step on frames drawn at random."""
        self.world.announce(step, self.clock.share)
        config = self.config
        if self.teacher.pseudo_labels is None or self._renewed(step):
            self.teacher.refresh(step, self.on_preparing, self.on_note)
        values = self._health(step)
        drawn = self.drawn.take(step, self.batch_size)
        if not self._renewed(step + 1):  # what is drawn then is not known yet
            self.drawn.start(step + 1, self.batch_size)
        rate = learning_rate(step, config, self.clock.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms, total, labelled = self._losses(drawn, step)
        ok = finite_step(self.optimizer, self.parameters, total, config.clip, whole=True)
        if self.refiner is not None:
            noise = step_generator(self.seed, step, self.world.rank, stream=2, device=self.device)
            learned, fine = self.refiner.step(labelled, rate, noise)
            terms, ok = terms | learned, ok & fine
        self.teacher.follow(step)
        self._step = step + 1
        values |= {f"loss/{name}": value for name, value in terms.items()}
        return values | {"loss/total": total.detach(), "lr": rate, SKIPPED: ~ok}

    def _renewed(self, step: int) -> bool:
        """Whether the pseudo-labels that there are give way to new ones at a step."""
        every = self.config.refresh_every
        return every > 0 and step > 0 and step % every == 0

    def draw(self, step: int, size: int) -> Drawn:
        """What a step looks at, of so many frames."""
        return Drawn.of(self.teacher, self.seed, self.world.rank, step, size)

    def _losses(
        self, drawn: Drawn, step: int
    ) -> tuple[dict[str, Tensor], Tensor, list[LabelledBatch]]:
        config, sensor, pseudo_labels = self.config, drawn.sensor, drawn.pseudo_labels
        detections = pseudo_labels.detections
        pulled = config.pseudo and config.pseudo_weight > 0
        asked = (drawn.box, detections.image_index, detections.object_index)
        labelled, weights = self._labelled(drawn, step)
        # a third of a step, and with label losses alone nothing looks at these poses
        student, extra, total = self.student(
            drawn.images, sensor.K, asked if pulled or config.self_weight > 0 else None, labelled,
            drawn.noise,
        )  # fmt: skip
        scalars: dict[str, Tensor] = {}
        selected = pseudo_labels.selected.float()
        if student is not None and config.self_weight > 0:
            terms = self._compare(
                sensor, detections, student, float(torch.rand((), generator=drawn.generator))
            )
            # far from the truth L_self points anywhere
            heard = selected if len(drawn.selected) else torch.ones_like(selected)
            terms = {k: (v * heard).sum() / heard.sum() for k, v in terms.items()}
            scalars |= {name: value.detach() for name, value in terms.items()}
            scalars["self"] = scalars.pop("total")
            total = total + config.self_weight * terms["total"]
        if student is not None and pulled:
            index = detections.object_index
            points, symmetries = self.objects.points[index], self.objects.symmetries[index]
            distance = pose_loss(
                student.R, student.t, pseudo_labels.R, pseudo_labels.t, points, symmetries
            )
            pull = (distance * selected).sum() / selected.sum().clamp_min(1)
            scalars["pseudo"], scalars["selected"] = pull.detach(), selected.mean()
            total = total + config.pseudo_weight * pull
        for (name, weight), loss in zip(weights, extra, strict=True):
            scalars[name] = loss.detach()
            total = total + weight * loss
        return scalars, total, [batch for batch, _ in labelled]

    def _labelled(
        self, drawn: Drawn, step: int
    ) -> tuple[list[tuple[LabelledBatch, Tensor | None]], list[tuple[str, float]]]:
        """Batches with labels: selected poses in the frames at hand, and synthetic images."""
        config = self.config
        batches: list[tuple[LabelledBatch, Tensor | None]] = []
        weights: list[tuple[str, float]] = []
        if drawn.labelled is not None:
            batches.append(drawn.labelled)
            weights.append(("labels", config.label_weight))
        if self.scenes is not None and config.synthetic > 0:
            batches.append((self.scenes.take(step, config.synthetic_batch), None))
            self.scenes.start(step + 1, config.synthetic_batch)
            weights.append(("synthetic", config.synthetic))
        return batches, weights

    def _compare(
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

    def _health(self, step: int) -> dict[str, Any]:
        if self.world.rank or step % self.config.health_every:
            return {}
        values = self.teacher.health(step)
        self.monitor.start = self.monitor.start or values
        gap_m = values.get("depth_gap_m", math.nan)
        self.stop_reason = self.monitor.check(values["trust"], step, gap_m)
        told = {f"self/{name}": value for name, value in self.teacher.compared.items()}
        told |= {f"health/{name}": value for name, value in values.items()}
        return told | {"health/strikes": float(self.monitor.low)}

    def score(self) -> float | None:
        """Trust of the teacher's poses; None, no candidate for the best checkpoint, where it fell
        or poses are worse than at the start.

        Differences of trust say nothing about recall as long as neither holds (docs/results.md), so
        the averaged weights of the newest candidate are taken, see `newest_is_best`.
        """
        self.on_preparing("judging the network on frames", 0, 1)
        health = self.teacher.health(self._step)
        fell = self.monitor.fallen(health["trust"], health.get("depth_gap_m", math.nan))
        fell = fell or self.monitor.worse(health)
        if fell:
            self.on_note("warning", f"{fell}: step {self._step} is not taken as the best")
        return None if fell else health["trust"]

    def previews(self, step: int) -> list[Preview]:
        """The teacher's poses on up to three probe frames."""
        probes = self.teacher.probes
        chosen = sorted({probes[0], probes[len(probes) // 2], probes[-1]})
        detections = self.teacher.detect(chosen)
        return frame_previews(step, self.store, chosen, detections, self.models)

    def state_dict(self) -> dict[str, Any]:
        """The teacher's weights under "network", to be used; the rest is for going on."""
        camera = {"K": self.store.camera.K.tolist(), "size": list(self.store.camera.size)}
        return checkpoint.pack(
            {
                "network": self.teacher.network.state_dict(),
                "trained": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "teacher": self.teacher.state(),
                "monitor": self.monitor.state(),
                "network_config": asdict(self.network.config),
                "object_ids": list(self.network.object_ids),
                "camera": camera,
                "batch_size": self.batch_size,
                "max_objects": self.config.max_objects,
                "pseudo_chunk": self.config.pseudo_chunk,
                "step": self._step,
                "refiner": self.refiner and self.refiner.state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from a state of `state_dict`."""
        tree = checkpoint.unpack(state)
        self.teacher.network.load_state_dict(tree["network"])
        self.network.load_state_dict(tree["trained"])
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])
        self.teacher.load(tree["teacher"])
        self.monitor.load(tree["monitor"])
        if self.refiner is not None and tree.get("refiner"):
            self.refiner.load(tree["refiner"])
        self.stop_reason = self.monitor.reason
        self.batch_size, self._step = tree["batch_size"], tree["step"]
        # halved with the batch; checkpoints of earlier versions do not say
        self.config.max_objects = tree.get("max_objects", self.config.max_objects)
        self.config.pseudo_chunk = tree.get("pseudo_chunk", self.config.pseudo_chunk)

    def result(self) -> dict[str, Any]:
        """Label-free health at the end, and what `adapt.still` placed."""
        health = self.teacher.health(self._step)
        self.on_note(*self.monitor.told(health, self._step))
        placed = {"still": self.teacher.placed} if self.teacher.placed else {}
        return {"frames": len(self.store), **health, **placed}

    def set_live(self, values: dict[str, float]) -> None:
        """Change "adapt.lr", "adapt.clip", a weight of [adapt] or a term's weight "loss.mask"."""
        for key, value in values.items():
            section, _, name = key.partition(".")
            if section == "loss" and name in TERMS:
                if self.objective.weights[name] == 0 and value > 0 and name == "perceptual":
                    raise InputError("loss.perceptual was off at the start and cannot be added")
                self.teacher.set_weight(name, value)
            elif section == "adapt" and (name in ("lr", "clip", "synthetic") or "weight" in name):
                if not hasattr(self.config, name):
                    raise InputError(f"there is no {key} to change")
                setattr(self.config, name, value)

    def deaf_to(self, name: str) -> str:
        section, _, term = name.partition(".")
        if section != "loss" or term not in TERMS:
            return ""
        config, every = self.config, self.config.refresh_every
        again = every and math.ceil(self._step / every) * every < self.total_steps
        every = every if again or self.teacher.pseudo_labels is None else 0
        names = ("self_weight", "pseudo", "pseudo_colour")
        return deaf(term, refresh_every=every, **{name: getattr(config, name) for name in names})

    def halve_batch(self) -> bool:
        """Half as many frames a step from now on; not under torchrun, where ranks must agree."""
        if self.batch_size < 2 or self.world.size > 1:
            return False
        self.batch_size //= 2
        self.config.max_objects = max(1, self.config.max_objects // 2)
        self.config.pseudo_chunk = max(4, self.config.pseudo_chunk // 2)
        return True
