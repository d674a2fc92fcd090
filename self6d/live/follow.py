"""Objects from image to image, by a network that sees colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.datasets.pose_track import TrackState
from self6d.geometry import Camera
from self6d.network import PoseNetwork
from self6d.network.captured import CapturedForward
from self6d.network.outputs import Detections
from self6d.scene import ObjectModel

AGREES = 0.5  # overlap of mask and pose at which a pose is believed without the detector
SAME = 0.5  # centres nearer than this share of the diameter are one thing
MASK_SIDE = 0.5  # probability above which a cell belongs to the object
FLEETING = 3  # what was seen in fewer images and is gone was nothing
FORGOTTEN = 300  # images after which a lost object is no longer listed


@dataclass(frozen=True, eq=False)
class Seen:
    """One object in one image.

    Attributes:
        object_id: BOP number. name: of the object. instance: of several alike, from 0; kept from
            image to image.
        state: tracked, weak (the detector misses it, the pose still fits its mask), lost (no pose)
            or found again.
        confidence: in [0, 1]: the lesser of the detector's last score and of how well the box of
            the predicted mask fits the pose. Not calibrated. 0 where it is lost.
        R: (3, 3), t: (3,), metres, model to camera, of poses that look the same the one turned
            least from the last; box: (4,) x0 y0 x1 y1, pixels; None where lost.
        detected: whether the detector found it in this image.
    """

    object_id: int
    name: str
    instance: int
    state: TrackState
    confidence: float
    R: np.ndarray | None = None
    t: np.ndarray | None = None
    box: np.ndarray | None = None
    detected: bool = False


@dataclass
class _Thing:
    """One object that was seen once."""

    index: int
    instance: int
    score: float
    R: np.ndarray
    t: np.ndarray
    before: tuple[np.ndarray, np.ndarray] | None = None
    lost: bool = False
    sightings: int = 0
    missed: int = 0

    @property
    def over(self) -> bool:
        """Whether it need not be listed any more."""
        return self.lost and (self.sightings < FLEETING or self.missed > FORGOTTEN)

    def guess(self) -> tuple[np.ndarray, np.ndarray]:
        """Where it is next if it goes on as it did."""
        if self.before is None or self.lost:
            return self.R, self.t
        R0, t0 = self.before
        return self.R @ R0.T @ self.R, 2 * self.t - t0

    def saw(self, R: np.ndarray, t: np.ndarray) -> None:
        self.before = None if self.lost else (self.R, self.t)
        self.R, self.t, self.lost = R, t, False
        self.sightings, self.missed = self.sightings + 1, 0


class Follower:
    """Detects objects, and between detections looks again where they should be by now.

    The detector looks at every `every`-th image, and at each one while an object is lost, none is
    known, or a mask does not fit. In between, and at what the detector misses, the pose branches
    alone look at the regions in which things are expected.

    Args:
        network: in evaluation mode. models: in its order.
        score: lowest score of a detection. every: images from one detection to the next.
    """

    def __init__(
        self,
        network: PoseNetwork,
        models: Sequence[ObjectModel],
        device: torch.device | str = "cpu",
        *,
        score: float = 0.3,
        every: int = 1,
    ) -> None:
        self.network, self.models, self.device = network, list(models), torch.device(device)
        self._forward = CapturedForward(network)
        self.score, self.every = score, every
        self._corners = [_corners(model) for model in models]
        self._channel = 1 if network.config.amodal_mask else 0
        self.things: list[_Thing] = []
        self._since = 0

    @torch.no_grad()
    def __call__(self, rgb: np.ndarray, camera: Camera) -> list[Seen]:
        """What is in the next image, lost objects included.

        Args:
            rgb: (H, W, 3) uint8, without distortion.
        """
        images = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)
        K = torch.tensor(camera.K, dtype=torch.float32, device=self.device)[None]
        given = images.permute(2, 0, 1)[None].float() / 255
        images, K, grow = self.network.as_trained(given, K)
        factor = np.ones(4) if grow is None else grow.cpu().double().numpy()
        known = [thing for thing in self.things if not thing.lost]
        looks: dict[int, Look] = {}
        due = self._since + 1 >= self.every or len(known) < len(self.things) or not known
        if not due:
            looks = self._look(known, images, K)
            due = any(look.fits < AGREES for look in looks.values())
        self._since = 0 if due else self._since + 1
        found = self._detect(images, K) if due else {}
        if due and not looks:  # at what the detector misses
            looks = self._look([t for t in known if id(t) not in found], images, K)
        rows = []
        for thing in self.things:
            look = found.get(id(thing))
            detected = look is not None
            look = look or looks.get(id(thing))
            rows.append(self._row(thing, look, detected, due, factor))
        self.things = [thing for thing in self.things if not thing.over]
        return rows

    def _row(
        self, thing: _Thing, look: Look | None, detected: bool, asked: bool, factor: np.ndarray
    ) -> Seen:
        """A thing brought up to date with what was seen of it, as others read it."""
        model = self.models[thing.index]
        who = (model.object_id, model.name, thing.instance)
        if look is None or (not detected and look.fits < AGREES):
            thing.lost, thing.before, thing.missed = True, None, thing.missed + 1
            return Seen(*who, TrackState.LOST, 0.0)
        state = TrackState.FOUND_AGAIN if thing.lost else TrackState.TRACKED
        if asked and not detected:
            state = TrackState.WEAK
        R, t = look.R, look.t
        if thing.sightings:  # poses that look the same are one: it goes on as the one it was
            R, t = model.symmetry.nearest(R, t, thing.R)
        thing.saw(R, t)
        thing.score = look.score if detected else thing.score
        confidence = min(thing.score, look.fits)
        return Seen(*who, state, confidence, R, t, look.box * factor, detected)

    def _detect(self, images: Tensor, K: Tensor) -> dict[int, Look]:
        """What the detector finds, by the thing it is; new things are taken up."""
        seen = self._forward.predict(images, K, score_threshold=self.score)
        free = list(self.things)
        found: dict[int, Look] = {}
        for look in self._judged(seen, K, images.shape[-2:]):
            same = [t for t in free if t.index == look.index]
            near = [t for t in same if not t.lost and self._apart(t, look) < SAME]
            gone = [t for t in same if t.lost]
            taken = sorted(near, key=lambda t: self._apart(t, look)) or gone
            if taken:
                thing = taken[0]
                free.remove(thing)
            elif len(same) and self._most() == 1:
                thing = same[0]  # it has jumped: there is but one
                thing.before = None
                free.remove(thing)
            else:
                used = {t.instance for t in self.things if t.index == look.index}
                if len(used) >= self._most():
                    continue
                number = next(i for i in range(len(used) + 1) if i not in used)
                thing = _Thing(look.index, number, look.score, look.R, look.t)
                self.things.append(thing)
            found[id(thing)] = look
        return found

    def _most(self) -> int:
        return self.network.config.instances

    def _apart(self, thing: _Thing, look: Look) -> float:
        """How far what is seen is from where a thing is expected, diameters."""
        model = self.models[thing.index]
        centre = self._corners[thing.index].mean(0)
        R, t = thing.guess()
        return float(np.linalg.norm((R @ centre + t) - (look.R @ centre + look.t)) / model.diameter)

    def _look(self, things: Sequence[_Thing], images: Tensor, K: Tensor) -> dict[int, Look]:
        """Poses of things from the regions in which they are expected, by `id` of the thing."""
        if not things:
            return {}
        K_np, size = K[0].double().cpu().numpy(), images.shape[-2:]
        boxes = np.array([_box(self._corners[t.index], *t.guess(), K_np, size) for t in things])
        index = torch.tensor([t.index for t in things], device=self.device)
        where = torch.tensor(boxes, dtype=torch.float32, device=self.device)
        seen = self._forward.poses_for_boxes(images, K, where, index)
        return dict(zip(map(id, things), self._judged(seen, K, size), strict=True))

    def _judged(self, seen: Detections, K: Tensor, size: Sequence[int]) -> list[Look]:
        """Detections with how well their masks fit their poses."""
        inside = seen.mask_logits[:, self._channel].sigmoid() > MASK_SIDE
        rows, columns = inside.any(2), inside.any(1)
        parts = (
            seen.R.flatten(1), seen.t, seen.score[:, None], seen.roi_box,
            seen.object_index[:, None], rows, columns, K.flatten(1).expand(len(inside), -1),
        )  # fmt: skip
        # all in one: each copy from a GPU waits for it
        together = torch.cat([part.float() for part in parts], 1).double().cpu().numpy()
        R, t, score, region, number, rows_np, columns_np, K_np = np.split(
            together, np.cumsum([part.shape[1] for part in parts])[:-1], axis=1
        )
        looks = []
        for i, index in enumerate(number[:, 0].astype(int).tolist()):
            turn = R[i].reshape(3, 3)
            box = _box(self._corners[index], turn, t[i], K_np[i].reshape(3, 3), size)
            mask = _mask_box(rows_np[i] > 0, columns_np[i] > 0, region[i], size)
            looks.append(Look(index, float(score[i, 0]), turn, t[i], box, _overlap(box, mask)))
        return looks


@dataclass(frozen=True, eq=False)
class Look:
    """A pose, and how well the mask seen with it fits; box in pixels of the network's image."""

    index: int
    score: float
    R: np.ndarray
    t: np.ndarray
    box: np.ndarray
    fits: float


def _corners(model: ObjectModel) -> np.ndarray:
    low, high = model.extents
    unit = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return np.where(unit, high, low).astype(np.float64)


def _box(
    corners: np.ndarray, R: np.ndarray, t: np.ndarray, K: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Box of the projected corners inside the image; empty where it is behind the camera."""
    points = (corners @ R.T + t) @ K.T
    if (points[:, 2] < 1e-3).any():
        return np.zeros(4)
    uv = points[:, :2] / points[:, 2:]
    limit = np.array([size[1], size[0]], np.float64)
    low, high = uv.min(0).clip(0, limit), uv.max(0).clip(0, limit)
    return np.concatenate((low, high))


def _mask_box(
    in_row: np.ndarray, in_column: np.ndarray, region: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Box inside the image of a mask over a region; (S,) bool, the rows and columns it is in."""
    rows, columns = np.flatnonzero(in_row), np.flatnonzero(in_column)
    if not len(rows):
        return np.zeros(4)
    share = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / len(in_row)
    sides = np.tile(region[2:] - region[:2], 2)
    limit = np.array([size[1], size[0]] * 2, np.float64)
    return (np.tile(region[:2], 2) + share * sides).clip(0, limit)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes; 0 where one is empty."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float((high - low).clip(0).prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared
    return shared / union if union > 0 else 0.0
