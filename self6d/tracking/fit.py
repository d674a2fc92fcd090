"""One object on one frame: coarse search by points, then the optimiser, then the evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import Recorded
from self6d.geometry import axis_angle_to_matrix
from self6d.losses.objective import SelfSupervision
from self6d.losses.target import Target
from self6d.refinement.captured import KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import RegionCrops
from self6d.refinement.rgb.refine import RgbRefined, RgbRefiner
from self6d.refinement.rgb.weights import shipped_network
from self6d.refinement.starts import half_turns
from self6d.rendering import pack_models
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates, Home, distinct, search_everywhere, search_near
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import Calibration, Evidence, read
from self6d.tracking.look import Look, PaintedFrame, learn_look
from self6d.tracking.paint import UNKNOWN, Paint, new_paint, shown
from self6d.tracking.points import ModelPoints, View
from self6d.tracking.quick.host import to_host
from self6d.tracking.quick.masks import PoseMasks
from self6d.tracking.quick.near import NearSearch, NearSettings
from self6d.tracking.quick.regions import ModelRegions

WHOLE = 320  # longer side of the image that is searched without a start pose, pixels
LIKE = 0.65  # of how alike colours are expected to be
UNLIKE = 0.35  # most that a pose may be worth below
DIMMER = 0.85  # of how alike they are expected to be: where no look reaches it, it is dimmer
REACHED = 0.5  # of what any look reaches there: less is other paint in any light
NICHES = 8  # surroundings kept apart where a search is wide
PULL = 0.3  # see `Home`
SWEEP = 2.0  # times as far as turned poses, shifted ones are looked for
NEAR = 128  # side of the region that is searched around a pose


@dataclass(frozen=True)
class Estimate:
    """A pose and how sure it is.

    Attributes:
        R: (3, 3). t: (3,), metres. float32 on the CPU. confidence: in [0, 1].
    """

    R: np.ndarray
    t: np.ndarray
    evidence: Evidence
    confidence: float

    @property
    def agreement(self) -> float:
        """What decides whether the pose is followed."""
        return self.confidence


class ObjectFitter:
    """Finds one object's pose on frames with depth.

    Args:
        model: whose pose. objective: mask, ab and geometry terms. config: how far and how long.
        calibration: from evidence to confidence.
    """

    def __init__(
        self,
        model: ObjectModel,
        objective: SelfSupervision,
        config: TrackConfig,
        calibration: Calibration,
        device: torch.device,
    ) -> None:
        self.model, self.objective, self.config = model, objective, config
        self.calibration, self.device = calibration, device
        self.points = ModelPoints.of(model, config.points)
        self.packed = pack_models([model], device=device)
        self.refiner = RgbRefiner(shipped_network(str(device)), [model], device)
        self.diameter = float(model.diameter)
        self.margin_m = min(max(0.04 * self.diameter, 0.004), 0.008)
        self.reach_m = min(0.1 * self.diameter, 0.015)
        self.masks = PoseMasks(self.reach_m, self.margin_m, device)
        self.once = device.type == "cuda"  # masks, as long as all else there; poses hardly move
        self.optimisers = KeptOptimisers()
        self._observed = Recorded(self._observe)
        self._parts: Target | None = None  # which a target has
        self.regions = ModelRegions(
            self.packed, self.diameter, config.region, config.padding, self.margin_m
        )
        around = self.regions.around
        cuda = device.type == "cuda"
        self.search = NearSearch(self.points, device, around, NEAR) if cuda else None
        self.optimize = OptimizeConfig(
            steps=config.steps,
            rotation_step=config.rotation_step,
            translation_step=config.translation_step,
            region=config.region,
            mask_end=0.1,
            race=0.3,
        )

    def near(
        self,
        sensor: PaintedFrame,
        R: np.ndarray,
        t: np.ndarray,
        rng: np.random.Generator,
        *,
        wide: bool = False,
        turns: bool = False,
        pull: float = PULL,
    ) -> Candidates:
        """Coarse poses around given ones, (N, 3, 3) and (N, 3).

        Args:
            wide: look `config.widen` times as far. turns: also from half and quarter turns of them.
            pull: how much likelier poses near them are, see `Home`.
        """
        config = self.config
        factor = config.widen if wide else 1.0
        shift = factor * config.shift * self.diameter
        assert sensor.depth_m is not None
        painted = sensor.alike is not None
        if self.search is not None and not wide and not turns:
            settings = NearSettings(
                config.candidates, config.turn, shift, self.margin_m, self.diameter, pull,
                SWEEP, 0.3 * config.turn,
            )  # fmt: skip
            return self.search(sensor, painted, R, t, rng, settings)
        home = Home(self.points, R, t, self.diameter, pull) if pull else None
        if turns:
            R, t = self._turned(R, t, _every_turn())
        R, t = np.asarray(R, np.float32), np.asarray(t, np.float32)
        R_m2c, t_m2c = (torch.from_numpy(x).to(self.device) for x in (R, t))
        cut = self.regions.around(
            sensor.images, sensor.depth_m, sensor.K, R_m2c, t_m2c, 2 * shift, NEAR
        )
        assert cut.depth_m is not None
        view = View.of(cut.rgb[0], cut.depth_m[0], cut.K[0], painted)
        # things mostly slide through the image from one frame to the next: that way first, and far
        swept = search_near(
            self.points, view, R, t, rng, candidates=config.candidates, turn=0.3 * config.turn,
            shift_m=SWEEP * shift, margin_m=2 * self.margin_m, rounds=2, home=home,
        ).best(6)  # fmt: skip
        return search_near(
            self.points, view, np.concatenate((R, swept.R)), np.concatenate((t, swept.t)), rng,
            candidates=config.candidates * (4 if wide else 1),
            turn=factor * config.turn, shift_m=shift, margin_m=self.margin_m,
            parents=48 if wide else 24, niches=NICHES if wide else 0,
            apart_m=0.2 * self.diameter, home=home,
        )  # fmt: skip

    def everywhere(
        self, sensor: PaintedFrame, rng: np.random.Generator, near: np.ndarray | None = None
    ) -> Candidates:
        """Coarse poses anywhere in a frame: by depth, then those the RGB refiner believes most.

        Args:
            near: (H, W) bool, where in the image the object's middle may be; None: anywhere.
        """
        height, width = sensor.images.shape[-2:]
        side = float(max(height, width))
        cut = self._cut(sensor, sensor.K.new_tensor([[0.0, 0.0, side, side]]), WHOLE)
        assert cut.depth_m is not None
        # by shape alone: a camera's colours are not the CAD's, and would lead to other things
        view = View.of(cut.rgb[0], cut.depth_m[0], cut.K[0], painted=False)
        if near is not None:
            pick = ((np.arange(WHOLE) + 0.5) * side / WHOLE).astype(int)
            whole = np.zeros((int(side), int(side)), bool)
            whole[:height, :width] = near
            near = whole[pick][:, pick]
        config = self.config
        found = search_everywhere(
            self.points, view, rng, views=config.views, margin_m=self.margin_m,
            diameter=self.diameter, keep=config.looked_at, near=near,
        )  # fmt: skip
        if not len(found):
            return found
        first = self._glanced(sensor, found)
        second = self._glanced(sensor, first[1].best(config.looked_at // 4))
        # where colours lie beside the depth, a rough pose says nothing to the refiner: by shape too
        shape = found.best(config.keep)
        believed = self.distinct(Candidates.joined([first[0], second[0]]), config.keep)
        return self.distinct(Candidates.joined([believed, shape]), 2 * config.keep)

    def _glanced(self, sensor: PaintedFrame, found: Candidates) -> tuple[Candidates, Candidates]:
        """Poses, and where the refiner would move them, scored by what it says of them."""
        R, t = found.tensors(self.device)
        said = self._glance(sensor, R, t)
        score = said.confidence.cpu().numpy()
        moved = Candidates(said.R.cpu().numpy(), said.t.cpu().numpy(), score)
        return Candidates(found.R, found.t, score), moved

    def distinct(self, found: Candidates, count: int) -> Candidates:
        """The best `count` that are not the same pose twice."""
        return distinct(self.points, found, 0.2, 0.1 * self.diameter).best(count)

    def turned(self, found: Estimate) -> Candidates:
        """The half turns of a pose about the model's axes, itself left out."""
        R, t = self._turned(found.R[None], found.t[None], half_turns().numpy())
        return Candidates.unscored(R[1:], t[1:])

    def _turned(
        self, R: np.ndarray, t: np.ndarray, turns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each pose by all of T turns (T, 3, 3): (N, 3, 3) and (N, 3) -> (N T, 3, 3), (N T, 3)."""
        centre = np.repeat(R @ self.points.centre + t, len(turns), 0)
        R = (R[:, None] @ turns).reshape(-1, 3, 3)
        return R, (centre - R @ self.points.centre).astype(np.float32)

    def fit(self, sensor: PaintedFrame, starts: Candidates) -> list[Estimate]:
        """Start poses pulled onto the frame, surest first."""
        if not len(starts):
            return []
        R, t = starts.tensors(self.device)
        R, t, region, drawn = self.regions.begun(sensor, R, t)
        mask = self.masks.begin(*drawn)()
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        asked = self._target(region, mask), self.packed, index, R, t
        problem = PoseProblem(*asked, self.objective, self.optimize, group=index)
        way = self.optimisers.run(problem)
        R, t = self.regions.aligned(region, way.R[-1], way.t[-1])
        return self.judge(region, R, t, sensor, mask if self.once and len(R) == 1 else None)

    def as_they_are(self, sensor: PaintedFrame, poses: Candidates) -> list[Estimate]:
        """Poses judged where they stand, surest first."""
        R, t = poses.tensors(self.device)
        return self.judge(self._region(sensor, R, t), R, t, sensor)

    def judge(
        self, region: RegionCrops, R: Tensor, t: Tensor, sensor: PaintedFrame,
        mask: Tensor | None = None,
    ) -> list[Estimate]:  # fmt: skip
        """Poses with their evidence over regions, surest first; `mask` of poses about the same."""
        said: RgbRefined | None = None
        if mask is None:
            masks = self.masks.begin(*self.regions.drawn(region, R, t))
            said = self._glance(sensor, R, t)  # while the CPU finds the masks
            mask = masks()
        fetched = to_host(R, t, *self.regions.measured(region, mask, R, t))
        if said is None:
            said = self._glance(sensor, R, t)  # while the CPU looks at what lies beside the edges
        own_R, own_t, *arrays = fetched()
        confidence, alike = said.confidence, sensor.alike if self.model.has_color else None
        evidence = read(arrays, lambda: confidence.tolist(), alike)
        if sensor.paint is not None:
            seen = shown(self.points, region, own_R, own_t, self.margin_m)
            evidence = [
                replace(e, color=sensor.paint.colors_alike(s))
                for e, s in zip(evidence, seen, strict=True)
            ]
        found = [
            Estimate(r, x, e, self._confidence(e, sensor, r, x))
            for r, x, e in zip(own_R, own_t, evidence, strict=True)
        ]
        return sorted(found, key=lambda e: -e.confidence)

    def _glance(self, sensor: PaintedFrame, R: Tensor, t: Tensor) -> RgbRefined:
        """What the RGB refiner says of N poses in one look, and where it would move them."""
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        return self.refiner.refine(sensor.plain, sensor.K, index, index, R, t, looks=1)

    def _confidence(
        self, evidence: Evidence, sensor: PaintedFrame, R: np.ndarray, t: np.ndarray
    ) -> float:
        """Less where shape agrees under known paint that does not: a bottle's back, say."""
        if not sensor.learned and sensor.paint is None:
            # how a camera not yet known shows the CAD's colours says nothing
            return self.unpainted(evidence)
        confidence = self.calibration.confidence(evidence)
        if confidence <= UNLIKE or not evidence.color < LIKE:  # NaN is not
            return confidence
        return confidence if self.other_light(evidence.color, sensor, R, t) else UNLIKE

    def unpainted(self, evidence: Evidence) -> float:
        """Confidence as if nothing were known of the paint."""
        return self.calibration.confidence(replace(evidence, color=math.nan))

    def other_light(self, color: float, sensor: PaintedFrame, R: np.ndarray, t: np.ndarray) -> bool:
        """Whether colours at a pose are less alike than expected because of the light there.

        In poor light, or on a side of many colours, no look makes them as alike as they were where
        the one so far was learned; it is the right paint if that one makes them nearly as alike as
        any.

        Args:
            color: as `Evidence.color`. R: (3, 3). t: (3,), metres.
        """
        if not sensor.learned or sensor.alike is None:
            return False
        own = self.look(PaintedFrame(sensor.plain, sensor.depth_m, sensor.K), R, t)
        if own is None:
            return False
        expected = max(sensor.alike, 0.1)
        return own.alike < DIMMER * expected and color * expected >= REACHED * own.alike

    def painted(
        self, sensor: FrameBatch, known: list[float] | None, unknown: float | None = UNKNOWN
    ) -> PaintedFrame:
        """A frame with what is known of the object's paint, see `learned`."""
        if known is None or self.model.has_color:
            return PaintedFrame.seen(
                sensor, None if known is None else Look.from_state(known), unknown
            )
        frame = PaintedFrame.seen(sensor, None, unknown)
        frame.paint = Paint.from_state(known)
        return frame

    def learned(
        self, sensor: FrameBatch, R: np.ndarray, t: np.ndarray, known: list[float] | None
    ) -> list[float] | None:
        """What is known of the paint with what a frame shows at a pose, in numbers.

        Of models with colour it is how the camera shows them, of others their own colours. Those
        of models whose turns leave their shape as it is stay unknown: any turn would do.

        Args:
            R: (3, 3). t: (3,), metres. known: so far.
        """
        frame = PaintedFrame.seen(sensor, None)
        if self.model.has_color:
            look = self.look(frame, R, t)
            if look is None:
                return known
            return (look if known is None else Look.from_state(known).mixed(look)).state()
        if len(self.points.same) > 1:
            return known
        poses = R[None].astype(np.float32), t[None].astype(np.float32)
        region = self._region(frame, *(torch.from_numpy(x).to(self.device) for x in poses))
        (seen,) = shown(self.points, region, *poses, self.margin_m)
        paint = new_paint(seen) if known is None else Paint.from_state(known).mixed(seen)
        return known if paint is None else paint.state()

    def look(self, sensor: PaintedFrame, R: np.ndarray, t: np.ndarray) -> Look | None:
        """How a frame shows the object's paint at a pose; None where it shows too little.

        Args:
            R: (3, 3). t: (3,), metres.
        """
        poses = (torch.from_numpy(x[None].astype(np.float32)) for x in (R, t))
        R_m2c, t_m2c = (x.to(self.device) for x in poses)
        seen, *others = self.regions.looked(sensor, R_m2c, t_m2c)
        rgb, drawn, agree = (torch.from_numpy(x[0]) for x in to_host(seen, *others)())
        return learn_look(
            rgb, drawn, agree, lambda look: self.regions.alike(look.of(seen), *others)
        )

    def _region(self, sensor: PaintedFrame, R: Tensor, t: Tensor) -> RegionCrops:
        return self.regions.about(sensor, R, t)

    def _cut(self, sensor: PaintedFrame, box: Tensor, size: int) -> RegionCrops:
        index = torch.zeros(len(box), dtype=torch.long, device=self.device)
        return RegionCrops.cut(sensor.images, sensor.depth_m, sensor.K, box, index, size)

    def _target(self, region: RegionCrops, mask: Tensor) -> Target:
        assert region.depth_m is not None
        work = self._observed if len(mask) == 1 else self._observe
        tensors = work(region.rgb, region.depth_m, region.observed, region.K, mask)
        assert self._parts is not None
        return self._parts.of(tensors)

    def _observe(
        self, rgb: Tensor, depth_m: Tensor, observed: Tensor, K: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        diameter = self.regions.boxes.diameter.expand(len(mask))
        target = self.objective.observe(
            rgb, depth_m, mask.to(rgb.dtype), K, observed=observed, diameter=diameter
        )
        if self._parts is None:
            self._parts = target
        return tuple(target.tensors())


def _every_turn() -> np.ndarray:
    """(10, 3, 3) float32: none, the half turns and both quarter turns about each axis."""
    quarter = torch.cat((torch.eye(3), -torch.eye(3))) * (torch.pi / 2)
    return torch.cat((half_turns(), axis_angle_to_matrix(quarter))).numpy().astype(np.float32)
