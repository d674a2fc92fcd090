"""The RGB refiner adapted beside the network, on the selected poses of real frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from self6d.cuda_graph import capture
from self6d.datasets.splits import spread_evenly
from self6d.engine.averaging import SETTLED, MovingAverage
from self6d.engine.distributed import World
from self6d.engine.finite import finite_update
from self6d.engine.learning import Learning, add_gradients, arithmetic
from self6d.engine.optimizer import AdamW
from self6d.engine.task import Noted, noted_by_nobody
from self6d.events import counted
from self6d.network import PoseNetwork
from self6d.network.objects import ObjectTable
from self6d.network.outputs import Detections
from self6d.refinement.regions import ModelBoxes
from self6d.refinement.rgb.learning import RefinedObjects, refiner_losses
from self6d.refinement.rgb.look import position_of
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.runs import checkpoint
from self6d.scene.batch import FrameBatch, LabelledBatch
from self6d.stage2.config import AdaptConfig

WRONG = 0.05  # log-distance
FEWEST = 20
JUDGED = 32
"""Frames it is judged on, spread evenly."""
ASIDE, UNTIL = 0.1, 0.75
"""Share of the frames that nothing is learned from before that share of a run, so that `weigh` sees
errors of frames not known by heart."""


def kept_aside(frames: Sequence[int], known: Sequence[int]) -> list[int]:
    """Frames to keep aside, spread evenly over all `frames`.

    Args:
        known: of every known pose the number of its frame.

    Returns:
        none where they would hold too few poses to weigh by.
    """
    aside = [frames[i] for i in spread_evenly(len(frames), round(ASIDE * len(frames)))]
    chosen = set(aside)
    return aside if sum(frame in chosen for frame in known) >= 2 * FEWEST else []


class RefinerLearning:
    """Trains a copy of a refiner's network; the refiner itself follows as its average.

    Batch norms keep the statistics of the synthetic training.

    Args:
        looker: the refiner; its network becomes the average.
        table: points and symmetries of its objects.
        adapt: the task's own; `refiner_lr` follows the schedule of `lr`.
        instances: an image gives to a step at most; None: as the refiner was trained.

    Attributes:
        weighed: whether `share` was set by known poses.
    """

    def __init__(
        self, looker: RgbRefiner, table: ObjectTable, world: World, adapt: AdaptConfig, *,
        instances: int | None = None,
    ) -> None:  # fmt: skip
        self.looker, self.world, self.adapt, self.clip = looker, world, adapt, adapt.clip
        config = looker.network.config
        most = config.instances if instances is None else min(instances, config.instances)
        self.config = replace(config, instances=most)
        self.weighed = False
        self.network: RefinerNetwork = deepcopy(looker.network).eval().requires_grad_(True)
        self.average = MovingAverage(self.network, adapt.ema)
        looker.network = self.average.network
        self.objects = RefinedObjects(looker.packed, looker.diameter, table, looker.outputs)
        self.parameters = list(self.network.parameters())
        self.optimizer = AdamW(self.parameters, weight_decay=0.0, fused=True)
        device = looker.device
        self._learning = Learning[LabelledBatch](
            self._losses, self.parameters, device, capture if device.type == "cuda" else None
        )

    def step(
        self, batches: Sequence[LabelledBatch], rate: float, seed: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Learn from labelled images once.

        Args:
            batches: their losses are added; with none, under torchrun, only other ranks learn.
            rate: the pose network's learning rate in this step. seed: of what is drawn.

        Returns:
            the loss as "refiner", 0-dim; and whether the step was made, 0-dim bool.
        """
        total = torch.zeros((), device=self.looker.device)
        # without a batch each gradient is zero, as the other ranks' average needs it
        sums = [None if batches else torch.zeros_like(p) for p in self.parameters]
        for i, batch in enumerate(batches):
            total = total + self._learning(batch, seed + i)["total"]
            add_gradients(self.parameters, sums)
            sums = [p.grad for p in self.parameters]
            if i + 1 < len(batches):  # a graph writes over its own
                sums = [None if g is None else g.clone() for g in sums]
        for parameter, gradient in zip(self.parameters, sums, strict=True):
            parameter.grad = gradient
        share = rate / self.adapt.lr if self.adapt.lr > 0 else 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.adapt.refiner_lr * share
        self.world.average([total, *(p.grad for p in self.parameters if p.grad is not None)])
        ok = finite_update(self.optimizer, self.parameters, total, self.clip)
        self.average.update(SETTLED)
        return {"refiner": total}, ok

    def _losses(self, batch: LabelledBatch, generator: torch.Generator) -> dict[str, Tensor]:
        with arithmetic(self.adapt.amp, self.looker.device):
            return refiner_losses(self.network, batch, self.objects, self.config, generator)

    @property
    def share(self) -> float:
        """See `RefinerConfig.share`; 1 until it is set."""
        return self.average.network.config.share

    @share.setter
    def share(self, share: float) -> None:
        self.average.network.config = replace(self.average.network.config, share=share)

    @torch.no_grad()
    def distances(
        self, sensor: FrameBatch, found: Detections, pose: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """How far detections and what the averaged refiner makes of them are too far, in logarithms
        of the distance: (N,) and (N,).

        Args:
            pose: R (N, 3, 3) and t (N, 3), metres, where the N detections really are.
        """
        index = found.object_index
        after = self.looker.refine(
            sensor.images, sensor.K, found.image_index, index, found.R, found.t
        )
        centre = ModelBoxes.of(self.looker.packed).centre[index]
        z, of_network, of_looks = (
            position_of(R, t, centre)[:, 2].clamp_min(1e-3).log()
            for R, t in (pose, (found.R, found.t), (after.R, after.t))
        )
        return of_network - z, of_looks - z

    @torch.no_grad()
    def weigh(
        self, network: PoseNetwork, known: Iterable[tuple[FrameBatch, Tensor, Tensor, Tensor]],
        note: Noted = noted_by_nobody,
    ) -> None:  # fmt: skip
        """Set `share`, once, by poses known of some objects, of those that network and refiner both
        find.

        Args:
            network: the one it learned beside, asked with `adapt.detection_score`.
            known: of single frames: sensor; object_index (N,) int64; R (N, 3, 3); t (N, 3), metres.
            note: hears what it was judged by.
        """
        if self.weighed:
            return
        off, score = [], self.adapt.detection_score
        for sensor, objects, R, t in known:
            found = network.predict(sensor.images, sensor.K, score_threshold=score, instances=1)
            same = found.object_index[:, None] == objects
            # of several instances nothing tells which one was found
            row, place = (same & (same.sum(1, keepdim=True) == 1)).nonzero(as_tuple=True)
            off.append(self.distances(sensor, found[row], (R[place], t[place])))
        if off:
            of_network, of_looks = (torch.cat(part) for part in zip(*off, strict=True))
            self.share = least_squares_share(of_network, of_looks)
            self.weighed = True
            note("info", judged_in_words(self.share, len(off), of_network, of_looks))

    def moved(
        self, sensor: FrameBatch, image: Tensor, index: Tensor, pose: tuple[Tensor, Tensor]
    ) -> Tensor:
        """How far the averaged refiner moves poses that it should leave, by as much of the distance
        as counts at prediction: (N,), diameters.

        Args:
            image, index: (N,) int64, of the frame and of the object. pose: R (N, 3, 3) and t
                (N, 3), metres.
        """
        after = self.looker.refine(sensor.images, sensor.K, image, index, *pose)
        t = self.looker.at_shared_distance(index, pose, (after.R, after.t))
        centre = ModelBoxes.of(self.looker.packed).centre[index]
        way = position_of(after.R, t, centre) - position_of(*pose, centre)
        return way.norm(dim=1) / self.looker.diameter[index]

    def state(self) -> dict[str, Any]:
        """For `checkpoint.pack`: the averaged weights under "network", see `load_refiner`."""
        return {
            "config": asdict(self.average.network.config),
            "object_ids": self.looker.object_ids,
            "weighed": self.weighed,
            "network": self.average.network.state_dict(),
            "trained": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, tree: dict[str, Any]) -> None:
        """Go on from the unpacked `state`."""
        self.share, self.weighed = tree["config"].get("share", 1.0), tree.get("weighed", False)
        self.average.network.load_state_dict(tree["network"])
        self.network.load_state_dict(tree["trained"])
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])


def least_squares_share(of_network: Tensor, of_looks: Tensor) -> float:
    """The share s that makes s of_looks + (1 - s) of_network least in the mean square.

    Args:
        of_network, of_looks: (N,), errors of log-distances. Those of poses that are wrong
            altogether, more than `WRONG` off, say nothing of it.

    Returns:
        in [0, 1]; 1 where fewer than `FEWEST` are left or both are the same.
    """
    right = _sound(of_network, of_looks)
    a, b = of_network[right].double(), of_looks[right].double()
    apart = (a - b).square().sum()
    if len(a) < FEWEST or apart == 0:
        return 1.0
    return float((a * (a - b)).sum().div(apart).clamp(0, 1))


def judged_in_words(share: float, frames: int, of_network: Tensor, of_looks: Tensor) -> str:
    """What a refiner's share of the distance was set by.

    Args:
        frames: that were looked at. of_network, of_looks: as `least_squares_share`.
    """
    sound = int(_sound(of_network, of_looks).sum())
    by = f"{counted(sound, 'sound pose', 'sound poses')} in {counted(frames, 'frame', 'frames')}"
    if sound < FEWEST:
        return (
            f"only {by} to judge the refiner's distances by, {FEWEST} are needed: they count alone"
        )
    return f"by {by} the refiner's distances count {share:.0%}, the network's the rest"


def _sound(of_network: Tensor, of_looks: Tensor) -> Tensor:
    """(N,) bool, of poses that are not wrong altogether."""
    return (of_network.abs() < WRONG) & (of_looks.abs() < WRONG)
