"""What the teacher believes about the unlabelled frames, and pseudo-poses that checks agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from self6d.datasets.base import FrameKey
from self6d.network.net import PoseNetwork
from self6d.network.outputs import Detections
from self6d.refinement.health import flipped_against_neighbours
from self6d.refinement.refine import Refined
from self6d.stage2.config import AdaptConfig
from self6d.stage2.frame_store import FrameStore


@dataclass
class Beliefs:
    """N objects believed to be in the frames.

    Attributes:
        found: the teacher's detections; `image_index` is the frame's number in the store.
        R: (N, 3, 3), t: (N, 3), metres: the best pose known, refined or the teacher's own.
        trust: (N,) in [0, 1], of that pose; 0 if it was never refined.
        sound: (N,) bool, the pose passed every check of its own.
        kept: (N,) bool, it is learned from: sound, and among its object's most trusted.
    """

    found: Detections
    R: Tensor
    t: Tensor
    trust: Tensor
    sound: Tensor
    kept: Tensor

    @classmethod
    def of(cls, found: Detections) -> Beliefs:
        """Before any refinement."""
        none = torch.zeros(len(found), dtype=torch.bool, device=found.R.device)
        return cls(found, found.R, found.t, found.score * 0, none, none.clone())

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Tensor) -> Beliefs:
        rest = (getattr(self, f.name)[index] for f in fields(self)[1:])
        return Beliefs(self.found[index], *rest)

    @staticmethod
    def cat(parts: Sequence[Beliefs]) -> Beliefs:
        """All of several."""
        names = [f.name for f in fields(Beliefs)[1:]]
        rest = (torch.cat([getattr(p, name) for p in parts]) for name in names)
        return Beliefs(Detections.cat([p.found for p in parts]), *rest)

    def sorted(self) -> Beliefs:
        """By frame, then by object."""
        return self[(self.found.image_index * 10_000 + self.found.object_index).argsort()]

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, masks at half precision, for a checkpoint."""
        found = {f"found.{f.name}": getattr(self.found, f.name) for f in fields(Detections)}
        found["found.mask_logits"] = found["found.mask_logits"].half()
        return found | {f.name: getattr(self, f.name) for f in fields(self)[1:]}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], device: torch.device) -> Beliefs:
        """Inverse of `state`."""
        at = {name: value.to(device) for name, value in state.items()}
        at["found.mask_logits"] = at["found.mask_logits"].float()
        found = Detections(*(at[f"found.{f.name}"] for f in fields(Detections)))
        return cls(found, *(at[f.name] for f in fields(cls)[1:]))


@torch.no_grad()
def look(
    network: PoseNetwork,
    store: FrameStore,
    frames: Sequence[int],
    score: float,
    batch: int = 16,
) -> Detections:
    """The network's best detection of each object in each of the frames, on clean images.

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
        found = network.predict(sensor.images, sensor.K, score_threshold=score)
        number = torch.tensor(chosen, device=found.image_index.device)
        found.image_index = number[found.image_index]
        # a checkpoint holds them so, and a resumed run must see the same numbers
        found.mask_logits = found.mask_logits.half().float()
        parts.append(found)
    return Detections.cat(parts)


def sound_poses(refined: Refined, config: AdaptConfig, has_depth: bool) -> Tensor:
    """(N,) bool: mask, depth and the agreement among starts all speak for the pose."""
    health = refined.health
    sound = (health.mask_iou >= config.keep_iou) & (refined.spread <= config.keep_spread)
    if has_depth:
        sound &= health.depth_inliers.nan_to_num(0.0) >= config.keep_inliers
    return sound


def update(old: Beliefs, new: Beliefs, frames: Sequence[int]) -> Beliefs:
    """Replace what is believed about `frames`; a better trusted older pose is carried over."""
    looked = torch.zeros(
        int(max([*frames, *old.found.image_index.tolist(), 0])) + 1,
        dtype=torch.bool,
        device=old.R.device,
    )
    looked[torch.tensor(list(frames), device=old.R.device)] = True
    same = (new.found.image_index[:, None] == old.found.image_index) & (
        new.found.object_index[:, None] == old.found.object_index
    )
    if len(old) and len(new):
        known, which = same.max(1)
        better = known & (old.trust[which] > new.trust) & old.sound[which]
        for name in ("R", "t", "trust", "sound"):
            now, before = getattr(new, name), getattr(old, name)[which]
            shape = (-1, *[1] * (now.ndim - 1))
            setattr(new, name, torch.where(better.view(shape), before, now))
    rest = (~looked[old.found.image_index]).nonzero()[:, 0]
    return Beliefs.cat([old[rest], new]).sorted()


def choose_kept(
    beliefs: Beliefs, keys: Sequence[FrameKey], symmetries: Tensor, share: float
) -> Beliefs:
    """Mark the poses to learn from: sound, not flipped against neighbours, most trusted.

    Args:
        keys: of the store's frames. symmetries: (M, S, 4, 4) of the objects.
        share: of each object's detections that may be kept.
    """
    scene = torch.tensor([k.scene_id for k in keys], device=beliefs.R.device)
    image = torch.tensor([k.image_id for k in keys], device=beliefs.R.device)
    kept = torch.zeros_like(beliefs.sound)
    for index in beliefs.found.object_index.unique().tolist():
        rows = (beliefs.found.object_index == index).nonzero()[:, 0]
        frame = beliefs.found.image_index[rows]
        place = torch.argsort(scene[frame] * 10_000_000 + image[frame])
        rows, frame = rows[place], frame[place]
        turned = flipped_against_neighbours(
            beliefs.R[rows], scene[frame], image[frame], symmetries[index, :, :3, :3]
        )
        good = beliefs.sound[rows] & ~turned
        trust = torch.where(good, beliefs.trust[rows], torch.zeros_like(beliefs.trust[rows]))
        most = max(1, int(share * len(rows)))
        floor = trust.topk(most).values[-1]
        kept[rows] = good & (trust >= floor)
    beliefs.kept = kept
    return beliefs
