"""One object on one frame: coarse search by points, then the optimiser, then the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import Recorded
from self6d.geometry import axis_angle_to_matrix, backproject
from self6d.losses.objective import SelfSupervision
from self6d.losses.target import Target
from self6d.refinement.captured import KeptOptimisers
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.problem import PoseProblem
from self6d.refinement.regions import ModelBoxes, RegionCrops, project_boxes, square_boxes
from self6d.refinement.rgb.refine import RgbRefined, RgbRefiner
from self6d.refinement.rgb.weights import shipped_network
from self6d.refinement.start_mask import mask_from_pose
from self6d.refinement.starts import half_turns
from self6d.rendering import Rendering, pack_models, render
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.align import align_to_depth
from self6d.tracking.coarse import Candidates, Home, distinct, search_everywhere, search_near
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import Calibration, Evidence, measure
from self6d.tracking.look import Look, PaintedFrame, learn_look
from self6d.tracking.paint import UNKNOWN, Paint, new_paint, shown
from self6d.tracking.points import ModelPoints, View
from self6d.tracking.quick.near import NearSearch, NearSettings

WHOLE = 320  # longer side of the image that is searched without a start pose, pixels
LIKE = 0.65  # of how alike colours are expected to be
UNLIKE = 0.35  # most that a pose may be worth below
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
        self.boxes = ModelBoxes.of(self.packed)
        self.diameter = float(model.diameter)
        self.margin_m = min(max(0.04 * self.diameter, 0.004), 0.008)
        self.reach_m = min(0.1 * self.diameter, 0.015)
        self.search = NearSearch(self.points, device) if device.type == "cuda" else None
        self._threads = ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="masks")
        self.once = device.type == "cuda"  # masks, as long as all else there; poses hardly move
        self.optimisers = KeptOptimisers()
        self._pulled, self._seen = Recorded(self._pull), Recorded(self._see)
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
        home = Home(self.points, R, t, self.diameter, pull) if pull else None
        if turns:
            R, t = self._turned(R, t, _every_turn())
        R, t = np.asarray(R, np.float32), np.asarray(t, np.float32)
        box = self._box(R, t, sensor.K, 2 * shift)
        whole = torch.cat((box[:, :2].amin(0), box[:, 2:].amax(0)))[None]
        cut = self._cut(sensor, square_boxes(whole, 1.0), NEAR)
        assert cut.depth_m is not None
        painted = sensor.alike is not None
        if self.search is not None and not wide and not turns:
            settings = NearSettings(
                config.candidates, config.turn, shift, self.margin_m, self.diameter, pull,
                SWEEP, 0.3 * config.turn,
            )  # fmt: skip
            return self.search(cut, painted, R, t, rng, settings)
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
        return Candidates(R[1:], t[1:], np.zeros(3, np.float32))

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
        # nearer by depth first: the mask that the optimiser follows is made around its start
        R, t = self._aligned(self._region(sensor, R, t), R, t)
        region = self._region(sensor, R, t)
        mask = self._masks(region, R, t)()
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        asked = self._target(region, mask, index), self.packed, index, R, t
        problem = PoseProblem(*asked, self.objective, self.optimize, group=index)
        way = self.optimisers.run(problem)
        R, t = self._aligned(region, way.R[-1], way.t[-1])
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
        said = self._glance(sensor, R, t)  # a GPU looks while the CPU finds the masks
        masks = self._masks(region, R, t) if mask is None else lambda: mask
        assert region.depth_m is not None
        diameter = self.boxes.diameter.expand(len(R))
        evidence = measure(
            region.rgb, region.depth_m, masks, region.observed, self._render(region, R, t),
            diameter, said.confidence,
            alike=sensor.alike if self.model.has_color else None,
        )  # fmt: skip
        poses = R.cpu().numpy(), t.cpu().numpy()
        if sensor.paint is not None:
            seen = shown(self.points, region, *poses, self.margin_m)
            evidence = [
                replace(e, color=sensor.paint.colors_alike(s))
                for e, s in zip(evidence, seen, strict=True)
            ]
        found = [
            Estimate(r, x, e, self._confidence(e, sensor))
            for r, x, e in zip(*poses, evidence, strict=True)
        ]
        return sorted(found, key=lambda e: -e.confidence)

    def _glance(self, sensor: PaintedFrame, R: Tensor, t: Tensor) -> RgbRefined:
        """What the RGB refiner says of N poses in one look, and where it would move them."""
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        return self.refiner.refine(sensor.plain, sensor.K, index, index, R, t, looks=1)

    def _confidence(self, evidence: Evidence, sensor: PaintedFrame) -> float:
        """Less where shape agrees under known paint that does not: a bottle's back, say."""
        if (
            not sensor.learned and sensor.paint is None
        ):  # how a camera not yet known shows the CAD's colours says nothing
            evidence = replace(evidence, color=math.nan)
        confidence = self.calibration.confidence(evidence)
        return min(confidence, UNLIKE) if evidence.color < LIKE else confidence  # False for NaN

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
        region = self._region(sensor, R_m2c, t_m2c)
        assert region.depth_m is not None
        view = self._render(region, R_m2c, t_m2c)
        agree = view.covered & (region.depth_m > 0) & region.observed
        agree &= (region.depth_m - view.depth_m).abs() < self.margin_m
        return learn_look(region.rgb[0], view.rgb[0], agree[0])

    def _box(
        self, R: Tensor | np.ndarray, t: Tensor | np.ndarray, K: Tensor, grow_m: float = 0.0
    ) -> Tensor:
        """Image boxes around posed models, `grow_m` wider on all sides."""
        R, t = torch.as_tensor(R).to(self.device), torch.as_tensor(t).to(self.device)
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        box = project_boxes(self.boxes, index, R, t, K.expand(len(R), 3, 3))
        z = (R @ self.boxes.centre[0] + t)[:, 2:].clamp_min(0.05)
        grow = grow_m * K[0, 0, 0] / z
        return torch.cat((box[:, :2] - grow, box[:, 2:] + grow), 1)

    def _region(self, sensor: PaintedFrame, R: Tensor, t: Tensor) -> RegionCrops:
        """What the sensor sees about each of N poses."""
        assert sensor.depth_m is not None
        cut = self._seen if len(R) == 1 else self._see
        return RegionCrops(*cut(sensor.images, sensor.depth_m, sensor.K, R, t))

    def _see(
        self, images: Tensor, depth_m: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        box = square_boxes(self._box(R, t, K), self.config.padding)
        index = torch.zeros(len(R), dtype=torch.long, device=R.device)
        found = RegionCrops.cut(images, depth_m, K, box, index, self.config.region)
        assert found.depth_m is not None
        return found.rgb, found.depth_m, found.observed, found.K, found.box

    def _aligned(self, region: RegionCrops, R: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        assert region.depth_m is not None
        R, t = self._pulled(region.depth_m, region.observed, region.K, R, t)
        return R, t

    def _pull(
        self, depth_m: Tensor, observed: Tensor, K: Tensor, R: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        centre = self.boxes.centre[0]
        return align_to_depth(depth_m, observed, K, self.packed, R, t, centre, self.diameter)

    def _cut(self, sensor: PaintedFrame, box: Tensor, size: int) -> RegionCrops:
        index = torch.zeros(len(box), dtype=torch.long, device=self.device)
        return RegionCrops.cut(sensor.images, sensor.depth_m, sensor.K, box, index, size)

    def _render(self, region: RegionCrops, R: Tensor, t: Tensor) -> Rendering:
        size = (region.rgb.shape[-2], region.rgb.shape[-1])
        return render(R, t, region.K, self.packed, size, soft_mask=False)

    def _masks(self, region: RegionCrops, R: Tensor, t: Tensor) -> Callable[[], Tensor]:
        """Where the object is visible if the poses are about right: gives (N, h, w) bool.

        They are found in threads until they are asked for.
        """
        assert region.depth_m is not None
        drawn = backproject(self._render(region, R, t).depth_m, region.K).cpu().numpy()
        seen = backproject(region.depth_m, region.K).cpu().numpy()
        rgb = (region.rgb.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
        found = [
            self._threads.submit(self._mask, *inputs)
            for inputs in zip(rgb, seen, drawn, region.K[:, 0, 0].tolist(), strict=True)
        ]
        return lambda: torch.from_numpy(np.stack([f.result() for f in found])).to(self.device)

    def _mask(
        self, rgb: np.ndarray, seen: np.ndarray, drawn: np.ndarray, focal: float
    ) -> np.ndarray:
        mask = mask_from_pose(rgb, seen, drawn, self.reach_m, focal)
        # where the depth agrees, the colour of a table like the object's is no objection
        depth, sensor = drawn[..., 2], seen[..., 2]
        return mask | ((depth > 0) & (sensor > 0) & (np.abs(depth - sensor) < self.margin_m))

    def _target(self, region: RegionCrops, mask: Tensor, index: Tensor) -> Target:
        return self.objective.observe(
            region.rgb, region.depth_m, mask.to(region.rgb.dtype), region.K,
            observed=region.observed, diameter=self.boxes.diameter[index],
        )  # fmt: skip


def _every_turn() -> np.ndarray:
    """(10, 3, 3) float32: none, the half turns and both quarter turns about each axis."""
    quarter = torch.cat((torch.eye(3), -torch.eye(3))) * (torch.pi / 2)
    return torch.cat((half_turns(), axis_angle_to_matrix(quarter))).numpy().astype(np.float32)
