"""Pseudo-labels: what the teacher finds in unlabelled frames, and which of it is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

import self6d.torchvision_guard  # noqa: F401  (before torchvision)
from self6d.datasets.base import FrameKey
from self6d.errors import InputError
from self6d.network.net import PoseNetwork
from self6d.network.outputs import Detections
from self6d.refinement.health import flipped_against_neighbours
from self6d.refinement.refine import Refined
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_store import FrameStore

from torchvision.ops import box_iou  # isort: skip

LEAST_OVERLAP = 0.3  # box IoU of one instance in two looks or in neighbouring frames


@dataclass
class PseudoLabels:
    """N objects that the teacher finds in the frames.

    Attributes:
        detections: the teacher's detections; `image_index` is the frame's number in the store.
        R: (N, 3, 3), t: (N, 3), metres: the best pose known, refined or the teacher's own.
        trust: (N,) in [0, 1], of that pose; 0 if it was never refined.
        sound: (N,) bool, the pose passed every check of its own.
        selected: (N,) bool, it is learned from: sound, and among its object's most trusted.
    """

    detections: Detections
    R: Tensor
    t: Tensor
    trust: Tensor
    sound: Tensor
    selected: Tensor

    @classmethod
    def of(cls, detections: Detections) -> PseudoLabels:
        """Before any refinement."""
        none = torch.zeros(len(detections), dtype=torch.bool, device=detections.R.device)
        return cls(detections, detections.R, detections.t, detections.score * 0, none, none.clone())

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: Tensor) -> PseudoLabels:
        rest = (getattr(self, f.name)[index] for f in fields(self)[1:])
        return PseudoLabels(self.detections[index], *rest)

    @staticmethod
    def cat(parts: Sequence[PseudoLabels]) -> PseudoLabels:
        """All of several."""
        names = [f.name for f in fields(PseudoLabels)[1:]]
        rest = (torch.cat([getattr(p, name) for p in parts]) for name in names)
        return PseudoLabels(Detections.cat([p.detections for p in parts]), *rest)

    def sorted(self) -> PseudoLabels:
        """By frame, then by object, then as they are."""
        return self[self.keys.argsort(stable=True)]

    @property
    def keys(self) -> Tensor:
        """(N,) int64, one number for each object in each frame."""
        return self.detections.image_index * 10_000 + self.detections.object_index

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, masks at half precision, for a checkpoint."""
        detections = {
            f"detections.{f.name}": getattr(self.detections, f.name) for f in fields(Detections)
        }
        detections["detections.mask_logits"] = detections["detections.mask_logits"].half()
        return detections | {f.name: getattr(self, f.name) for f in fields(self)[1:]}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], device: torch.device) -> PseudoLabels:
        """Inverse of `state`."""
        at = {name: value.to(device) for name, value in state.items()}
        at["detections.mask_logits"] = at["detections.mask_logits"].float()
        detections = Detections(*(at[f"detections.{f.name}"] for f in fields(Detections)))
        return cls(detections, *(at[f.name] for f in fields(cls)[1:]))


@torch.no_grad()
def detect(
    network: PoseNetwork,
    store: FrameStore,
    frames: Sequence[int],
    score: float,
    batch: int = 16,
) -> Detections:
    """The network's detections in each of the frames, on clean images.

    Args:
        frames: numbers in the store.

    Returns:
        Detections whose `image_index` is the frame's number, masks at half precision's values.
    """
    parts = []
    batch = max(1, batch // network.config.views)
    for first in range(0, len(frames), batch):
        chosen = list(frames[first : first + batch])
        sensor = store.batch(chosen)
        detections = network.predict(sensor.images, sensor.K, score_threshold=score)
        number = torch.tensor(chosen, device=detections.image_index.device)
        detections.image_index = number[detections.image_index]
        # a checkpoint holds them so, and a resumed run must see the same numbers
        detections.mask_logits = detections.mask_logits.half().float()
        parts.append(detections)
    return Detections.cat(parts)


def sound_poses(refined: Refined, config: AdaptConfig, has_depth: bool) -> Tensor:
    """(N,) bool: mask, depth and the agreement among starts all speak for the pose."""
    health = refined.health
    sound = (health.mask_iou >= config.keep_iou) & (refined.spread <= config.keep_spread)
    if has_depth:
        sound &= health.depth_inliers.nan_to_num(0.0) >= config.keep_inliers
    return sound


def update(old: PseudoLabels, new: PseudoLabels, frames: Sequence[int]) -> PseudoLabels:
    """Replace the pseudo-labels of `frames`; a better trusted older pose is carried over.

    Where an object has several instances in a frame, old and new ones belong together whose boxes
    overlap each other most.
    """
    checked = torch.zeros(
        int(max([*frames, *old.detections.image_index.tolist(), 0])) + 1,
        dtype=torch.bool,
        device=old.R.device,
    )
    checked[torch.tensor(list(frames), device=old.R.device)] = True
    if len(old) and len(new):
        known, which = _same_instances(new, old)
        better = known & (old.trust[which] > new.trust) & old.sound[which]
        for name in ("R", "t", "trust", "sound"):
            now, before = getattr(new, name), getattr(old, name)[which]
            shape = (-1, *[1] * (now.ndim - 1))
            setattr(new, name, torch.where(better.view(shape), before, now))
    rest = (~checked[old.detections.image_index]).nonzero()[:, 0]
    return PseudoLabels.cat([old[rest], new]).sorted()


def _same_instances(new: PseudoLabels, old: PseudoLabels) -> tuple[Tensor, Tensor]:
    """(N,) bool, whether a new pseudo-label has an old one, and (N,) int64, which."""
    same = new.keys[:, None] == old.keys
    overlap = torch.where(same, box_iou(new.detections.box, old.detections.box), -1.0)
    best, which = overlap.max(1)
    mutual = overlap.argmax(0)[which] == torch.arange(len(new), device=which.device)
    alone = (same.sum(1) == 1) & (same.sum(0)[which] == 1)
    return same.any(1) & (alone | (mutual & (best > LEAST_OVERLAP))), which


def instance_tracks(frame: Tensor, order: Tensor, box: Tensor) -> Tensor:
    """Which detections of one object in the frames of one camera path show the same instance.

    An instance goes on where the box of a frame overlaps its last one; the best overlaps first.
    Where each frame has one detection, all are one track.

    Args:
        frame: (N,) int64, number of the frame. order: (N,) int64, its place in time.
        box: (N, 4), pixels.

    Returns:
        (N,) int64, number of the track.
    """
    _, place = frame.unique(return_inverse=True)
    if not len(frame) or int(place.bincount().max()) == 1:
        return torch.zeros_like(frame)
    track = torch.full_like(frame, -1)
    last: list[int] = []  # detection that each track was seen in last
    for moment in order.unique().tolist():
        rows = (order == moment).nonzero()[:, 0]
        overlap = box_iou(box[rows], box[last]) if last else box.new_zeros(len(rows), 0)
        while overlap.numel() and overlap.max() > LEAST_OVERLAP:
            i, k = divmod(int(overlap.argmax()), overlap.shape[1])
            track[rows[i]], last[k] = k, int(rows[i])
            overlap[i], overlap[:, k] = 0.0, 0.0
        for row in rows[track[rows] < 0].tolist():
            track[row] = len(last)
            last.append(row)
    return track


def select_poses(
    pseudo_labels: PseudoLabels, keys: Sequence[FrameKey], symmetries: Tensor, share: float
) -> PseudoLabels:
    """Mark the poses to learn from: sound, not flipped against neighbours, most trusted.

    Args:
        keys: of the store's frames. symmetries: (M, S, 4, 4) of the objects.
        share: of each object's detections that may be selected.
    """
    scene = torch.tensor([k.scene_id for k in keys], device=pseudo_labels.R.device)
    image = torch.tensor([k.image_id for k in keys], device=pseudo_labels.R.device)
    selected = torch.zeros_like(pseudo_labels.sound)
    for index in pseudo_labels.detections.object_index.unique().tolist():
        rows = (pseudo_labels.detections.object_index == index).nonzero()[:, 0]
        frame = pseudo_labels.detections.image_index[rows]
        moment = scene[frame] * 10_000_000 + image[frame]
        track = instance_tracks(frame, moment, pseudo_labels.detections.box[rows])
        # each instance is a sequence of its own
        place = moment.argsort(stable=True)
        place = place[track[place].argsort(stable=True)]
        rows, frame, track = rows[place], frame[place], track[place]
        turned = flipped_against_neighbours(
            pseudo_labels.R[rows],
            track * 1_000_000 + scene[frame],
            image[frame],
            symmetries[index, :, :3, :3],
        )
        good = pseudo_labels.sound[rows] & ~turned
        trust = torch.where(
            good, pseudo_labels.trust[rows], torch.zeros_like(pseudo_labels.trust[rows])
        )
        most = max(1, int(share * len(rows)))
        floor = trust.topk(most).values[-1]
        selected[rows] = good & (trust >= floor)
    pseudo_labels.selected = selected
    return pseudo_labels


def worth_drawing(numbers: Tensor, selected: Tensor, alone: bool) -> tuple[Tensor, Tensor]:
    """Frames (M,) int64 that batches are drawn from, and what of them is drawn, (L,) bool.

    Args: as of `draw_frames`.
    """
    if not selected.any():
        return numbers.unique(), torch.ones_like(selected)
    frames = numbers[selected].unique()
    return frames, selected if alone else torch.isin(numbers, frames)


def draw_frames(
    pseudo_labels: PseudoLabels,
    numbers: Tensor,
    selected: Tensor,
    batch: int,
    most: int,
    generator: torch.Generator,
    *,
    alone: bool = False,
    aside: Sequence[int] = (),
) -> tuple[PseudoLabels, Tensor, Tensor]:
    """Pseudo-labels of a batch of frames.

    They are drawn among those with a selected pose or, where none is, with a detection. All is
    decided on the CPU, so that nothing waits for the device.

    Args:
        numbers: (L,) int64, their frames' numbers. selected: (L,) bool; both on the CPU.
        batch: frames. most: pseudo-labels at most. alone: the selected ones, if there are any,
            without the others in their frames. aside: frames not drawn if there are others.

    Returns:
        N pseudo-labels; their frames' numbers (N,) int64 and the positions (M,) int64 of the
        selected ones among them, both on the CPU.

    Raises:
        InputError: there is no pseudo-label.
    """
    frames, offered = worth_drawing(numbers, selected, alone)
    if len(frames) == 0:
        raise InputError(
            "the network no longer finds any object in the frames",
            remedy="Lower adapt.lr, or train stage 1 longer.",
        )
    others = frames[~torch.isin(frames, torch.tensor(aside, dtype=torch.int64))]
    frames = others if len(others) else frames
    chosen = torch.randperm(len(frames), generator=generator)[:batch]
    rows = (offered & torch.isin(numbers, frames[chosen])).nonzero()[:, 0]
    if len(rows) > most:
        rows = rows[torch.randperm(len(rows), generator=generator)[:most].sort().values]
    drawn = pseudo_labels[rows.to(pseudo_labels.selected.device, non_blocking=True)]
    return drawn, numbers[rows], selected[rows].nonzero()[:, 0]
