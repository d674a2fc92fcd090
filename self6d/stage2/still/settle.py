"""Pseudo-poses of all frames solved together, where for stretches nothing but the camera moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from self6d.events import counted
from self6d.network.roi import masks_in_regions
from self6d.rendering import render
from self6d.rendering.models import PackedModels
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.pseudo_labels import PseudoLabels
from self6d.tracking.still.arrangement import Seen, Thing
from self6d.tracking.still.parallax import StillScene, solve_still

HEIGHT = 240  # pixels that masks are compared at
FRAMES_AT_ONCE = 8
KNOWN = 10  # poses of an object that agree, before its bias is believed


@dataclass(frozen=True)
class Settled:
    """Pseudo-labels with the poses that all frames give together.

    Attributes:
        labels: R, t, trust and sound are new where `moved`.
        moved: (N,) bool, labels whose pose is the solved one.
        scene: what was solved; frames are counted in time.
    """

    labels: PseudoLabels
    moved: Tensor
    scene: StillScene

    def told(self, object_ids: Sequence[int]) -> str:
        """One line for people."""
        scene, count = self.scene, int(self.moved.sum())
        if not count:
            return (
                "poses of different frames agree nowhere on where objects stand, so single "
                "frames' poses are learned from"
            )
        text = f"{count} of {len(self.moved)} poses are solved together, in "
        text += counted(len(scene.pieces), "stretch", "stretches") + " of the recording"
        moving = sorted({object_ids[item] for _, item in scene.moving})
        if moving:
            text += "; moving, or put elsewhere at times: objects " + ", ".join(map(str, moving))
        return text


@torch.no_grad()
def settle(
    labels: PseudoLabels,
    things: Sequence[Thing],
    store: FrameStore,
    models: PackedModels,
    keep_iou: float,
) -> Settled:
    """Solve the arrangement and put its poses in the place of single frames'.

    A pose that agrees gives way to the solved one, which is sound if the predicted mask lies within
    the rendering. A pose that does not agree gives way if the rendering at the solved pose fills
    the mask, other objects in front taken away; else it is not learned from where its object stands
    still. With depth, sound poses that agree stay as they are. Without, poses that stay take back
    the bias that the distances of their object have (`StillScene.bias`).

    Args:
        labels: of single frames. things: in the order of `object_index`.
        keep_iou: share of the mask within the rendering, or overlap, that is enough.
    """
    order = sorted(range(len(store)), key=lambda i: store.keys[i])
    time = {frame: place for place, frame in enumerate(order)}
    detected = labels.detections
    frames = [time[f] for f in detected.image_index.tolist()]
    where = list(zip(frames, detected.object_index.tolist(), strict=True))
    R, t = labels.R.double().cpu().numpy(), labels.t.double().cpu().numpy()
    trust = labels.trust.cpu().numpy()
    seen = [Seen(f, i, R[n], t[n], float(trust[n])) for n, (f, i) in enumerate(where)]
    scene = solve_still(dict(enumerate(things)), seen)
    agreeing = {where[n] for n in np.nonzero(scene.agrees)[0]}
    solved = np.array([at in scene.poses for at in where], bool)
    rival = np.array([at in agreeing for at in where], bool)
    chosen = solved & (scene.agrees | ~rival)
    if store.has_depth:
        chosen &= ~(scene.agrees & labels.sound.cpu().numpy())
    rows = torch.from_numpy(np.nonzero(chosen)[0]).to(labels.R.device)
    if not len(rows):
        return Settled(labels, torch.zeros_like(labels.sound), scene)
    if not store.has_depth:
        labels = replace(labels, t=_unbiased(labels, scene, things))
    poses = [scene.poses[where[n]] for n in rows.tolist()]
    new = labels[rows]
    new.R = torch.from_numpy(np.array([p[0] for p in poses])).to(labels.R)
    new.t = torch.from_numpy(np.array([p[1] for p in poses])).to(labels.t)
    inside, overlap = _filled(new, store, models)
    agrees = torch.from_numpy(scene.agrees).to(rows.device)[rows]
    sound = torch.where(agrees, inside, overlap) >= keep_iou
    kept = agrees | sound  # of the others the own pose is left, and not learned from
    changed = {name: getattr(labels, name).clone() for name in ("R", "t", "trust", "sound")}
    out = replace(labels, **changed)
    out.sound[torch.from_numpy(solved & ~scene.agrees & ~rival).to(rows.device)] = False
    at = rows[kept]
    out.R[at], out.t[at] = new.R[kept], new.t[kept]
    out.trust[at] = torch.where(agrees, inside, overlap)[kept].to(out.trust)
    out.sound[at] = sound[kept]
    moved = torch.zeros_like(labels.sound)
    moved[at] = True
    return Settled(out, moved, scene)


def _unbiased(labels: PseudoLabels, scene: StillScene, things: Sequence[Thing]) -> Tensor:
    """Translations, (N, 3), with each object's middle moved along its ray by the known bias."""
    items = labels.detections.object_index.cpu().numpy()
    agreeing = np.bincount(items[scene.agrees], minlength=len(things))
    known = {i: b for i, b in scene.bias.items() if agreeing[i] >= KNOWN}
    shrink = np.array([math.exp(-known.get(i, 0.0)) for i in range(len(things))])[items]
    centre = labels.t.new_tensor(np.array([thing.centre for thing in things]))[
        labels.detections.object_index
    ]
    turned = (labels.R @ centre[:, :, None])[:, :, 0]
    return (turned + labels.t) * labels.t.new_tensor(shrink)[:, None] - turned


def _filled(labels: PseudoLabels, store: FrameStore, models: PackedModels) -> tuple[Tensor, Tensor]:
    """Share of the predicted mask within the rendering, and its overlap with what shows of that.

    What shows is nearer than the other labels' renderings. Both (N,).
    """
    inside, overlap = torch.zeros_like(labels.trust), torch.zeros_like(labels.trust)
    frames = labels.detections.image_index
    height, width = store.size
    scale = min(1.0, HEIGHT / height)
    size = (round(scale * height), round(scale * width))
    for numbers in frames.unique().split(FRAMES_AT_ONCE):
        rows = torch.isin(frames, numbers).nonzero()[:, 0]
        part, place = labels[rows], torch.searchsorted(numbers, frames[rows])
        K = store.batch(numbers.tolist()).K[place]
        K = K * K.new_tensor([size[1] / width, size[0] / height, 1.0])[:, None]
        view = render(
            part.R, part.t, K, models, size, object_index=part.detections.object_index,
            soft_mask=False,
        )  # fmt: skip
        whole = part.detections.box.new_tensor([0, 0, width, height]).expand(len(rows), 4)
        mask = masks_in_regions(part.detections, whole, size)[:, 0] >= 0.5
        depth = torch.where(view.covered, view.depth_m, torch.inf)
        nearest = depth.new_full((len(numbers), *size), torch.inf)
        nearest = nearest.scatter_reduce(0, place[:, None, None].expand_as(depth), depth, "amin")
        drawn = view.covered & (depth <= nearest[place])
        count = mask.sum((1, 2)).clamp_min(1)
        inside[rows] = (mask & view.covered).sum((1, 2)).to(inside) / count
        either = (mask | drawn).sum((1, 2)).clamp_min(1)
        overlap[rows] = (mask & drawn).sum((1, 2)).to(inside) / either
    return inside, overlap
