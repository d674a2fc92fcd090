"""Stage 2: adapt a pose network to unlabelled frames by differentiable render-and-compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from self6d.datasets.base import UnlabelledFrames
from self6d.engine import distributed
from self6d.engine.ahead import Ahead
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, finite_step, finite_update
from self6d.engine.halves import Half, Halves
from self6d.engine.learning import arithmetic
from self6d.engine.optimizer import AdamW
from self6d.engine.schedule import learning_rate
from self6d.engine.task import noted_by_nobody
from self6d.errors import InputError
from self6d.events import Preview, Told, told_to_nobody
from self6d.losses.objective import LossConfig, SelfSupervision
from self6d.losses.terms import TERMS, deaf
from self6d.network import PoseNetwork
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import HealthMonitor
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.rendering import pack_models
from self6d.rendering.warm_up import warm_up
from self6d.rng import mixed_seed
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.preview import frame_previews
from self6d.stage2.refiner_learning import JUDGED, UNTIL, RefinerLearning
from self6d.stage2.student import Drawn, Labels, PoseBatch, PoseLosses, RecordedStudent, Student
from self6d.stage2.teacher import Teacher
from self6d.synthesis import SceneMaker, SynthesisConfig
from self6d.tracking.still.arrangement import Thing

__all__ = ["AdaptConfig", "SelfSupTask"]

REFINER_STREAM, LOSS_STREAM = 2, 3  # random numbers of the refiner's losses, and of recorded ones

BY_MASKS = (
    "without depth, distances follow the predicted masks alone, and those of partly hidden objects "
    "can get worse: take the preset self6d-plus-refined, with --still if only the camera moves"
)
NOT_LEARNING = (
    "without depth the RGB refiner does not learn: with --still, where for stretches of frames "
    "nothing but the camera moves, it does"
)


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
        self.network = network.to(self.device)
        self.parameters = self.network.stage2_parameters(config.scope)
        self.network.eval()  # batch norms keep the statistics of stage 1
        scope, shared = config.self_scope, self.world.size > 1
        # whether L_self moves the pose heads alone, or all that is trained
        heads = scope == "heads" or (scope == "auto" and self.network.config.mask_prior)
        self.bare = Student(self.network, heads_alone=heads, shared=shared)
        self.student = self.world.wrap(self.bare)
        self.halves = Halves(self.device)
        self.models = pack_models(models, self.device)
        warm_up(self.models, tell, gradients=config.self_weight > 0 or config.pseudo)
        self.objects = self.network.objects
        self.objective = SelfSupervision(replace(loss or LossConfig()), self.device)
        self.of_poses = PoseLosses(self.models, self.objects, self.objective, config)
        self.recorded: RecordedStudent | None = None
        # under torchrun gradients are exchanged on the way; the published losses copy constants
        if self.device.type == "cuda" and not shared and not self.objective.config.reference:
            self.recorded = RecordedStudent(self.bare, self.of_poses, self.parameters, config)
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
        beside = self.device.type == "cpu"
        self.drawn = Ahead(
            self.draw, config.steps, self.device, beside=beside, thread=self.halves.thread
        )
        self.scenes: Ahead[LabelledBatch] | None = None
        if config.synthetic > 0:
            camera, small = self.store.camera, synthesis or SynthesisConfig()
            small = replace(small.for_instances(network.config.instances), height=camera.height)
            maker = SceneMaker(models, camera, small, self.device, tell=tell)
            self.scenes = Ahead(
                lambda step, size: maker.make(size, mixed_seed(seed, self.world.rank), step),
                config.steps, self.device, beside=beside, thread=self.halves.thread,
            )  # fmt: skip
        self.monitor, self._step = HealthMonitor(config.collapse, config.patience), 0
        self.stop_reason: str | None = None
        self.on_preparing, self.on_note = told_to_nobody, noted_by_nobody

    def _over(self) -> bool:
        """Whether the last step is made."""
        return self.stop_reason is not None or self.clock.done(self._step, self.total_steps) >= 1

    def _refiner_learning(self) -> RefinerLearning | None:
        """Without depth, or frames solved together, it could only learn from its own poses."""
        looker, config = self.teacher.looker, self.config
        if looker is None or config.refiner_lr <= 0:
            return None
        if not (self.store.has_depth or config.still):
            return None
        return RefinerLearning(looker, self.objects, self.world, config)

    def step(self, step: int) -> dict[str, Any]:
        """One optimiser step on frames drawn at random."""
        self.world.announce(step, self.clock.share)
        config = self.config
        if self.teacher.pseudo_labels is None and not self.store.has_depth and not config.still:
            refined = config.refiner and config.pseudo
            self.on_note(*(("info", NOT_LEARNING) if refined else ("warning", BY_MASKS)))
        if self.teacher.pseudo_labels is None or self._renewed(step):
            self.teacher.refresh(step, self.on_preparing, self.on_note)
        values = self._health(step)
        if self.clock.done(step, self.total_steps) >= UNTIL and (aside := self.teacher.aside()):
            self._weigh(aside)
        rate = learning_rate(step, config, self.clock.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.halves.halved():
            drawn = self.drawn.take(step, self.batch_size)
            asked = self.of_poses.asked(drawn)
            other = self._other_half(drawn, asked)
            if not self._renewed(step + 1):  # what is drawn then is not known yet
                self.drawn.start(step + 1, self.batch_size)
            labelled = self._labelled(drawn, step)
            terms = self.of_poses.told(drawn)
            if self.recorded is not None:
                seed = mixed_seed(self.seed, step, LOSS_STREAM)
                losses, total = self.recorded(asked, labelled, seed)
                ok = finite_update(self.optimizer, self.parameters, total, config.clip)
            else:
                losses, total = self._losses(drawn, asked, labelled, whole=other is None)
                ok = finite_step(
                    self.optimizer, self.parameters, total, config.clip, whole=True, other=other
                )
            terms |= losses
            if self.refiner is not None:
                seed = mixed_seed(self.seed, step, self.world.rank, REFINER_STREAM)
                learned, fine = self.refiner.step([x.batch for x in labelled], rate, seed)
                terms, ok = terms | learned, ok & fine
            self.teacher.follow(step)
        total = total.detach()
        if other is not None:
            more = other.result()
            total = total + more.loss
            terms |= {name: terms.get(name, 0.0) + value for name, value in more.terms.items()}
        self._step = step + 1
        values |= {f"loss/{name}": value for name, value in terms.items()}
        return values | {"loss/total": total, "lr": rate, SKIPPED: ~ok}

    def _renewed(self, step: int) -> bool:
        """Whether the pseudo-labels that there are give way to new ones at a step."""
        every = self.config.refresh_every
        return every > 0 and step > 0 and step % every == 0

    def draw(self, step: int, size: int) -> Drawn:
        """What a step looks at, of so many frames."""
        keep = self.refiner is not None and self.clock.done(step, self.total_steps) < UNTIL
        aside = self.teacher.aside() if keep else ()
        return Drawn.of(self.teacher, self.seed, self.world.rank, step, size, aside)

    def _weigh(self, frames: Sequence[int] | None = None) -> None:
        """Set the refiner's share of the distance by poses of frames kept aside, or of any."""
        if self.refiner is not None:
            known = self.teacher.known_poses(JUDGED if frames is None else len(frames), frames)
            self.refiner.weigh(self.teacher.network, known, self.on_note)

    def _losses(
        self, drawn: Drawn, asked: PoseBatch | None, labelled: Sequence[Labels], *, whole: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses to be told, and their weighted sum.

        Args:
            whole: False: those that `_other_half` makes are left out.
        """
        with arithmetic(self.config.amp, self.device):
            poses, extra, total = self.student(
                asked if whole else None, labelled, drawn.noise, found=whole
            )
        scalars: dict[str, Tensor] = {}
        if asked is not None and poses is not None:
            scalars = self.of_poses.of(asked, poses)
            total = total + scalars.pop("total")
        for given, loss in zip(labelled, extra, strict=True):
            scalars[given.name] = loss.detach()
            total = total + given.weight * loss
        return scalars, total

    def _other_half(self, drawn: Drawn, asked: PoseBatch | None) -> Future[Half] | None:
        """The poses' losses and the detector's, begun in another thread on a CPU: as much work as
        what the regions with labels take. None where one call is to make all of them."""
        if self.world.size > 1 or self.network.config.roi_input == "features":
            return None  # the detector's maps are what regions are cut from
        weight = self.config.label_weight

        def losses() -> tuple[dict[str, Tensor], Tensor]:
            scalars, total = dict[str, Tensor](), torch.zeros((), device=self.device)
            if asked is not None:
                scalars = self.of_poses.of(asked, self.bare.poses(asked))
                total = scalars.pop("total")
            if drawn.labelled is not None:
                found, _ = self.network.detector_losses(*drawn.labelled)
                scalars["labels"] = torch.stack(list(found.values())).sum()
                total = total + weight * scalars["labels"]
            return scalars, total

        return self.halves.start(losses, self.parameters)

    def _labelled(self, drawn: Drawn, step: int) -> list[Labels]:
        """Selected poses in the frames at hand, and synthetic images."""
        config, found = self.config, list[Labels]()
        if drawn.labelled is not None:
            found.append(Labels("labels", config.label_weight, *drawn.labelled))
        if self.scenes is not None and config.synthetic > 0:
            scenes = self.scenes.take(step, config.synthetic_batch)
            found.append(Labels("synthetic", config.synthetic, scenes))
            self.scenes.start(step + 1, config.synthetic_batch)
        return found

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
        """The teacher's weights under "network", to be used; the rest is for going on. The last one
        holds the refiner's share of the distance."""
        if self._over():
            self._weigh()
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
        """Label-free health at the end, what `adapt.still` placed, and as "refiner_share" how far
        the distances of a refiner count beside the network's."""
        health = self.teacher.health(self._step)
        self.on_note(*self.monitor.told(health, self._step))
        placed = {"still": self.teacher.placed} if self.teacher.placed else {}
        refiner = self.refiner
        share = {"refiner_share": refiner.share} if refiner and refiner.weighed else {}
        return {"frames": len(self.store), **health, **placed, **share}

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
        if self.recorded is not None and set(values) - {"adapt.lr", "adapt.clip"}:
            self.recorded.forget()

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
        if self.recorded is not None:
            self.recorded.forget()
        return True
