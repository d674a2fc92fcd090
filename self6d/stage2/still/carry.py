"""Pseudo-poses carried to other frames: with depth, the camera's own way is known without them.

In a piece of the recording whose frames follow one another, each object's sound poses vote for one
place. It is carried to every frame of the piece, and learned from where that frame's depth shows
the object there: also where the network sees it elsewhere, turned over, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.events import counted
from self6d.network.outputs import Detections
from self6d.network.roi import moved_boxes, roi_align
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.labelled import mask_boxes
from self6d.stage2.pseudo_labels import PseudoLabels
from self6d.tracking.still.arrangement import AGREE, Rigid, Thing
from self6d.tracking.still.odometry import COMING, STILL, CameraPath, Motion

from torchvision.ops import box_iou  # isort: skip

BRIDGED = 4  # frames back that a frame may be tied to, where the camera's way breaks off
SPREAD = 0.1  # of points that stand still: what they say wrongly, the depth check finds
NEAR_M = 0.015  # metres, within which depth shows what is rendered
SHOWN = 0.3  # share of the rendering that has to be seen, and
THROUGH = 0.15  # share at most that the sensor sees through
PLACED = 0.4  # box IoU of a detection that is of this instance
PADDED = 1.2  # side of a mask's region against that of the rendering
SURE = 6.0  # logit of a mask that is rendered
FEWEST_PIXELS = 30  # that have to be seen
FRAMES_AT_ONCE = 8
OWN = ("R", "t", "trust", "sound")  # fields of pseudo-labels that change


@dataclass(frozen=True)
class Carried:
    """Pseudo-labels with the poses of other frames.

    Attributes:
        labels: rows may be new, or gone where the object is elsewhere in the frame.
        moved: (N,) bool, labels whose pose is carried.
        pieces: the frames of each, by time; a frame whose way is not known is one of its own.
    """

    labels: PseudoLabels
    moved: Tensor
    pieces: tuple[tuple[int, ...], ...]

    def told(self, object_ids: Sequence[int]) -> str:
        """One line for people."""
        long = [piece for piece in self.pieces if len(piece) > 1]
        alone = len(self.pieces) - len(long)
        text = f"the camera's way is known in {counted(len(long), 'stretch', 'stretches')} of "
        text += _span([len(piece) for piece in long]) + " frames"
        text += f", not in {counted(alone, 'frame', 'frames')}" if alone else ""
        count = int(self.moved.sum())
        if not count:
            return f"{text}; no pose is carried, so single frames' poses are learned from"
        text += f"; {count} of {len(self.moved)} poses are carried from other frames"
        frames = self.labels.detections.image_index[self.moved].tolist()
        inside = [len(set(frames) & set(piece)) > 0 for piece in long]
        of = torch.bincount(self.labels.detections.object_index[self.moved].cpu())
        each = (f"object {object_ids[i]}: {n}" for i, n in enumerate(of.tolist()) if n)
        return f"{text}, in {sum(inside)} of the stretches ({', '.join(each)})"


@dataclass(frozen=True)
class _Place:
    """Where an object stands in a piece, and what its poses are trusted, in the mean."""

    item: int
    pose: Rigid
    trust: float


@torch.no_grad()
def carry(
    labels: PseudoLabels, things: Sequence[Thing], store: FrameStore, models: PackedModels
) -> Carried | None:
    """Carry sound poses through the frames of each piece.

    A label whose own pose is sound and agrees with its object's place keeps it. Of the others the
    pose is replaced where the frame's depth shows the object at its place: `SHOWN` of the rendering
    is seen, and the sensor sees through `THROUGH` of it at most.

    Args:
        labels: of single frames. things: in the order of `object_index`. store: with depth.

    Returns:
        the labels by frame, then by object; None where no two frames follow one another.
    """
    order = sorted(range(len(store)), key=lambda i: store.keys[i])
    pieces = _pieces(order, store)
    if all(len(piece) < 2 for piece in pieces):
        return None
    rows: dict[tuple[int, int], list[int]] = {}
    at = zip(labels.detections.image_index.tolist(), labels.detections.object_index.tolist())
    for n, where in enumerate(at):
        rows.setdefault(where, []).append(n)
    found = _Found.of(labels)
    placed = [
        (frame, place, camera.of(*place.pose))
        for piece in pieces
        for place in _places(piece, rows, found, things)
        for frame, camera in piece.items()
    ]
    if not placed:
        return Carried(labels, torch.zeros_like(labels.sound), tuple(map(tuple, pieces)))
    new, shown = _labelled(placed, labels, store, models)
    overlap = _overlap(new, labels)
    out = replace(labels, **{name: getattr(labels, name).clone() for name in OWN})
    moved, gone = torch.zeros_like(labels.sound), torch.zeros_like(labels.sound)
    further: list[int] = []
    for n, (frame, place, pose) in enumerate(placed):
        own = rows.get((frame, place.item), [])
        agrees = [
            k for k in own
            if found.sound[k] and things[place.item].apart(found.pose(k), pose) < AGREE
        ]  # fmt: skip
        if agrees or not shown[n]:
            continue
        here = [k for k in own if overlap[n, k] >= PLACED]
        if here:
            k = max(here, key=lambda k: float(overlap[n, k]))
            out.R[k], out.t[k], out.trust[k] = new.R[n], new.t[n], new.trust[n]
            out.sound[k] = moved[k] = True
        else:
            further.append(n)
            if len(own) == 1:  # what the network sees elsewhere is another thing
                gone[own[0]] = True
    kept = (~gone).nonzero()[:, 0]
    added = new[torch.tensor(further, dtype=torch.int64, device=kept.device)]
    both = PseudoLabels.cat([out[kept], added])
    moved = torch.cat((moved[kept], torch.ones_like(added.sound)))
    place_of = both.keys.argsort(stable=True)
    return Carried(both[place_of], moved[place_of], tuple(map(tuple, pieces)))


def _span(numbers: Sequence[int]) -> str:
    """Such as "10" or "6 to 12"."""
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


@dataclass(frozen=True)
class _Found:
    """Poses of single frames in NumPy."""

    R: np.ndarray
    t: np.ndarray
    trust: np.ndarray
    sound: np.ndarray

    @classmethod
    def of(cls, labels: PseudoLabels) -> _Found:
        R, t, trust = (x.double().cpu().numpy() for x in (labels.R, labels.t, labels.trust))
        return cls(R, t, trust, labels.sound.cpu().numpy())

    def pose(self, row: int) -> Rigid:
        return self.R[row], self.t[row]


def _pieces(order: Sequence[int], store: FrameStore) -> list[dict[int, Motion]]:
    """Frames through which the camera's way is known: frame -> from the piece's first camera."""
    path = CameraPath(lambda place: store.frame(order[place]), SPREAD)
    scene = [store.keys[frame].scene_id for frame in order]
    pieces: list[dict[int, Motion]] = []
    for place, frame in enumerate(order):
        for coming in range(place + 1, min(place + 1 + COMING // 2, len(order))):
            if scene[coming - 1] == scene[coming]:
                path.expect(coming - 1, coming)
        for back in range(1, min(BRIDGED, place) + 1):
            before = order[place - back]
            tied = before in pieces[-1] and scene[place - back] == scene[place]
            motion = path.between(place - back, place) if tied else None
            if motion is not None:
                pieces[-1][frame] = Motion(*motion.of(*_rigid(pieces[-1][before])))
                break
        else:
            pieces.append({frame: STILL})
    return pieces


def _rigid(motion: Motion) -> Rigid:
    return motion.R, motion.t


def _places(
    piece: dict[int, Motion],
    rows: dict[tuple[int, int], list[int]],
    found: _Found,
    things: Sequence[Thing],
) -> Iterator[_Place]:
    """Where objects stand in a piece: the first camera's poses that sound ones vote for.

    There are as many places of an object as a frame has labels of it, at most; all but the first
    need two frames that agree.
    """
    for item, thing in enumerate(things):
        own = [(f, k) for f in piece for k in rows.get((f, item), []) if found.sound[k]]
        most = max((len(rows.get((f, item), [])) for f in piece), default=0)
        stands = {k: piece[f].inverse().of(*found.pose(k)) for f, k in own}
        for number in range(most):
            if not stands:
                break
            near = {
                k: [j for j in stands if thing.apart(stands[k], stands[j]) < AGREE] for k in stands
            }
            best = max(near, key=lambda k: sum(found.trust[j] for j in near[k]))
            members = near[best]
            if number and len(members) < 2:
                break
            R = stands[best][0]
            middle = np.mean([stands[j][0] @ thing.centre + stands[j][1] for j in members], 0)
            trust = float(np.mean([found.trust[j] for j in members]))
            yield _Place(item, (R, middle - R @ thing.centre), trust)
            stands = {k: stand for k, stand in stands.items() if k not in members}


def _labelled(
    placed: Sequence[tuple[int, _Place, Rigid]],
    labels: PseudoLabels,
    store: FrameStore,
    models: PackedModels,
) -> tuple[PseudoLabels, list[bool]]:
    """Labels of carried poses with the boxes and masks that depth leaves of their renderings.

    Returns:
        N labels, and of each whether depth shows it.
    """
    place = labels.R.device
    frame = torch.tensor([f for f, _, _ in placed], device=place)
    index = torch.tensor([p.item for _, p, _ in placed], device=place)
    R, t = (torch.tensor(np.array(x)).to(labels.R) for x in zip(*(p for _, _, p in placed)))
    trust = torch.tensor([p.trust for _, p, _ in placed]).to(labels.trust)
    like = labels.detections.mask_logits
    box, region = R.new_zeros(len(R), 4), R.new_zeros(len(R), 4)
    shown = torch.zeros(len(R), dtype=torch.bool, device=place)
    logits = like.new_zeros(len(R), *like.shape[1:])
    for numbers in frame.unique().split(FRAMES_AT_ONCE):
        at = torch.isin(frame, numbers).nonzero()[:, 0]
        sensor = store.batch(numbers.tolist())
        assert sensor.depth_m is not None
        of = torch.searchsorted(numbers, frame[at])
        view = render(
            R[at], t[at], sensor.K[of], models, store.size, object_index=index[at], soft_mask=False
        )
        depth = sensor.depth_m[of]
        known = view.covered & (depth > 0)
        near = known & ((view.depth_m - depth).abs() < NEAR_M)
        through = known & (depth - view.depth_m > NEAR_M)
        count = known.sum((1, 2)).clamp_min(1)
        in_front = t[at, 2] > 0
        shown[at] = in_front & (near.sum((1, 2)) >= (SHOWN * count).clamp_min(FEWEST_PIXELS))
        shown[at] &= through.sum((1, 2)) <= THROUGH * count
        seen = view.covered & ~(known & (view.depth_m - depth > NEAR_M))
        box[at] = mask_boxes(seen).to(box)
        drawn = mask_boxes(view.covered).to(box)
        region[at] = moved_boxes(drawn, torch.zeros_like(drawn[:, :2]), drawn.new_tensor(PADDED))
        masks = torch.stack((seen, view.covered), 1)[:, : like.shape[1]].float()
        side = like.shape[-2:]
        picked = roi_align(masks, region[at][:, None], None, (side[0], side[1]))
        logits[at] = SURE * (2 * picked - 1).to(like)
    score = torch.ones_like(trust)
    found = Detections(frame, index, score, box, R, t, logits, region)
    sound = torch.ones_like(shown)
    return PseudoLabels(found, R, t, trust, sound, torch.zeros_like(sound)), shown.tolist()


def _overlap(new: PseudoLabels, labels: PseudoLabels) -> Tensor:
    """(N, M), box IoU of carried and own labels, on the CPU."""
    return box_iou(new.detections.box, labels.detections.box).cpu()
