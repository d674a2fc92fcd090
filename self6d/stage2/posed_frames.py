"""Training on real frames whose poses are given, varied and mixed with synthetic images.

Whoever gives the poses says where they are from: `track_task` (a tracker's estimates) or
`upper_bound` (labels, for comparison only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import capture
from self6d.datasets import UnlabelledFrames
from self6d.engine.ahead import Ahead
from self6d.engine.averaging import SETTLED, MovingAverage
from self6d.engine.clock import Clock
from self6d.engine.finite import SKIPPED, finite_update
from self6d.engine.learning import Learning, add_gradients, arithmetic
from self6d.engine.optimizer import AdamW
from self6d.engine.schedule import learning_rate
from self6d.engine.task import noted_by_nobody
from self6d.events import Preview, Told, told_to_nobody
from self6d.geometry import Pose
from self6d.network import PoseNetwork
from self6d.rendering import pack_models
from self6d.rng import mixed_seed, step_generator
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_augmentation import turned_objects, varied_batch
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.preview import frame_previews
from self6d.stage2.pseudo_labels import detect
from self6d.stage2.refiner_learning import RefinerLearning
from self6d.synthesis import SceneMaker, SynthesisConfig, augment

LOSS_STREAM, REFINER_STREAM = 2, 3  # random numbers of the losses, and of the refiner's
TURNED = 0.7
"""Share of the frames of a step whose objects are turned (`adapt.turn_deg`)."""


@dataclass(frozen=True)
class PosedObject:
    """An object in a frame: its place among the network's objects, and its pose."""

    object_index: int
    pose: Pose


class PosedFrames:
    """Frames whose poses are given, as labelled batches, each time varied anew.

    Args:
        frames: the recording. models: in the order of `PosedObject.object_index`.
        poses: number of a frame -> the objects posed in it; those without any are not drawn.
        adapt: camera and photometric augmentation, occluders, image height, memory.
        complete: every instance of every object is posed wherever one is; else nothing is said
            of the objects that a frame has no pose of.
    """

    def __init__(
        self,
        frames: UnlabelledFrames,
        models: Sequence[ObjectModel],
        poses: Mapping[int, Sequence[PosedObject]],
        adapt: AdaptConfig,
        device: torch.device,
        *,
        complete: bool,
        tell: Told = told_to_nobody,
    ) -> None:
        self.config, self.device, self.complete = adapt, device, complete
        self.store = FrameStore(
            frames,
            device,
            use_depth=adapt.use_depth,
            height=adapt.image_height,
            budget_mb=adapt.cache_mb,
            tell=tell,
        )
        self.poses = {number: list(found) for number, found in poses.items() if found}
        self.models = pack_models(models, device)

    def draw(
        self,
        count: int,
        generator: torch.Generator,
        noise: torch.Generator,
        *,
        turn: bool = True,
    ) -> tuple[LabelledBatch, Tensor | None]:
        """`count` frames, of fewer each several times, and (B, M) bool: what it says all about.

        Args:
            generator: on the CPU, draws frames and colours. noise: on the device, the rest.
            turn: whether objects are turned in some of them.
        """
        frames = sorted(self.poses)
        order = torch.randperm(len(frames), generator=generator)
        chosen = order.repeat(-(-count // len(frames)))[:count]
        numbers = [frames[i] for i in chosen.tolist()]
        batch, known = self.labelled(numbers, noise, turn=turn)
        return replace(batch, images=augment(batch.images, generator, self.config.augment)), known

    def counts(self) -> dict[str, int]:
        """How many frames and poses there are to learn from."""
        poses = sum(len(found) for found in self.poses.values())
        return {"frames": len(self.poses), "poses": poses}

    def labelled(
        self, frames: list[int], noise: torch.Generator, *, turn: bool = True
    ) -> tuple[LabelledBatch, Tensor | None]:
        """Frames by their numbers, varied, and what they say all about, as `draw`."""
        sensor, index, objects, given = self.given(frames)
        turned = round(TURNED * len(frames)) if turn and self.config.turn_deg > 0 else 0
        if turned:
            sensor, given = self._turned(sensor, given, index, objects, turned, noise)
        batch = varied_batch(sensor, self.models, given, index, objects, self.config, noise)
        if self.complete:
            return batch, None
        known = torch.zeros(len(frames), len(self.models.object_ids), device=self.device).bool()
        known[index, objects] = True
        return batch, known

    def given(self, frames: list[int]) -> tuple[FrameBatch, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Frames as they are, and their poses: place of the frame (N,), of the object (N,), both
        int64, R (N, 3, 3) and t (N, 3), metres."""
        rows = [(i, posed) for i, frame in enumerate(frames) for posed in self.poses[frame]]
        R = np.stack([posed.pose.R_m2c for _, posed in rows]).astype(np.float32)
        t = np.stack([posed.pose.t_m2c for _, posed in rows]).astype(np.float32)
        index = torch.tensor([i for i, _ in rows], device=self.device)
        objects = torch.tensor([posed.object_index for _, posed in rows], device=self.device)
        poses = torch.tensor(R, device=self.device), torch.tensor(t, device=self.device)
        return self.store.batch(frames), index, objects, poses

    def _turned(
        self,
        sensor: FrameBatch,
        poses: tuple[Tensor, Tensor],
        index: Tensor,
        objects: Tensor,
        count: int,
        noise: torch.Generator,
    ) -> tuple[FrameBatch, tuple[Tensor, Tensor]]:
        """The first `count` frames with their objects turned, and the rest as they are."""
        n = int((index < count).sum())  # rows are in the order of frames
        depth = sensor.depth_m
        first = FrameBatch(
            sensor.images[:count], None if depth is None else depth[:count], sensor.K[:count]
        )
        made, (R, t) = turned_objects(
            first, self.models, (poses[0][:n], poses[1][:n]), index[:n], objects[:n],
            self.config.turn_deg, noise,
        )  # fmt: skip
        if depth is not None and made.depth_m is not None:
            depth = torch.cat((made.depth_m, depth[count:]))
        whole = FrameBatch(torch.cat((made.images, sensor.images[count:])), depth, sensor.K)
        return whole, (torch.cat((R, poses[0][n:])), torch.cat((t, poses[1][n:])))


def views_of(poses: Mapping[int, Sequence[PosedObject]], objects: int) -> list[list[Pose]]:
    """The poses of each of the objects in all frames, as `SceneMaker` takes them."""
    return [
        [p.pose for found in poses.values() for p in found if p.object_index == i]
        for i in range(objects)
    ]


@dataclass(frozen=True)
class _Drawn:
    """What a step learns from."""

    frames: LabelledBatch
    known: Tensor | None
    scenes: LabelledBatch | None


class PosedFramesTask:
    """Fine-tunes a network on frames whose poses are given.

    Args:
        network: trained in stage 1. models: its objects.
        frames: the recording.
        poses: number of a frame -> the objects posed in it; of frames without any nothing is
            learned.
        adapt: steps, batch, learning rate, scope and augmentation are taken from stage 2's
            configuration, and the share of synthetic images.
        synthesis: of the synthetic images.
        complete: see `PosedFrames`.
        seed: decides every draw. device: "cpu", "cuda", ...
        tell: hears how far it is before the first step.

    Attributes:
        refiner: learns from every `adapt.refiner_every`-th step's frames; None: there is none.
        ended: whether the last step was made, or the time is over.
    """

    name = "posed frames"

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        frames: UnlabelledFrames,
        poses: Mapping[int, Sequence[PosedObject]],
        adapt: AdaptConfig,
        synthesis: SynthesisConfig | None = None,
        *,
        complete: bool,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tell: Told = told_to_nobody,
    ) -> None:
        self.config, self.seed = replace(adapt), seed
        self.total_steps, self.batch_size = adapt.steps, adapt.batch
        self.clock = Clock(adapt.minutes)
        self.device = torch.device(device)
        self.posed = PosedFrames(
            frames, models, poses, self.config, self.device, complete=complete, tell=tell
        )
        self.store = self.posed.store
        self.network = network.to(self.device)
        self.parameters = network.stage2_parameters(adapt.scope)
        self.network.eval()  # batch norms keep the statistics of stage 1
        self.average = MovingAverage(self.network, adapt.ema)
        self.models = self.posed.models
        self.optimizer = AdamW(
            self.parameters,
            lr=adapt.lr,
            weight_decay=adapt.weight_decay,
            fused=True,
        )
        self.refiner: RefinerLearning | None = None
        self.ended, self.on_note = False, noted_by_nobody
        record = capture if self.device.type == "cuda" else None
        self._of_frames, self._of_scenes = (
            Learning[LabelledBatch](self._losses, self.parameters, self.device, record)
            for _ in range(2)
        )
        self._ahead = Ahead(
            self._drawn, adapt.steps, self.device,
            beside=self.store.in_memory,  # readers need not bear another thread
            most=2,
        )  # fmt: skip
        self.maker: SceneMaker | None = None
        if synthesis is not None and adapt.synthetic > 0:
            camera = self.store.camera
            shown = views_of(self.posed.poses, len(models))
            settings = replace(synthesis, height=camera.height)
            self.maker = SceneMaker(models, camera, settings, self.device, views=shown, tell=tell)

    def step(self, step: int) -> dict[str, Any]:
        """One optimiser step on labelled frames drawn at random."""
        drawn = self._ahead.take(step, self.batch_size)
        rate = learning_rate(step, self.config, self.clock.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self._learn(drawn, step)
        ok = finite_update(self.optimizer, self.parameters, terms["total"], self.config.clip)
        self.average.update(step + SETTLED)
        self.ended = step + 1 >= self.total_steps or self.clock.share >= 1
        if self.refiner is not None and step % self.config.refiner_every == 0:
            # of synthetic images too it learned no better, and slower (docs/results.md, `quick`)
            seed = mixed_seed(self.seed, step, REFINER_STREAM)
            learned, fine = self.refiner.step([drawn.frames], rate, seed)
            terms, ok = terms | learned, ok & fine
        values = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return values | {"lr": rate, SKIPPED: ~ok}

    def _learn(self, drawn: _Drawn, step: int) -> dict[str, Tensor]:
        """The losses, detached; their gradients, added, are in the parameters."""
        ahead = partial(self._ahead.start, step + 1, self.batch_size)
        seed, weight = mixed_seed(self.seed, step, LOSS_STREAM), self.config.synthetic
        known = () if drawn.known is None else (drawn.known,)
        terms = self._of_frames(drawn.frames, seed, ahead, *known)
        if drawn.scenes is not None and weight > 0:
            own = [parameter.grad for parameter in self.parameters]
            terms["synthetic"] = self._of_scenes(drawn.scenes, seed)["total"]
            add_gradients(self.parameters, own, weight)
            terms["total"] = terms["total"] + weight * terms["synthetic"]
        return terms

    def _losses(
        self, batch: LabelledBatch, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        with arithmetic(self.config.amp, self.device):
            return self.network.losses(batch, generator, known)

    def _drawn(self, step: int, size: int) -> _Drawn:
        generator = step_generator(self.seed, step)
        noise = step_generator(self.seed, step, stream=1, device=self.device)
        at = max(step / max(self.total_steps, 1), self.clock.share)
        turn = at < self.config.flat
        frames, known = self.posed.draw(size, generator, noise, turn=turn)
        scenes = None
        if self.maker is not None and self.config.synthetic > 0:
            scenes = self.maker.make(self.config.synthetic_batch, mixed_seed(self.seed, 0), step)
        return _Drawn(frames, known, scenes)

    def previews(self, step: int) -> list[Preview]:
        """The averaged network's poses on the first, the middle and the last of the frames."""
        last = len(self.store) - 1
        chosen = sorted({0, last // 2, last})
        detections = detect(self.average.network, self.store, chosen, self.config.detection_score)
        return frame_previews(step, self.store, chosen, detections, self.models)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights under "network", to be used; the rest is for going on."""
        camera = {"K": self.store.camera.K.tolist(), "size": list(self.store.camera.size)}
        return checkpoint.pack(
            {
                "network": self.average.network.state_dict(),
                "trained": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "network_config": asdict(self.network.config),
                "object_ids": list(self.network.object_ids),
                "camera": camera,
                "batch_size": self.batch_size,
                "refiner": self.refiner and self.refiner.state(),
                "ended": self.ended,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        tree = checkpoint.unpack(state)
        self.average.network.load_state_dict(tree["network"])
        self.network.load_state_dict(tree["trained"])
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])
        self.batch_size, self.ended = tree["batch_size"], tree.get("ended", False)
        if self.refiner is not None and tree.get("refiner"):
            self.refiner.load(tree["refiner"])

    def result(self) -> dict[str, Any]:
        """How much there was to learn from."""
        return dict(self.posed.counts())

    def set_live(self, values: dict[str, float]) -> None:
        for name in ("lr", "clip", "synthetic"):
            setattr(self.config, name, values.get(f"adapt.{name}", getattr(self.config, name)))

    def deaf_to(self, name: str) -> str:
        return "it learns from given poses, without L_self" if name.startswith("loss.") else ""

    def halve_batch(self) -> bool:
        if self.batch_size < 2:
            return False
        self.batch_size //= 2
        self._of_frames.forget()
        self._of_scenes.forget()
        return True
