"""Learning from a track: its poses are pseudo-poses, a tracker's estimates and no ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import PoseTrack
from self6d.datasets.splits import any_depth, spread_evenly
from self6d.engine import distributed
from self6d.errors import InputError
from self6d.events import Told, told_to_nobody
from self6d.losses.supervised import add_distance, nearest_symmetric_pose
from self6d.network import PoseNetwork
from self6d.refinement.rgb.refine import RgbRefiner
from self6d.runs import checkpoint
from self6d.scene import ObjectModel
from self6d.stage1.validation import ADD_SHARE
from self6d.stage2.config import AdaptConfig
from self6d.stage2.posed_frames import PosedFramesTask, PosedObject
from self6d.stage2.pseudo_labels import detect
from self6d.stage2.refiner_learning import JUDGED, RefinerLearning
from self6d.synthesis import SynthesisConfig

REFINER_OFF = 0.05
"""A refiner that moves the track's poses by more than this, diameters, errs by as much: half of
what ADD allows."""
NOT_JUDGED = (
    "whether it helped cannot be said: it was begun by an earlier version, which did not judge its "
    "start. evaluate compares it with stage 1 where there are labels, the window without"
)
WITHOUT = "predict without it, and export with --refiner none"


def off_in_words(diameters: float) -> str:
    """What "refiner_off" says."""
    return f"the RGB refiner moves the track's own poses by {100 * diameters:.0f} % of the diameter"


def helped_in_words(
    start: Mapping[str, float], now: Mapping[str, float]
) -> tuple[Literal["info", "warning"], str]:
    """What changed since the start, as `HealthMonitor.told` says it of other adaptations.

    Args:
        start, now: "track_found" and "track_near", see `TrackTask`.
    """
    both = [(start[key], now[key]) for key in ("track_found", "track_near")]
    found, near = (f"{before:.0%} -> {after:.0%}" for before, after in both)
    text = (
        f"without labels, from the start: of the track's poses {found} are found, {near} within a "
        "tenth of the diameter of the track's"
    )
    if all(after <= before for before, after in both) and now != start:
        return "warning", f"{text}. Nothing got better: compare it with stage 1 before use"
    return "info", f"{text} (which it learned; how right they are, the track's confidence says)"


def sure_poses(
    track: PoseTrack, frames: UnlabelledFrames, object_ids: Sequence[int], confidence: float
) -> dict[int, list[PosedObject]]:
    """A track's poses of given objects in given frames, by the frame's number.

    Raises:
        TypeError: given anything that could lead to a label.
        InputError: none has that confidence.
    """
    if type(track) is not PoseTrack:
        raise TypeError(f"pseudo-poses come from a PoseTrack, not {type(track).__name__}")
    if type(frames) is not UnlabelledFrames:
        raise TypeError(f"stage 2 takes UnlabelledFrames, not {type(frames).__name__}")
    number = {key: i for i, key in enumerate(frames.keys)}
    place = {object_id: i for i, object_id in enumerate(object_ids)}
    poses: dict[int, list[PosedObject]] = {}
    for tracked in track.above(confidence):
        if tracked.key in number and tracked.object_id in place and tracked.pose is not None:
            posed = PosedObject(place[tracked.object_id], tracked.pose)
            poses.setdefault(number[tracked.key], []).append(posed)
    if not poses:
        here = [t for t in track if t.key in number and t.object_id in place]
        best = max((t.confidence for t in here), default=0.0)
        again = ""
        if not any_depth(frames.read, len(frames)):
            again = ", track again with a smaller track.focal_error if the camera is calibrated"
        raise InputError(
            f"the track has no pose to learn from with a confidence of {confidence:g} in these "
            "frames",
            path=track.path,
            remedy=f"Its surest here has {best:.2f}: lower adapt.track_confidence"
            f"{again}, or check that track, recording and objects belong together.",
        )
    return poses


class TrackTask(PosedFramesTask):
    """Fine-tunes a network with the poses that a tracker is sure of, and synthetic images.

    As everything of stage 2 it sees `UnlabelledFrames` alone: no label is in reach.

    Args:
        network, models, adapt, synthesis, seed, device, tell: as `PosedFramesTask`.
        frames: the recording, without labels.
        track: poses in it; those below `adapt.track_confidence`, those of other objects and those
            of frames that are not among `frames` are left out.

    Raises:
        TypeError: given anything that could lead to a label.
        InputError: no pose is left to learn from.
    """

    name = "track"

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        frames: UnlabelledFrames,
        track: PoseTrack,
        adapt: AdaptConfig,
        synthesis: SynthesisConfig,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        tell: Told = told_to_nobody,
    ) -> None:
        poses = sure_poses(track, frames, network.object_ids, adapt.track_confidence)
        self.left_out = len(track) - sum(len(found) for found in poses.values())
        super().__init__(
            network, models, frames, poses, adapt, synthesis,
            complete=False, seed=seed, device=device, tell=tell,
        )  # fmt: skip
        if adapt.refiner and adapt.refiner_lr > 0:
            self.refiner = RefinerLearning(
                RgbRefiner.load(adapt.refiner, models, self.device), network.objects,
                distributed.join(self.device), self.config,
                instances=max(len(found) for found in poses.values()),
            )  # fmt: skip
        self.start: dict[str, float] = {}  # as `_agreement`, before the first step

    def step(self, step: int) -> dict[str, Any]:
        if step == 0:
            self.start = self._agreement()
        return super().step(step)

    def state_dict(self) -> dict[str, Any]:
        """As of all tasks; the last one holds the refiner's share of the distance."""
        self.ended = self.ended or self.clock.share >= 1
        if self.refiner is not None and self.ended:
            known = (self.posed.given([frame]) for frame in self._judged())
            self.refiner.weigh(
                self.average.network,
                ((sensor, index, *pose) for sensor, _, index, pose in known),
                self.on_note,
            )
        state = super().state_dict()
        state["meta"]["start"] = dict(self.start)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.start = checkpoint.unpack(state).get("start", {})

    def result(self) -> dict[str, Any]:
        """How much there was to learn from, how much of the track was not, what `_agreement` says
        of the network, and, at the end, as
        "refiner_off" how far a refiner moves the track's poses, which it should leave: the median
        in diameters; as "refiner_share" how far its distances count beside the network's."""
        result: dict[str, Any] = super().result() | {"left_out": self.left_out}
        if self.start:  # else no step was made yet
            now = self._agreement()
            self.on_note(*helped_in_words(self.start, now))
            result |= now
        elif self.ended:
            self.on_note("info", NOT_JUDGED)
        if self.refiner is not None and self.ended:
            result["refiner_share"] = self.refiner.share
            result["refiner_off"] = self._refiner_off(self.refiner)
            if result["refiner_off"] > REFINER_OFF:
                self.on_note("warning", f"{off_in_words(result['refiner_off'])}: {WITHOUT}")
        return result

    def _judged(self, most: int = JUDGED) -> list[int]:
        frames = sorted(self.posed.poses)
        return [frames[i] for i in spread_evenly(len(frames), min(len(frames), most))]

    @torch.no_grad()
    def _agreement(self) -> dict[str, float]:
        """Of the track's poses in the frames that a check looks at, the shares that the averaged
        network finds, and has within a tenth of the diameter ("track_found", "track_near")."""
        network = self.average.network
        numbers = self._judged(self.config.health_frames)
        found = detect(network, self.store, numbers, self.config.detection_score)
        rows = [(number, posed) for number in numbers for posed in self.posed.poses[number]]
        frame = torch.tensor([number for number, _ in rows], device=self.device)
        objects = torch.tensor([posed.object_index for _, posed in rows], device=self.device)
        R, t = (
            torch.tensor(np.stack(part), dtype=torch.float32, device=self.device)
            for part in zip(*((p.pose.R_m2c, p.pose.t_m2c) for _, p in rows), strict=True)
        )
        same = (found.image_index == frame[:, None]) & (found.object_index == objects[:, None])
        row, place = same.nonzero(as_tuple=True)
        table, which, seen = network.objects, objects[row], found[place]
        points = table.points[which]
        known = nearest_symmetric_pose(
            seen.R, seen.t, R[row], t[row], points, table.symmetries[which]
        )
        off = add_distance(seen.R, seen.t, *known, points) / table.diameter[which]
        near = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
        near[row[off < ADD_SHARE]] = True
        return {
            "track_found": float(same.any(1).float().mean()),
            "track_near": float(near.float().mean()),
        }

    def _refiner_off(self, refiner: RefinerLearning) -> float:
        moved = [refiner.moved(*self.posed.given([frame])) for frame in self._judged()]
        return float(torch.cat(moved).median())
