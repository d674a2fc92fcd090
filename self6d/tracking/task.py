"""Tracking as a task of the one loop: each step is one object on one frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState
from self6d.datasets.splits import any_depth
from self6d.engine.clock import Clock
from self6d.engine.task import Noted
from self6d.events import Preview
from self6d.losses.objective import SelfSupervision
from self6d.paths import SHIPPED
from self6d.rendering import render
from self6d.rng import mixed_seed
from self6d.scene import Frame, ObjectModel
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.config import TrackConfig
from self6d.tracking.evidence import DEFAULT, Calibration
from self6d.tracking.fit import Estimate, ObjectFitter
from self6d.tracking.follow import DepthFollower
from self6d.tracking.quick.frames import COMING, ComingFrames
from self6d.tracking.rgb.fit import ColourEstimate, ColourFitter
from self6d.tracking.rgb.follow import ColourFollower
from self6d.tracking.rgb.still import solve_colours
from self6d.tracking.rgb.told import told_without_depth, without_start
from self6d.tracking.still.arrangement import AGREE, Seen, Thing, solve
from self6d.tracking.told import looked_for, told_of_twins
from self6d.tracking.work import (
    Found,
    Memory,
    Row,
    Start,
    Target,
    Walk,
    first_walks,
    gaps,
    known_rows,
    listed_rows,
    rows_of,
    scenes_of,
    seams,
    tracked_poses,
    upcoming,
)

Detect = Callable[[FrameBatch, int, int], Candidates]
"""Rough poses in the frame at an index, of the model at a position; such as those of a network."""


class TrackTask:
    """Follows objects through all frames of a recording, run by `engine.loop.run_task`.

    Args:
        frames: of the recording; without depth, or with `track.use_depth` off, they are followed
            by colours alone. models: whose poses.
        starts: poses to follow from; in scenes without one of an object, it is searched for, by
            colours alone only where `detect` is given.
        detect: asked for rough poses wherever an object is lost or unsure, instead of searching
            the whole image.
        refiner: run or file that holds the RGB refiner for frames without depth.
        kept: what is known already: its frames are not looked at, lost ones included.
        cuts: indices of frames before which the recording was interrupted: nothing is followed
            across.
    """

    name = "track"
    on_note: Noted | None = None

    def __init__(
        self,
        frames: UnlabelledFrames,
        models: Sequence[ObjectModel],
        starts: Sequence[Start],
        objective: SelfSupervision,
        config: TrackConfig,
        *,
        detect: Detect | None = None,
        refiner: str | Path = SHIPPED,
        kept: PoseTrack | None = None,
        cuts: Collection[int] = (),
        calibration: Calibration = DEFAULT,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.frames, self.models, self.config = frames, list(models), config
        self.objective, self.detect, self.seed = objective, detect, seed
        self.refiner = refiner
        self.device = torch.device(device)
        self.has_depth = config.use_depth and any_depth(frames.read, len(frames))
        self._read = ComingFrames(partial(frames.read, depth=self.has_depth))
        self.calibration = calibration
        self.clock = Clock()
        self.scenes = scenes_of(frames, cuts)
        self.camera = self._read.camera
        self._piece = {i: n for n, own in enumerate(self.scenes) for i in own}
        known = known_rows(kept, frames, models)
        extra = {s.target for s in starts} | {target for _, target in known}
        self.targets = sorted({Target(i) for i in range(len(models))} | extra)
        self.walks = first_walks(frames.keys, self.scenes, self.targets, starts, set(known))
        self._to_tell: list[tuple[Literal["info", "warning"], str]] = []
        if not self.has_depth:
            told = told_without_depth(left_out=not config.use_depth, shipped=refiner == SHIPPED)
            self._to_tell = [("info", told)]
        if not self.has_depth and detect is None:
            self.walks = [walk for walk in self.walks if walk.kind != "seek"]
            lost = without_start(frames.keys, self.scenes, self.models, starts)
            self._to_tell += [("warning", text) for text in lost]
        sought = {walk.target.model for walk in self.walks if walk.kind == "seek"}
        self._to_tell += [("info", text) for text in looked_for(self.models, starts, sought)]
        self._to_tell += told_of_twins(self.models)
        self._kept = set(known)
        self._seams = seams(self.scenes, starts)
        self._place = {key: i for i, key in enumerate(frames.keys)}
        self.found: Found = {at: row for at, row in known.items() if row is not None}
        self.looks: dict[Target, list[float]] = {}
        self.unsure: set[tuple[int, Target]] = set()  # suggestions of a search, as good as lost
        self.done = 0
        self.closing = not config.close_gaps
        self.settled: Found | None = None  # where the arrangement puts what is looked for again
        self.unplaced: set[Target] = set()
        self._followers: dict[int, DepthFollower | ColourFollower] = {}
        self._last: tuple[int, Target] | None = None
        self.total_steps = 0
        self._end_walks()

    def step(self, step: int) -> dict[str, float | Tensor]:
        """One object on one frame."""
        self._tell()
        walk = self.walks[0]
        index = walk.frames[0]
        frame = self._read[index]  # one that cannot be read stays: a run that goes on begins there
        del walk.frames[0]
        self._read.expect(upcoming(index, self.walks, COMING))
        estimate = self._look(walk, index, frame)
        self.done += 1
        if estimate is not None:
            self._saw(index, walk.target, estimate)
        if walk.kind == "close" and estimate is None:
            walk.frames.clear()
        if walk.kind == "seek" and estimate is not None:
            if estimate.agreement >= self.config.found:
                self._found_by_seeking(walk, index)
            else:
                self.unsure.add((index, walk.target))
        self._last = (index, walk.target)
        self._end_walks()
        name = self.models[walk.target.model].name
        values: dict[str, float | Tensor] = {
            f"confidence/{name}": 0.0 if estimate is None else estimate.confidence
        }
        if estimate is not None:
            measures = estimate.evidence.values()
            values |= {f"evidence/{name}": measures[name] for name in estimate.evidence.SHOWN}
        return values

    def poses(self) -> list[TrackedPose]:
        """Every object in every frame, as far as they are known."""
        ids = [model.object_id for model in self.models]
        return tracked_poses(
            self.frames.keys, self.scenes, self.targets, ids, self.found, self.config.weak,
            self.config.found,
        )  # fmt: skip

    def leaps(self) -> list[str]:
        """In words, where what was followed from two starts does not meet: things were moved?"""
        said = []
        for target, before, after in self._seams:
            a, b = self.found.get((before, target)), self.found.get((after, target))
            if a is None or b is None:
                continue
            there = np.reshape(b.R, (3, 3)), np.array(b.t)
            here = np.reshape(a.R, (3, 3)), np.array(a.t)
            if self._follower(target.model).leaps(there, *here):
                images = [self.frames.keys[i].image_id for i in (before, after)]
                said.append(
                    f"{self.models[target.model].name} leaps between the images {images[0]} and "
                    f"{images[1]}, followed from two start poses. If things were moved, name the "
                    "first image after the move with --cut"
                )
        return said

    def previews(self, step: int) -> list[Preview]:
        """The frame looked at last, with its object drawn in."""
        if self._last is None or self._last not in self.found:
            return []
        index, target = self._last
        frame, row = self._read[index], self.found[self._last]
        R = torch.tensor(row.R, dtype=torch.float32, device=self.device).reshape(1, 3, 3)
        t = torch.tensor(row.t, dtype=torch.float32, device=self.device)[None]
        K = torch.tensor(frame.camera.K, dtype=torch.float32, device=self.device)[None]
        packed = self._follower(target.model).packed
        view = render(R, t, K, packed, frame.camera.size, soft_mask=False)
        drawn = (view.rgb[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
        arrays = {
            "rgb": frame.rgb,
            "rendered": drawn.cpu().numpy(),
            "rendered_mask": view.covered[0].to(torch.uint8).mul(255).cpu().numpy(),
        }
        pose = {
            "object_id": self.models[target.model].object_id,
            "R_m2c": R[0].tolist(),
            "t_m2c": t[0].tolist(),
            "score": row.confidence,
        }
        key = self.frames.keys[index]
        return [Preview(step, "probe/0", arrays, [pose], (key.scene_id, key.image_id))]

    def state_dict(self) -> dict[str, Any]:
        found = listed_rows(self.found)
        walks = [walk.state() for walk in self.walks]
        looks = [[t.model, t.instance, look] for t, look in self.looks.items()]
        meta = {
            "walks": walks, "found": found, "looks": looks, "done": self.done,
            "closing": self.closing,
            "settled": None if self.settled is None else listed_rows(self.settled),
            "unplaced": [[t.model, t.instance] for t in sorted(self.unplaced)],
            "unsure": [[i, t.model, t.instance] for i, t in sorted(self.unsure)],
        }  # fmt: skip
        return {"tensors": {}, "meta": meta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        meta = state["meta"]
        self.walks = [Walk.of(walk) for walk in meta["walks"]]
        self.found = rows_of(meta["found"])
        settled = meta.get("settled")
        self.settled = None if settled is None else rows_of(settled)
        self.unplaced = {Target(int(m), int(n)) for m, n in meta.get("unplaced", ())}
        self.unsure = {(int(i), Target(int(m), int(n))) for i, m, n in meta.get("unsure", ())}
        self.looks = {Target(int(m), int(n)): list(look) for m, n, look in meta["looks"]}
        self.done, self.closing = int(meta["done"]), bool(meta["closing"])
        self._end_walks()

    def result(self) -> dict[str, Any]:
        """How many frames are in which state, by object, and the mean confidence of poses.

        With `track.still` also how many the arrangement settled, and whether an object has no
        place in it (`Arrangement.unplaced`).
        """
        summary: dict[str, Any] = {}
        ids = [model.object_id for model in self.models]
        for pose in self.poses():
            key = str(pose.object_id)
            row = summary.setdefault(key, {**{s.value: 0 for s in TrackState}, "confidence": []})
            row[pose.state.value] += 1
            if pose.pose is not None:
                row["confidence"].append(pose.confidence)
            own = (self._place[pose.key], Target(ids.index(pose.object_id), pose.instance))
            if self.settled is not None:
                row["settled"] = row.get("settled", 0) + (own in self.settled)
                row["unplaced"] = row.get("unplaced", False) or own[1] in self.unplaced
        for row in summary.values():
            values = row["confidence"]
            row["confidence"] = round(float(np.mean(values)), 4) if values else 0.0
        return {"objects": summary, "frames": len(self.frames)}

    def set_live(self, values: dict[str, float]) -> None:
        """Nothing of tracking changes on the way."""

    def halve_batch(self) -> bool:
        return False

    def _look(self, walk: Walk, index: int, frame: Frame) -> Estimate | ColourEstimate | None:
        if self.has_depth and frame.depth_m is None:  # nothing to hold a pose against
            walk.memory.missed += 1
            return None
        sensor = FrameBatch.of([frame], self.device)
        follower = self._follower(walk.target.model)
        start = walk.begin == index and (index, walk.target) not in self.found
        self._take_up(walk, index)
        model, instance = walk.target.model, walk.target.instance
        rng = np.random.default_rng(mixed_seed(self.seed, index, model, instance, self.done))
        anywhere = None
        if self.detect is not None:
            detect = self.detect
            anywhere = lambda: detect(sensor, index, model)  # noqa: E731
        if walk.kind == "settle":
            assert self.settled is not None
            row = self.settled[index, walk.target]
            look = self.looks.get(walk.target)
            return follower.settle(sensor, look, np.reshape(row.R, (3, 3)), np.array(row.t), rng)
        if walk.kind == "seek":
            estimate = follower.seek(sensor, rng, anywhere)
            if estimate is not None and estimate.agreement >= self.config.found:
                walk.memory.saw(
                    self.frames.keys[index].image_id, estimate.R, estimate.t, estimate.confidence
                )
                walk.memory.stood(index, estimate.R, estimate.t)
            return estimate
        time = self.frames.keys[index].image_id
        search = walk.kind != "close"
        # a start may be under another light: what is known of the paint begins anew there
        walk.memory.look = None if start else self.looks.get(walk.target)
        walk.memory.carry(index, self.camera.between)
        found = follower.follow(
            sensor, walk.memory, time, rng, anywhere, search=search, start=start
        )
        if found is not None:
            walk.memory.stood(index, found.R, found.t)
        if walk.memory.look is not None:
            self.looks[walk.target] = walk.memory.look
        return found

    def _tell(self) -> None:
        """Once, in the run's log: what is looked for, and what following without depth loses."""
        while self._to_tell and self.on_note is not None:
            self.on_note(*self._to_tell.pop(0))

    def _take_up(self, walk: Walk, index: int) -> None:
        """A walk that begins where another was goes on from what that one saw, speed included."""
        if walk.memory.missed or walk.begin is None:
            return
        begin, walk.begin = walk.begin, None
        row = self.found.get((begin, walk.target))
        if row is None:
            return
        walk.memory = Memory()
        for i in (2 * begin - index, begin):  # the other side's neighbour, then the frame itself
            seen = self.found.get((i, walk.target))
            if seen is not None and self._piece[i] == self._piece[index]:
                time = self.frames.keys[i].image_id
                walk.memory.saw(time, np.array(seen.R), np.array(seen.t), seen.confidence)
        walk.memory.stood(begin, np.array(row.R), np.array(row.t))

    def _saw(self, index: int, target: Target, estimate: Estimate | ColourEstimate) -> None:
        """Of two looks at a frame the surer one stays; what is followed, before a suggestion."""
        at = (index, target)
        before = None if at in self.unsure else self.found.get(at)
        if before is None or estimate.confidence > before.confidence:
            R, t = estimate.R.astype(float), estimate.t.astype(float)
            self.found[at] = Row(R.ravel().tolist(), t.tolist(), estimate.confidence)
            self.unsure.discard(at)

    def _found_by_seeking(self, walk: Walk, index: int) -> None:
        """Follow on to the end; what was passed by is walked back into once that is done."""
        self.walks[0] = Walk("follow", walk.target, walk.frames, walk.memory)

    def _end_walks(self) -> None:
        self.walks = [walk for walk in self.walks if walk.frames]
        if not self.walks and not self.closing:
            self.closing = True
            known = {at: row for at, row in self.found.items() if at not in self.unsure}
            self.walks = gaps(self.scenes, self.targets, known)
        if not self.walks and self.config.still and self.settled is None:
            self._settle()
        # more come where lost stretches are walked back into
        self.total_steps = self.done + sum(len(walk.frames) for walk in self.walks)

    def _settle(self) -> None:
        """Solve the arrangement of each piece; what disagrees with it is looked for again."""
        self.settled = {}
        things = {i: Thing.of(self.models[t.model]) for i, t in enumerate(self.targets)}
        for frames in self.scenes:
            seen = [
                Seen(f, i, np.reshape(row.R, (3, 3)), np.array(row.t), row.confidence)
                for f, index in enumerate(frames)
                for i, target in enumerate(self.targets)
                if (row := self.found.get((index, target))) is not None
            ]
            way = lambda a, b, own=frames: self.camera.between(own[a], own[b])  # noqa: E731
            if self.has_depth:
                solved, agree = solve(len(frames), things, seen, way, self.config.weak), AGREE
            else:  # all together know distances better than each image
                solved, agree = solve_colours(things, seen), 0.0
            self.unplaced |= {self.targets[i] for i in solved.unplaced}
            measured = {(s.frame, s.item): (s.R, s.t) for s in seen}
            for (f, i), pose in solved.poses.items():
                at = (frames[f], self.targets[i])
                if at in self._kept:
                    continue
                own = measured.get((f, i))
                if own is None or things[i].apart(own, pose) > agree:
                    self.found.pop(at, None)
                    self.settled[at] = Row(pose[0].ravel().tolist(), pose[1].tolist(), 0.0)
        for target in self.targets:
            again = [i for frames in self.scenes for i in frames if (i, target) in self.settled]
            self.walks.append(Walk("settle", target, again))
        self.walks = [walk for walk in self.walks if walk.frames]

    def _follower(self, model: int) -> DepthFollower | ColourFollower:
        if model not in self._followers:
            one, config = self.models[model], self.config
            self._followers[model] = (
                DepthFollower(
                    ObjectFitter(one, self.objective, config, self.calibration, self.device)
                )
                if self.has_depth
                else ColourFollower(ColourFitter(one, config, self.device, refiner=self.refiner))
            )
        return self._followers[model]
