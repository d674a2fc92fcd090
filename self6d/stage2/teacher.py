"""The teacher of stage 2: an average of the student that looks at clean frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.datasets.splits import spread_evenly
from self6d.engine.averaging import SETTLED, MovingAverage
from self6d.engine.task import Noted, noted_by_nobody
from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.losses.objective import SelfSupervision
from self6d.losses.terms import NOT_WITHOUT_COLOUR
from self6d.network import PoseNetwork
from self6d.network.outputs import Detections
from self6d.refinement.captured import KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.health import depth_gaps, judge_poses
from self6d.refinement.refine import observe_detections, refine_detections
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.rng import mixed_seed
from self6d.scene.batch import FrameBatch
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.looks import better_starts, look_at, sound_looks
from self6d.stage2.pseudo_labels import PseudoLabels, detect, select_poses, sound_poses, update
from self6d.stage2.refiner_learning import kept_aside
from self6d.stage2.still.carry import Carried, carry
from self6d.stage2.still.settle import Settled, settle
from self6d.tracking.still.arrangement import Thing
from self6d.workers import in_order

FRAMES_AT_ONCE = 8  # held as float images while poses are refined
MOST_AT_ONCE = 64  # on a GPU, where few poses take as long as a chunk of them
NONE_SELECTED = {
    True: "no refined pose passed its checks: L_self is heard from every detection",
    False: "no refined pose passed its checks: nothing in the frames is learned from",
}
SOLVED = "the camera's way is known nowhere; the poses of all frames are solved together"


class Teacher:
    """Where objects are, which pixels show them and, if asked, their refined poses.

    Args:
        network: the student; the teacher starts as its copy.
        store: the frames. models: packed, in the order of `object_index`.
        objective: L_self. config, optimize: configurations. seed: decides the refinement's starts.
        looker: moves poses on colours before they are refined; None: nothing does.
        things: geometry of the objects, for `adapt.still`.

    Attributes:
        network: the averaged weights, the ones exported.
        pseudo_labels: of all frames; None before the first `refresh`.
        settled: (N,) bool, those whose pose `adapt.still` solved; else None.
        placed: what it did the last time, one line for people; else empty.
        compared: where L_self itself is off, each of its terms (unweighted) and their weighted
            "total" at the newest health check, means over the detections; else empty.
    """

    def __init__(
        self,
        network: PoseNetwork,
        store: FrameStore,
        models: PackedModels,
        objective: SelfSupervision,
        config: AdaptConfig,
        optimize: OptimizeConfig,
        seed: int,
        looker: RgbRefiner | None = None,
        things: Sequence[Thing] = (),
    ) -> None:
        self.average = MovingAverage(network, config.ema)
        self.store, self.models, self.objective = store, models, objective
        self.config, self.optimize, self.seed = config, optimize, seed
        self.objects = self.network.objects
        self.refiner = objective
        if not config.pseudo_colour:
            light = replace(objective.config, ms_ssim=0.0, perceptual=0.0)
            self.refiner = SelfSupervision(light, store.device)
        count = min(config.health_frames, len(store))
        self.probes = spread_evenly(len(store), count)
        self.looker, self.things = looker, things
        self.settled: Tensor | None = None
        self.placed = ""
        self._single: PseudoLabels | None = None  # as single frames have them, before `settle`
        self.pseudo_labels: PseudoLabels | None = None
        self.compared: dict[str, float] = {}
        self.expected: int | None = None
        # partial refreshes take frames in turn, each time spread over the recording
        self._order: list[int] = np.random.default_rng(seed).permutation(len(store)).tolist()
        self._turn = 0
        self._judged: tuple[int, dict[str, float]] | None = None
        self._on_host: tuple[PseudoLabels, Tensor, Tensor, list[int]] | None = None

    @property
    def network(self) -> PoseNetwork:
        """The averaged network, in evaluation mode."""
        return self.average.network

    def set_weight(self, term: str, weight: float) -> None:
        """Change a term's weight in L_self and in the refinement of poses."""
        self.objective.set_weight(term, weight)
        if self.refiner is not self.objective and term not in NOT_WITHOUT_COLOUR:
            self.refiner.set_weight(term, weight)

    def follow(self, step: int) -> None:
        """Move the average towards the student's weights."""
        self.average.update(step + SETTLED)

    def detect(self, frames: Sequence[int]) -> Detections:
        """What the network finds in frames; `image_index` is the frame's number."""
        return detect(self.network, self.store, frames, self.config.detection_score)

    def refresh(
        self, step: int, tell: Told = told_to_nobody, note: Noted = noted_by_nobody
    ) -> None:
        """Look at frames again, all or the next in turn, and refine the poses found.

        Args:
            tell: hears what is done, how many frames of it, and of how many.
            note: hears what `adapt.still` placed, and if no pose is selected.

        Raises:
            InputError: no object is found in any frame at the start.
        """
        config, total = self.config, len(self.store)
        count = config.refresh_frames
        chosen = list(range(total))
        if 0 < count < total:
            chosen = sorted(self._order[(self._turn + i) % total] for i in range(count))
            self._turn = (self._turn + count) % total
        frames = list(range(total)) if self.pseudo_labels is None else chosen
        tell("looking at the frames", 0, len(frames))
        detections = self.detect(frames)
        if self.pseudo_labels is None and len(detections) == 0:
            raise InputError(
                "the network finds none of its objects in the frames",
                remedy="Check with `self6d-studio predict`, or lower adapt.detection_score.",
            )
        fresh = PseudoLabels.of(detections)
        if config.pseudo:
            fresh = self._refined(fresh, chosen, step, tell)
        before = self._single if config.still else self.pseudo_labels
        labels = fresh if before is None else update(before, fresh, frames)
        if config.still:
            tell("solving all frames together", 0, 1)
            self._single = labels
            labels = self._settle(labels, note)
        self.pseudo_labels = labels
        if config.pseudo:
            symmetries = self.objects.symmetries
            select_poses(self.pseudo_labels, self.store.keys, symmetries, config.keep_share)
            if not self.pseudo_labels.selected.any():
                note("warning", NONE_SELECTED[config.self_weight > 0])

    def _settle(self, labels: PseudoLabels, note: Noted) -> PseudoLabels:
        """Poses of different frames brought together, by the camera's own way if it is known."""
        ids = self.network.object_ids
        placed: Carried | Settled | None = None
        if self.store.has_depth:
            placed = carry(labels, self.things, self.store, self.models)
            if placed is None:
                note("info", f"adapt.still: {SOLVED}")
        if placed is None:
            placed = settle(labels, self.things, self.store, self.models, self.config.keep_iou)
        self.settled, self.placed = placed.moved, placed.told(ids)
        learned = (int(x.sound.sum()) for x in (labels, placed.labels))
        self.placed += "; poses sound enough to learn from: {} before, {} now".format(*learned)
        note("info" if bool(placed.moved.any()) else "warning", f"adapt.still: {self.placed}")
        return placed.labels

    def _refined(
        self, pseudo_labels: PseudoLabels, frames: Sequence[int], step: int, tell: Told
    ) -> PseudoLabels:
        """The same with the poses in some of the frames refined."""
        config, detections = self.config, pseudo_labels.detections
        quick = replace(self.optimize, steps=config.pseudo_steps, region=config.pseudo_region)
        asked = torch.isin(
            detections.image_index, torch.tensor(list(frames), device=detections.image_index.device)
        )
        parts = [pseudo_labels[(~asked).nonzero()[:, 0]]]
        at_once = self._frames_at_once(detections.image_index[asked])
        groups = _by_frames(detections.image_index, asked, at_once)
        kept = KeptOptimisers()  # no longer than this: training needs its memory
        # a third of a group's time is one thread's alone: two threads take a group each
        threads = 2 if self.store.device.type == "cpu" and torch.get_num_threads() > 1 else 1
        refine = partial(self._moved, detections, step, quick, kept)
        moved = in_order(refine, groups, threads, ahead=3) if threads > 1 else map(refine, groups)
        for place, part in enumerate(moved):
            tell("refining poses in frames", place * at_once, len(groups) * at_once)
            parts.append(part)
        return PseudoLabels.cat(parts).sorted()

    def _frames_at_once(self, image_index: Tensor) -> int:
        """How many frames are refined together; on a GPU as many as fill a chunk of starts."""
        if self.store.device.type != "cuda" or not len(image_index):
            return FRAMES_AT_ONCE
        detections = self.config.pseudo_chunk / self.optimize.starts_each
        frames = detections * len(image_index.unique()) / len(image_index)
        return max(1, min(round(frames), MOST_AT_ONCE))

    def _moved(
        self,
        detections: Detections,
        step: int,
        quick: OptimizeConfig,
        kept: KeptOptimisers,
        rows: Tensor,
    ) -> PseudoLabels:
        """Detections `rows` (N,) int64 with their poses refined."""
        config = self.config
        sensor, part = self.sensor_of(detections[rows])
        if self.looker is not None:
            looked = look_at(sensor, part, self.looker, self.models, self.refiner, quick)
            if not self.store.has_depth:
                sound = sound_looks(looked, config)
                return PseudoLabels(
                    detections[rows], looked.R, looked.t, looked.confidence, sound, sound.clone()
                )
            part = better_starts(part, looked)
        refined = refine_detections(
            sensor,
            part,
            self.models,
            self.objects,
            self.refiner,
            quick,
            seed=mixed_seed(self.seed, step, int(rows[0])) % 2**31,
            chunk=config.pseudo_chunk,
            kept=kept,
        )
        sound = sound_poses(refined, config, self.store.has_depth)
        trust = refined.health.trust
        moved = replace(detections[rows], R=refined.R, t=refined.t, score=trust)
        sound &= ~self.network.moved_together(moved)
        return PseudoLabels(detections[rows], refined.R, refined.t, trust, sound, sound.clone())

    def sensor_of(
        self, detections: Detections, numbers: Tensor | None = None
    ) -> tuple[FrameBatch, Detections]:
        """The frames of some detections, and the detections numbered by their place among them.

        Args:
            numbers: their `image_index`, on the CPU if it is at hand there: nothing waits then.
        """
        numbers = detections.image_index if numbers is None else numbers
        frames, place = numbers.unique(return_inverse=True)
        place = place.to(detections.image_index.device, non_blocking=True)
        return self.store.batch(frames.tolist()), replace(detections, image_index=place)

    def on_host(self) -> tuple[Tensor, Tensor]:
        """Frame number (N,) int64 and `selected` (N,) bool of all pseudo-labels, on the CPU."""
        return self._once()[1:3]

    def aside(self) -> list[int]:
        """Numbers of the frames that are kept aside for a refiner, see `kept_aside`."""
        return self._once()[3]

    def _once(self) -> tuple[PseudoLabels, Tensor, Tensor, list[int]]:
        """What steps ask of the pseudo-labels there are; the device is waited for once."""
        labels = self.pseudo_labels
        assert labels is not None
        if self._on_host is None or self._on_host[0] is not labels:
            numbers, known = labels.detections.image_index.cpu(), self._known(labels).cpu()
            aside = kept_aside(range(len(self.store)), numbers[known].tolist())
            self._on_host = (labels, numbers, labels.selected.cpu(), aside)
        return self._on_host

    def _known(self, labels: PseudoLabels) -> Tensor:
        """(N,) bool: poses that more than looks speaks for, the selected ones that were refined on
        depth, or solved together."""
        if self.store.has_depth:
            return labels.selected
        return labels.selected & (False if self.settled is None else self.settled)

    def known_poses(
        self, most: int, among: Sequence[int] | None = None
    ) -> Iterator[tuple[FrameBatch, Tensor, Tensor, Tensor]]:
        """Poses that more than looks speaks for, of up to `most` frames spread evenly.

        Args:
            among: numbers of the frames they may be of; None: any.

        Yields:
            of each frame: sensor; object_index (N,) int64; R (N, 3, 3); t (N, 3), metres.
        """
        labels = self.pseudo_labels
        if labels is None:
            return
        known, frames = self._known(labels), labels.detections.image_index
        numbers = frames[known].unique().tolist()
        if among is not None:
            numbers = sorted(set(numbers) & set(among))
        for place in spread_evenly(len(numbers), min(len(numbers), most)):
            here = labels[(known & (frames == numbers[place])).nonzero()[:, 0]]
            sensor = self.store.batch([numbers[place]])
            yield sensor, here.detections.object_index, here.R, here.t

    def complete(self, labels: PseudoLabels) -> Tensor:
        """(N,) bool: all instances of its object found in its frame are among the N labels."""
        assert self.pseudo_labels is not None
        here = (labels.keys[:, None] == labels.keys).sum(1)
        return here == (labels.keys[:, None] == self.pseudo_labels.keys).sum(1)

    @torch.no_grad()
    def health(self, step: int) -> dict[str, float]:
        """Label-free measures of its poses on the probe frames: means over the detections; those of
        depth only where there is some.

        "trust" also counts what is no longer found: it is the sum of all trusts over the number of
        detections at the start of the run (or now, if there are more).
        """
        if self._judged is not None and self._judged[0] == step:
            return self._judged[1]
        detections, self.compared = self.detect(self.probes), {}
        values = {"mask_iou": 0.0, "trust": 0.0, "found": float(len(detections))}
        if self.store.has_depth:
            values["depth_inliers"] = 0.0
        if len(detections):
            sensor, part = self.sensor_of(detections)
            size = self.config.region
            target = observe_detections(
                sensor, part, self.models, self.objective, size, self.config.padding
            )
            view = render(
                part.R, part.t, target.K, self.models, (size, size),
                object_index=part.object_index, soft_mask=self.config.self_weight == 0,
            )  # fmt: skip
            if self.config.self_weight == 0:
                terms = self.objective.compare(target, view)
                self.compared = {name: float(value.mean()) for name, value in terms.items()}
            diameter = self.objects.diameter[part.object_index]
            health = judge_poses(self.objective, target, view, diameter)
            values["mask_iou"] = float(health.mask_iou.mean())
            if self.store.has_depth:
                values["depth_inliers"] = float(health.depth_inliers.nanmean().nan_to_num(0.0))
            values["trust"] = float(health.trust.sum())
            gap = float(depth_gaps(target, view).nanmedian())
            values |= {"depth_gap_m": gap} if math.isfinite(gap) else {}
        if self.expected is None:
            self.expected = max(1, len(detections))
        values["trust"] /= max(self.expected, len(detections))
        if self.pseudo_labels is not None and self.config.pseudo:
            values["selected"] = float(self.pseudo_labels.selected.float().mean())
        if self.settled is not None:
            values["settled"] = float(self.settled.float().mean())
        self._judged = (step, values)
        return values

    def state(self) -> dict[str, Any]:
        """All but the network, for `checkpoint.pack`."""
        again = self._single if self.config.refresh_every else None
        pseudo_labels, single = (
            None if labels is None else labels.state() for labels in (self.pseudo_labels, again)
        )
        return {
            "pseudo_labels": pseudo_labels, "expected": self.expected, "turn": self._turn,
            "single": single, "settled": self.settled, "placed": self.placed,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.pseudo_labels, self._single = (
            PseudoLabels.from_state(state[name], self.store.device) if state.get(name) else None
            for name in ("pseudo_labels", "single")
        )
        self.expected, self._turn, self._judged = state["expected"], state["turn"], None
        settled, self.placed = state.get("settled"), state.get("placed", "")
        self.settled = None if settled is None else settled.to(self.store.device)


def _by_frames(image_index: Tensor, asked: Tensor, at_once: int) -> list[Tensor]:
    """Rows that are asked for, grouped so that each group holds the images of so many frames."""
    numbers = image_index[asked].unique()
    return [
        torch.isin(image_index, numbers[first : first + at_once]).nonzero()[:, 0]
        for first in range(0, len(numbers), at_once)
    ]
