"""A first arrangement of a still scene, and cameras in it, from poses of single images alone.

One frame's poses are taken for the arrangement, and every other frame is placed in it by the
object whose pose explains most of the others (a vote, then a few steps of least squares). The frame
that explains most of the recording so decides; objects it does not show join from frames that are
placed, and frames that show only those follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from self6d.tracking.still.views import NOISE, Noise, Views, turned_by

ROOTS = 24  # frames of a stretch tried as the one that decides
GAP = 2  # frames in a row that it does not explain, at which its stretch ends
STEPS = 4  # of least squares a frame is given
PLACED = 1.8  # votes a frame needs: its own guiding object gives one
ROUGH = 3.0  # a single frame's arrangement errs by so many times a pose's noise
VOTERS = 40  # poses of an object that a place for it is looked for among


@dataclass
class Layout:
    """Cameras and objects in one world.

    Attributes:
        camera: frame -> R (3, 3), t (3,), world to camera.
        place: item -> R (3, 3) and its middle (3,) in the world.
    """

    camera: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    place: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def first_layouts(views: Views) -> list[Layout]:
    """Of each stretch in which things stand as they do, the best a single frame gives.

    Frames that nothing explains are absent, and so are items that no frame places.
    """
    rough = NOISE.wider(ROUGH)
    found = []
    waiting = [np.unique(views.frame)] if len(views) else []
    while waiting:
        frames = waiting.pop()
        own = views[np.isin(views.frame, frames)]
        layout = _best_root(own, frames, rough)
        if layout is None:
            continue
        inside = np.array(sorted(layout.camera))
        waiting += [
            part
            for part in (frames[frames < inside[0]], frames[frames > inside[-1]])
            if len(part) > 1
        ]
        own = own[(own.frame >= inside[0]) & (own.frame <= inside[-1])]
        before = (0, 0)
        while before != (len(layout.camera), len(layout.place)):
            before = len(layout.camera), len(layout.place)
            _join(own, layout, rough)
            _place(own, layout, rough)
        found.append(layout)
    return sorted(found, key=lambda layout: min(layout.camera))


def _best_root(views: Views, frames: np.ndarray, noise: Noise) -> Layout | None:
    """The frame whose own arrangement explains most of the frames around it; None: none does."""
    best, most = None, 0.0
    for root in frames[:: -(-len(frames) // ROOTS)].tolist():
        layout = Layout({root: (np.eye(3), np.zeros(3))})
        for row in np.nonzero(views.frame == root)[0]:
            item = int(views.item[row])
            if item not in layout.place:
                layout.place[item] = views.R[row], views.middle[row]
        votes = _place(views, layout, noise)
        run = _around(root, frames, votes)
        total = sum(votes[f] for f in run)
        if total > most:
            best, most = Layout({f: layout.camera[f] for f in [root, *run]}, layout.place), total
    return best


def _around(root: int, frames: np.ndarray, votes: dict[int, float]) -> list[int]:
    """Frames with votes on both sides of a root, until `GAP` in a row have none."""
    at = int(np.searchsorted(frames, root))
    run = []
    for side in (frames[at + 1 :], frames[:at][::-1]):
        missed = 0
        for f in side.tolist():
            missed = 0 if f in votes else missed + 1
            if missed >= GAP:
                break
            if f in votes:
                run.append(f)
    return run


def _place(views: Views, layout: Layout, noise: Noise) -> dict[int, float]:
    """Place frames that are not placed yet -> their votes."""
    known = np.isin(views.item, list(layout.place)) & ~np.isin(views.frame, list(layout.camera))
    rows = np.nonzero(known)[0]
    if not len(rows):
        return {}
    # pairs (guide, other) of the same frame
    frame = views.frame[rows]
    guide, other = np.nonzero(frame[:, None] == frame)
    guides, others = views[rows], views[rows[other]]
    R_of, middle_of = _of(layout, views)
    own, shown = guides.item, others.item
    R = guides.R @ R_of[own].transpose(0, 2, 1)
    t = guides.middle - np.einsum("nij,nj->ni", R, middle_of[own])
    bias = np.zeros(len(others))
    for _ in range(STEPS):
        turned = np.einsum("nij,nj->ni", R[guide], middle_of[shown])
        off = others.off(R[guide] @ R_of[shown], turned + t[guide], bias)
        J = off.by_camera(turned, noise)
        w = np.repeat(np.column_stack(off.believed(noise)) * others.weight[:, None], 3, axis=1)
        r = np.column_stack(off.scaled(noise))
        H, g = np.zeros((len(rows), 6, 6)), np.zeros((len(rows), 6))
        np.add.at(H, guide, np.einsum("nki,nk,nkj->nij", J, w, J))
        np.add.at(g, guide, np.einsum("nki,nk->ni", J, w * r))
        H += np.eye(6) * 1e-3 * np.trace(H, axis1=1, axis2=2)[:, None, None] / 6
        step = -np.linalg.solve(H, g[..., None])[..., 0]
        R, t = turned_by(step[:, :3], R), t + step[:, 3:]
    turned = np.einsum("nij,nj->ni", R[guide], middle_of[shown])
    off = others.off(R[guide] @ R_of[shown], turned + t[guide], bias)
    vote = np.bincount(guide, np.prod(off.believed(noise), 0) * others.weight, len(rows))
    votes = {}
    for f in np.unique(frame).tolist():
        mine = np.nonzero(frame == f)[0]
        top = mine[vote[mine].argmax()]
        if vote[top] >= PLACED * guides.weight[mine].mean():
            layout.camera[f] = R[top], t[top]
            votes[f] = float(vote[top])
    return votes


def _join(views: Views, layout: Layout, noise: Noise) -> None:
    """Give objects without a place the one that most of their poses in placed frames agree on."""
    for item in sorted(set(views.item.tolist()) - set(layout.place)):
        rows = np.nonzero((views.item == item) & np.isin(views.frame, list(layout.camera)))[0]
        if not len(rows):
            continue
        own = views[rows]
        R, t = (
            np.array(x) for x in zip(*[layout.camera[f] for f in own.frame.tolist()], strict=True)
        )
        back = R.transpose(0, 2, 1)
        stand = back @ own.R
        at = np.einsum("nij,nj->ni", back, own.middle - t)
        best, most = 0, -1.0
        for k in range(0, len(rows), -(-len(rows) // VOTERS)):
            off = own.off(R @ stand[k], R @ at[k] + t, np.zeros(len(rows)))
            votes = float(np.sum(np.prod(off.believed(noise), 0) * own.weight))
            if votes > most:
                best, most = k, votes
        layout.place[item] = stand[best], at[best]


def _of(layout: Layout, views: Views) -> tuple[np.ndarray, np.ndarray]:
    """Places as arrays over all items; of those without one, nothing of use."""
    R, middle = np.tile(np.eye(3), (len(views.things), 1, 1)), np.zeros((len(views.things), 3))
    for item, (turn, at) in layout.place.items():
        R[item], middle[item] = turn, at
    return R, middle
