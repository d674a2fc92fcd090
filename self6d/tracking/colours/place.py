"""A track that followed the depth, put where the colours have it.

In recordings whose depth is registered badly, or taken at another instant, both lie apart by
pixels. What learns from a track, and what is drawn over an image, needs the colours' side. Where
the frames as a whole, as the doctor looks at them, do not say that they lie apart, every pose stays
as it is, to the last bit: shadows lie beside a thing as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from self6d.datasets import FrameKey, UnlabelledFrames
from self6d.datasets.pose_track import TrackedPose
from self6d.doctor.beside import frame_shift, lies_beside
from self6d.doctor.frames import spread
from self6d.geometry import Pose
from self6d.scene import Frame, ObjectModel
from self6d.tracking.colours.measure import Beside, beside
from self6d.tracking.colours.polish import Laid, agreement, lay_on_colours
from self6d.tracking.colours.pooled import NEIGHBOURS, pooled
from self6d.tracking.colours.region import PackedThing

LOOKED_AT = 32  # frames of which it is asked whether depth lies beside the colours at all
EVERY = 4  # frames: of a track that lies right, so many are looked at closely
GAIN = 0.1  # of agreement, for which a pose is laid onto the colours; see `Laid`
SHIFT_GAIN = 0.05  # for which it is shifted, and for which it is laid on after that
FARTHEST = 0.15  # diameters, and
TURNED = 0.2  # radians by which a pose may be moved: farther is another edge
TOLD = 1.0  # pixels from which on it is told
FEWEST, SHARE = 3, 0.05  # poses of a track, and part of it: fewer that would move are misled

Row = tuple[FrameKey, int, int]
"""Frame, object and instance."""


@dataclass(frozen=True)
class Placed:
    """Where one pose was put.

    Attributes:
        pixels: how far its middle moved in the image. pose: the new one.
    """

    row: TrackedPose
    pixels: float
    pose: Pose


@dataclass(frozen=True)
class _Look:
    """What a close look at a frame gives: how much better a shift, and a laid pose, agree."""

    shifted: float
    laid: float
    best: Laid


def onto_colours(
    frames: UnlabelledFrames,
    poses: Sequence[TrackedPose],
    models: Sequence[ObjectModel],
    *,
    sure: float,
    leave: Collection[Row] = (),
    device: torch.device | str = "cpu",
    at: Callable[[int, int], None] = lambda done, total: None,
    stopping: Callable[[], bool] = lambda: False,
) -> list[Placed] | None:
    """What of a track is to be moved, and where to.

    Args:
        sure: confidence below which poses say nothing of where the colours are.
        leave: poses that stand.
        at: told how many of how many scenes and objects are done. stopping: asked between them.

    Returns:
        those that move, all others stay; None: stopped.
    """
    place = {key: i for i, key in enumerate(frames.keys)}
    by_id = {model.object_id: model for model in models}
    tracks: dict[tuple[int, int, int], list[TrackedPose]] = {}
    for row in sorted(poses, key=lambda p: p.key):
        if row.pose is not None and row_of(row) not in leave:
            tracks.setdefault((row.key.scene_id, row.object_id, row.instance), []).append(row)
    found: list[Placed] = []
    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="colours") as threads:
        if _lies_beside(frames, (row for rows in tracks.values() for row in rows), threads) is None:
            return []
        for done, ((_, object_id, _), rows) in enumerate(tracks.items()):
            at(done, len(tracks))
            if stopping():
                return None
            thing = PackedThing(by_id[object_id], device)
            moved = list(_Track(thing, frames, place, rows, sure, threads).placed())
            if len(moved) >= max(min(FEWEST, len(rows)), SHARE * len(rows)):
                found += moved
    return found


def _lies_beside(
    frames: UnlabelledFrames, rows: Iterable[TrackedPose], threads: ThreadPoolExecutor
) -> str | None:
    """In words, how depth lies beside the colours in some poses' frames; None: it does not."""
    place = {key: i for i, key in enumerate(frames.keys)}
    known = sorted({place[row.key] for row in rows})
    asked = [known[i] for i in spread(len(known), LOOKED_AT)] if known else []
    seen = threads.map(lambda i: frame_shift(frames[i]), asked)
    return lies_beside([s for s in seen if s is not None])


def left_on_depth(
    frames: UnlabelledFrames,
    poses: Sequence[TrackedPose],
    placed: Sequence[Placed],
    models: Sequence[ObjectModel],
) -> list[str]:
    """In words, of which objects no pose was moved though depth lies beside the colours."""
    moved = {p.row.object_id for p in placed}
    left = [p for p in poses if p.pose is not None and p.object_id not in moved]
    if not left:
        return []
    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="colours") as threads:
        how = _lies_beside(frames, left, threads)
    if how is None:
        return []
    names = {model.object_id: model.name for model in models}
    return [
        f"{names[i]}: {how}; its own outline does not say surely by how much at it: its poses "
        "follow the depth, and may lie as far beside it in the image"
        for i in sorted({p.object_id for p in left})
    ]


def row_of(row: TrackedPose) -> Row:
    """What tells a pose from all others of a track."""
    return row.key, row.object_id, row.instance


def described(placed: Sequence[Placed], models: Sequence[ObjectModel]) -> list[str]:
    """In words, by object: how far colours lay beside the depth, and in which images."""
    names = {model.object_id: model.name for model in models}
    texts = []
    for object_id in sorted({p.row.object_id for p in placed}):
        own = [p for p in placed if p.row.object_id == object_id and p.pixels >= TOLD]
        if not own:
            continue
        most = max(p.pixels for p in own)
        texts.append(
            f"{names[object_id]}: the colours lie up to {most:.1f} pixels beside the depth "
            f"(images {_ranges([p.row.key for p in own])}); its poses follow the colours in the "
            "image and the depth in distance"
        )
    return texts


def _ranges(keys: Sequence[FrameKey]) -> str:
    """Image numbers as "3 to 8, 20"; those at most ten apart are told as one stretch."""
    ids = sorted({key.image_id for key in keys})
    ends = [i for i, (a, b) in enumerate(pairwise(ids)) if b - a > 10]
    parts = np.split(np.array(ids), np.array(ends, int) + 1)
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


def _in_frames(images: Sequence[int]) -> list[float]:
    """Image numbers in frames: those of every fifth of a film are five apart."""
    apart = float(np.median(np.diff(images))) if len(images) > 1 else 1.0
    return [image / apart for image in images]


class _Track:
    """One object through one scene; frames by their place in `rows`."""

    def __init__(
        self, thing: PackedThing, frames: UnlabelledFrames, place: dict[FrameKey, int],
        rows: list[TrackedPose], sure: float, threads: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.thing, self.frames, self.rows = thing, frames, rows
        self._place, self._sure, self._threads = place, sure, threads
        self._times = _in_frames([row.key.image_id for row in rows])
        self._K: dict[int, np.ndarray] = {}
        self._shifts = np.zeros((len(rows), 2))
        self._looks: dict[int, _Look] = {}

    def placed(self) -> Iterator[Placed]:
        """What moves."""
        known = [i for i, row in enumerate(self.rows) if row.confidence >= self._sure]
        said = dict(zip(known, self._threads.map(self._beside, known), strict=True))
        self._shifts = pooled(self._times, [said.get(i) for i in range(len(self.rows))])
        self._look_at(i for i in known if self._shifts[i].any() or i % EVERY == 0)
        laid = {i for i in known if self._gain(i, "laid") >= self._asked(i)}
        self._look_at(i for i in laid if i not in self._looks)
        for i, row in enumerate(self.rows):
            look = self._looks.get(i)
            if look is not None and i in laid and look.laid > 0 and self._near(row, look.best):
                yield self._moved(i, Pose(look.best.R, look.best.t))
            elif look is not None and look.shifted <= 0:
                continue  # its neighbours' shift is not its own
            elif self._shifts[i].any() and self._gain(i, "shifted") >= SHIFT_GAIN:
                yield self._moved(i, self._shifted(i))

    def _asked(self, i: int) -> float:
        return SHIFT_GAIN if self._shifts[i].any() else GAIN

    def _look_at(self, which: Iterable[int]) -> None:
        chosen = list(which)
        for i, look in zip(chosen, self._threads.map(self._looked, chosen), strict=True):
            if look is not None:
                self._looks[i] = look

    def _gain(self, i: int, how: str) -> float:
        """In the median of the frames near by: a single one may be misled."""
        near = [
            getattr(look, how)
            for j, look in self._looks.items()
            if abs(self._times[j] - self._times[i]) <= NEIGHBOURS
        ]
        return float(np.median(near)) if near else 0.0

    def _frame(self, i: int) -> Frame:
        frame = self.frames[self._place[self.rows[i].key]]
        self._K[i] = frame.camera.K
        return frame

    def _beside(self, i: int) -> Beside | None:
        pose = self.rows[i].pose
        assert pose is not None
        region = self.thing.region(self._frame(i), pose)
        return None if region is None else beside(region, pose.R_m2c, pose.t_m2c, self.thing.packed)

    def _looked(self, i: int) -> _Look | None:
        pose, shift, thing = self.rows[i].pose, self._shifts[i], self.thing
        assert pose is not None
        region = thing.region(self._frame(i), pose)
        if region is None:
            return None
        models, painted = thing.packed, thing.painted
        as_is = agreement(region, pose.R_m2c, pose.t_m2c, models, painted=painted)
        better, at = as_is, pose
        if as_is is not None and shift.any():
            shifted = self._shifted(i)
            region_there = region.moved(shift)
            there = agreement(region_there, shifted.R_m2c, shifted.t_m2c, models, painted=painted)
            if there is not None and there > as_is:
                region, better, at = region_there, there, shifted
        if as_is is None or better is None:
            return None
        best = lay_on_colours(region, at.R_m2c, at.t_m2c, models, thing.centre, painted=painted)
        if best is None:
            return None
        return _Look(better - as_is, best.agreement - better, best)

    def _shifted(self, i: int) -> Pose:
        """As if its depth were moved: by so many pixels at its distance."""
        pose = self.rows[i].pose
        assert pose is not None
        K = self._K[i] if i in self._K else self._frame(i).camera.K
        z = float((pose.R_m2c @ self.thing.centre + pose.t_m2c)[2])
        way = self._shifts[i] * z / K[[0, 1], [0, 1]]
        return Pose(pose.R_m2c, pose.t_m2c + np.array([*way, 0.0]))

    def _near(self, row: TrackedPose, laid: Laid) -> bool:
        """Whether a laid pose is still the same thing's."""
        assert row.pose is not None
        turn = np.arccos(np.clip((np.trace(laid.R @ row.pose.R_m2c.T) - 1) / 2, -1, 1))
        moved = (laid.R - row.pose.R_m2c) @ self.thing.centre + laid.t - row.pose.t_m2c
        return bool(turn < TURNED and np.linalg.norm(moved) < FARTHEST * self.thing.diameter)

    def _moved(self, i: int, pose: Pose) -> Placed:
        row, K = self.rows[i], self._K[i]
        assert row.pose is not None
        points = [K @ (p.R_m2c @ self.thing.centre + p.t_m2c) for p in (row.pose, pose)]
        before, after = (point[:2] / point[2] for point in points)
        return Placed(row, float(np.linalg.norm(after - before)), pose)
