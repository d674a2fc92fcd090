"""One object on one frame without depth: the RGB refiner from several starts, then the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from self6d.geometry import crop_intrinsics
from self6d.network.roi import roi_align
from self6d.paths import SHIPPED
from self6d.refinement.rgb.look import RefinerScene, origin_of, position_of, take_look
from self6d.refinement.rgb.refine import NEAR_M, RgbRefiner
from self6d.refinement.rgb.weights import shipped_network
from self6d.refinement.starts import half_turns
from self6d.rendering import render
from self6d.scene import ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import Calibration, colors_alike
from self6d.tracking.look import Look, learn_look
from self6d.tracking.points import ModelPoints
from self6d.tracking.rgb.evidence import (
    AGREEMENT,
    CONFIDENCE,
    FAR,
    ColourEvidence,
    camera_allows,
)
from self6d.tracking.still.arrangement import Thing

SAME = 0.25  # diameters: nearer ends of looks are one pose
TENTH = 0.1
FEWEST = 12  # cells that say something of colours


@dataclass(frozen=True)
class ColourEstimate:
    """A pose from colours, and how sure it is.

    Attributes:
        R: (3, 3). t: (3,), metres. float32 on the CPU.
        confidence: in [0, 1], as a track gives it: within a tenth of the diameter, the distance
            included. agreement: likewise without the distance, which colours tell worst: it
            decides what is followed.
        seen: image and rendering (3, s, s), and (s, s) bool where both show the object.
    """

    R: np.ndarray
    t: np.ndarray
    evidence: ColourEvidence
    confidence: float
    agreement: float
    seen: tuple[Tensor, Tensor, Tensor] = field(repr=False, compare=False)


class ColourFitter:
    """Finds one object's pose on colour images.

    Args:
        model: whose pose. config: how often is looked, and how far about.
        refiner: run or file that holds it, see `load_refiner`.
        calibration, agreement: from evidence to the numbers of `ColourEstimate`.
    """

    def __init__(
        self,
        model: ObjectModel,
        config: TrackConfig,
        device: torch.device,
        *,
        refiner: str | Path = SHIPPED,
        calibration: Calibration = CONFIDENCE,
        agreement: Calibration = AGREEMENT,
    ) -> None:
        self.model, self.config, self.device = model, config, device
        self.calibration, self.agreement = calibration, agreement
        if refiner == SHIPPED:
            self.refiner = RgbRefiner(shipped_network(str(device)), [model], device)
        else:
            self.refiner = RgbRefiner.load(refiner, [model], device)
        self.packed = self.refiner.packed
        self.points = ModelPoints.of(model, config.points)
        self.thing = Thing.of(model)
        self.diameter = float(model.diameter)

    def spread(
        self, R: np.ndarray, t: np.ndarray, count: int, rng: np.random.Generator, wide: float = 1.0
    ) -> Candidates:
        """Given poses, (N, 3, 3) and (N, 3), and more about them until there are `count`.

        Args:
            wide: how many times as far about them as `track.turn` and `track.shift` say.
        """
        more = max(count - len(R), 0)
        if not more:
            return Candidates.unscored(R, t)
        config, source = self.config, np.arange(more) % len(R)
        turn = wide * 0.5 * config.turn * rng.normal(size=(more, 3))
        middle = R[source] @ self.thing.centre + t[source]
        aside = wide * 0.5 * config.shift * self.diameter * rng.normal(size=(more, 2))
        # nearer and farther by turns: a mean of few draws would be off to one side
        sign = np.where(np.arange(more) % 2, 1.0, -1.0)
        ahead = np.exp(sign * wide * config.distance * rng.uniform(0.5, 1.5, more))
        middle = (middle + np.pad(aside, ((0, 0), (0, 1)))) * ahead[:, None]
        turned = Rotation.from_rotvec(turn).as_matrix() @ R[source]
        shifted = middle - turned @ self.thing.centre
        return Candidates.unscored(np.concatenate((R, turned)), np.concatenate((t, shifted)))

    def turned(self, found: ColourEstimate) -> Candidates:
        """The half turns of a pose about the model's axes, itself left out."""
        turns = half_turns().numpy()[1:].astype(float)
        middle = found.R @ self.thing.centre + found.t
        R = found.R @ turns
        return Candidates.unscored(R, middle - R @ self.thing.centre)

    def glanced(self, sensor: FrameBatch, found: Candidates) -> Candidates:
        """Poses moved by one look, scored by what the refiner says of where they then are."""
        R, t = found.tensors(self.device)
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        said = self.refiner.refine(sensor.images, sensor.K, index, index, R, t, looks=1)
        return Candidates(*(x.cpu().numpy() for x in (said.R, said.t, said.confidence)))

    def fit(
        self, sensor: FrameBatch, starts: Candidates, paint: Look | None
    ) -> list[ColourEstimate]:
        """Start poses moved onto the image; those that end together are one. Best agreement first.

        Args:
            sensor: one frame; its depth is not looked at. paint: how the camera shows colours.
        """
        if not len(starts):
            return []
        R, t = starts.tensors(self.device)
        index = torch.zeros(len(R), dtype=torch.long, device=self.device)
        ends = self.refiner.refine(
            sensor.images, sensor.K, index, index, R, t, looks=max(self.config.looks - 1, 1)
        )
        ends_R, ends_t = (x.double().cpu().numpy() for x in (ends.R, ends.t))
        poses, apart = self._joined(ends_R, ends_t, ends.confidence.cpu().numpy())
        return self.judge(sensor, poses, paint, apart, settle=True)

    def as_they_are(
        self, sensor: FrameBatch, poses: Candidates, paint: Look | None
    ) -> list[ColourEstimate]:
        """Poses judged where they stand, best agreement first."""
        return self.judge(sensor, poses, paint, [math.nan] * len(poses))

    @torch.no_grad()
    def judge(
        self,
        sensor: FrameBatch,
        poses: Candidates,
        paint: Look | None,
        apart: Sequence[float],
        *,
        settle: bool = False,
    ) -> list[ColourEstimate]:
        """Poses with their evidence, by one more look; with `settle` moved half of its way.

        Args:
            apart: N, diameters, how far starts ended from each of them; NaN: not known.
        """
        R, t = poses.tensors(self.device)
        n = len(R)
        index = torch.zeros(n, dtype=torch.long, device=self.device)
        K = sensor.K[index]
        refiner = self.refiner
        scene = RefinerScene(
            sensor.images,
            K,
            index,
            refiner.packed,
            refiner.diameter,
            index,
            refiner.outputs[index],
        )
        ahead = position_of(R, t, scene.centre)[:, 2] > NEAR_M
        look = take_look(refiner.network, scene, R, t)
        sound = ahead & torch.isfinite(look.t).all(1) & torch.isfinite(look.R).all((1, 2))
        before = position_of(R, t, scene.centre)
        after = position_of(look.R, look.t, scene.centre)
        asked, there = _rigid(R, t), _rigid(look.R, look.t)
        if settle:
            R = torch.where(sound[:, None, None], look.R, R)
            t = torch.where(
                sound[:, None], origin_of(look.R, (before + after) / 2, scene.centre), t
            )
        size = look.change.mask.shape[-2], look.change.mask.shape[-1]
        K_of = crop_intrinsics(K, look.region, size)
        drawn = render(R, t, K_of, self.packed, size, soft_mask=False)
        image = roi_align(sensor.images, look.region, index, size)
        observed = _observed(look.region, size[0], sensor.images.shape[-2:])
        own = (look.change.mask > 0) & observed
        covered = drawn.covered & observed
        both = own & covered
        count = lambda x: x.sum((1, 2)).float()  # noqa: E731
        share = lambda a, b: count(a) / count(b).clamp_min(1)  # noqa: E731
        painted = image if paint is None else paint.of(image)
        color = colors_alike(painted, drawn.rgb, both).float()
        said = torch.where(sound, look.change.confidence.float().sigmoid(), 0.0)
        distance = position_of(R, t, scene.centre).norm(dim=1) / self.diameter
        rows = torch.stack(
            (said, share(both, own), share(both, covered), color,
             share(covered, drawn.covered), distance, count(both)), 1,
        ).double().cpu().numpy()  # fmt: skip
        poses_R, poses_t = R.float().cpu().numpy(), t.float().cpu().numpy()
        found = []
        for i, (refined, mask, visible, alike, inside, far, cells) in enumerate(rows):
            unknown = paint is None or not self.model.has_color or cells < FEWEST
            move = self.thing.apart(asked[i], there[i]) if sound[i] else TENTH
            evidence = ColourEvidence(
                refiner=float(refined),
                steady=1 - min(move / TENTH, 1.0),
                together=1 - min(apart[i] / TENTH, 1.0) if apart[i] == apart[i] else math.nan,
                mask=float(mask),
                visible=float(visible),
                color=math.nan if unknown or paint is None else alike / max(paint.alike, 0.1),
                inside=float(inside),
                far=min(float(far) / FAR, 1.0),
            )
            confidence = self.calibration.confidence(evidence)
            confidence *= camera_allows(float(far), self.config.focal_error)
            agreement = self.agreement.confidence(evidence)
            if not sound[i] or cells < FEWEST:
                confidence = agreement = 0.0
            seen = image[i], drawn.rgb[i], both[i]
            found.append(
                ColourEstimate(poses_R[i], poses_t[i], evidence, confidence, agreement, seen)
            )
        return sorted(found, key=lambda e: -e.agreement)

    def learned(self, found: ColourEstimate, known: Look | None) -> Look | None:
        """What is known of the camera's colours with what a found object shows."""
        if not self.model.has_color:
            return known
        newer = learn_look(*found.seen)
        return newer if known is None else known.mixed(newer)

    def _joined(
        self, R: np.ndarray, t: np.ndarray, sure: np.ndarray
    ) -> tuple[Candidates, list[float]]:
        """Ends of looks, (N, 3, 3) and (N, 3), that lie together as one; and how far apart, in
        diameters, those of each were (root mean square; NaN where there was one start)."""
        thing, left = self.thing, list(np.argsort(-sure, kind="stable"))
        middle = R @ thing.centre + t
        far = np.linalg.norm(middle, axis=1)
        finite = np.isfinite(R).all((1, 2)) & np.isfinite(t).all(1) & (middle[:, 2] > NEAR_M)
        left = [k for k in left if finite[k]] or left[:1]
        poses: list[tuple[np.ndarray, np.ndarray]] = []
        apart: list[float] = []
        while left:
            first = left[0]
            off = [thing.apart((R[first], t[first]), (R[k], t[k])) for k in left]
            own = [k for k, d in zip(left, off, strict=True) if d < SAME]
            own = own or [first]
            left = [k for k in left if k not in own]
            weight = sure[own] + 1e-3
            ray = middle[own] / far[own][:, None]
            way = (weight[:, None] * ray).sum(0)
            way /= np.linalg.norm(way)
            length = np.exp((weight * np.log(far[own])).sum() / weight.sum())
            poses.append((R[first], length * way - R[first] @ thing.centre))
            d = [thing.apart(poses[-1], (R[k], t[k])) for k in own]
            alone = math.nan if len(R) == 1 else SAME  # others ended elsewhere
            apart.append(float(np.sqrt(np.mean(np.square(d)))) if len(own) > 1 else alone)
        return Candidates.unscored(*(np.array(x) for x in zip(*poses, strict=True))), apart


def _rigid(R: Tensor, t: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """(N, 3, 3) and (N, 3) one by one, on the CPU."""
    return list(zip(R.double().cpu().numpy(), t.double().cpu().numpy(), strict=True))


def _observed(region: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """(N, side, side) bool: cells of regions (N, 4), pixels, with middles in an image (H, W)."""
    share = (torch.arange(side, device=region.device) + 0.5) / side
    x = region[:, 0, None] + share * (region[:, 2] - region[:, 0])[:, None]
    y = region[:, 1, None] + share * (region[:, 3] - region[:, 1])[:, None]
    across, down = (x >= 0) & (x < size[1]), (y >= 0) & (y < size[0])
    return down[:, :, None] & across[:, None]
