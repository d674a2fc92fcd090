"""The coarse search around poses, `coarse.search_near`, on tensors: on a GPU as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.cuda_graph import Recorded
from self6d.geometry import axis_angle_to_matrix
from self6d.layers.usable import usable
from self6d.losses.color import rgb_to_ab
from self6d.refinement.regions import RegionCrops
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import TWIST, Candidates
from self6d.tracking.kernels import GOES_ON, SHAPE
from self6d.tracking.points import COLOR_SCALE, ModelPoints


class PointTensors:
    """`ModelPoints` as tensors on a device."""

    def __init__(self, model: ModelPoints, device: torch.device | str) -> None:
        def put(x: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(x)).to(device)

        self.points, self.ab, self.directions = (
            put(x) for x in (model.points, model.ab, model.directions)
        )
        self.seen, self.rim, self.beyond = (put(x) for x in (model.seen, model.rim, model.beyond))
        self.centre, self.use_color = put(model.centre), model.use_color
        self.same = put(model.same.reshape(-1, 9))

    def score(
        self, view: TensorView, R: Tensor, t: Tensor, margin_m: float, count: int | None = None
    ) -> Tensor:
        """`points.score_poses` of poses (N, 3, 3) and (N, 3): (N,)."""
        place = R @ self.centre + t
        towards = -(place[:, None] @ R)[:, 0]  # the camera as the model sees it
        side = (towards @ self.directions.T).argmax(1)
        seen = self.seen[side, :count]
        sensor, z, pixel = view.at(self.points[:count] @ R.mT + t[:, None])
        gap = (sensor - z) / margin_m
        value = (1 - gap.square()).clamp_min(0)
        if self.use_color and view.painted:
            apart = (view.ab[pixel] - self.ab[:count]).abs().sum(-1)
            value = value * (SHAPE + (1 - SHAPE) * (-apart / COLOR_SCALE).exp())
        value = torch.where(gap > 2, -(gap - 2).clamp_max(1), value)
        total = (value * (seen & (sensor > 0))).sum(1)
        sensor, z, _ = view.at(self.rim[side] @ R.mT + t[:, None])
        beside, gap, more = sensor > 0, sensor - z, self.beyond[side]
        on = (gap > more.clamp_max(0) - 1.5 * margin_m) & (gap < more.clamp_min(0) + 1.5 * margin_m)
        goes_on = (beside & on).sum(1) / beside.sum(1).clamp_min(1)
        score = total / seen.sum(1).clamp_min(1) - GOES_ON * goes_on
        return torch.where(place[:, 2] < 0.02, -1.0, score)

    def away(self, R: Tensor, t: Tensor, home: tuple[Tensor, Tensor], diameter: float) -> Tensor:
        """What `coarse.Home` counts for poses (N, 3, 3) and (N, 3): (N,), before its pull."""
        expected = home[0] @ self.centre + home[1]
        shift = (R @ self.centre + t - expected[:, None]).norm(dim=-1) / diameter
        between = (R.mT @ home[0][:, None]).flatten(-2) @ self.same.T
        turn = (1 - (between.amax(-1) - 1) / 2) / 2
        return (shift + TWIST * turn).amin(0)


@dataclass
class TensorView:
    """`points.View` as tensors.

    Attributes:
        depth_m: (h w,). ab: (h w, 2). K: (3, 3), pixels. size: (h, w). painted: see `View`.
    """

    depth_m: Tensor
    ab: Tensor
    K: Tensor
    size: tuple[int, int]
    painted: bool

    def at(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth where points (N, P, 3) are seen, 0 outside; their own; and the pixel's number."""
        (x, y, z), (height, width), K = points.unbind(-1), self.size, self.K
        u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
        v = K[1, 1] * y / z + K[1, 2]
        inside = (z >= 0.01) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
        pixel = torch.where(inside, v.floor() * width + u.floor(), 0.0).long()
        return torch.where(inside, self.depth_m[pixel], 0.0), z, pixel


@dataclass(frozen=True)
class NearSettings:
    """How far around poses is looked, as in `ObjectFitter.near`.

    Attributes:
        candidates: a round. turn: radians. shift_m, margin_m, diameter: metres. pull: see `Home`.
        sweep: how many times as far shifted poses are looked for first, and `sweep_turn`, turned.
    """

    candidates: int
    turn: float
    shift_m: float
    margin_m: float
    diameter: float
    pull: float
    sweep: float
    sweep_turn: float
    parents: int = 24

    @property
    def rounds(self) -> tuple[int, int]:
        """Of the sweep and of the search after it."""
        return 2, 6


class NearSearch:
    """Searches around poses in frames, `painted` or not.

    Args:
        model: its points. device: of the frames.
        around: the region that is searched, see `ModelRegions.around`. size: its side, pixels.
    """

    def __init__(
        self, model: ModelPoints, device: torch.device | str,
        around: Callable[..., RegionCrops], size: int,
    ) -> None:  # fmt: skip
        self.points = PointTensors(model, device)
        self._around, self._size = around, size
        self._recorded: dict[tuple[NearSettings, bool], Recorded] = {}

    def __call__(
        self, sensor: FrameBatch, painted: bool, R: np.ndarray, t: np.ndarray,
        rng: np.random.Generator, settings: NearSettings,
    ) -> Candidates:  # fmt: skip
        """Best poses first, as two `search_near` with the same numbers drawn from `rng`.

        Args:
            sensor: one frame with depth. R: (N, 3, 3). t: (N, 3), metres: around these.
        """
        assert sensor.depth_m is not None
        key = settings, painted
        if key not in self._recorded:
            self._recorded[key] = Recorded(
                lambda *inputs: self._searched(settings, painted, *inputs)
            )
        drawn = [
            rng.standard_normal((settings.candidates * (1 if level else 3), 6), np.float32)
            for rounds in settings.rounds
            for level in range(rounds)
        ]
        noise, R, t = np.concatenate(drawn), np.asarray(R, np.float32), np.asarray(t, np.float32)
        device = sensor.K.device
        poses = np.concatenate((R.reshape(-1, 9), t), 1)
        (rows,) = self._recorded[key](
            sensor.images, sensor.depth_m, sensor.K,
            *(torch.from_numpy(x)[None].to(device) for x in (poses, noise)),
        )  # fmt: skip
        found = rows[0].cpu().numpy()
        return Candidates(
            np.ascontiguousarray(found[:, :9]).reshape(-1, 3, 3),
            np.ascontiguousarray(found[:, 9:12]), found[:, 12],
        )  # fmt: skip

    def _searched(
        self, settings: NearSettings, painted: bool, images: Tensor, depth_m: Tensor, K: Tensor,
        poses: Tensor, noise: Tensor,
    ) -> tuple[Tensor]:  # fmt: skip
        """(1, N, 13): R by rows, t and score of the poses found around (1, N, 12)."""
        s, (R, t) = settings, poses[0].split((9, 3), 1)
        home = R.contiguous().reshape(-1, 3, 3), t.contiguous()
        cut = self._around(images, depth_m, K, *home, 2 * s.shift_m, self._size)
        assert cut.depth_m is not None
        view = TensorView(
            cut.depth_m[0].flatten(), rgb_to_ab(cut.rgb[0]).flatten(1).T.contiguous(), cut.K[0],
            (self._size, self._size), painted,
        )  # fmt: skip
        sweep, search = s.rounds
        drawn = s.candidates * (sweep + 2)
        swept = self._rounds(
            s, view, *home, home, noise[0, :drawn], sweep, s.sweep_turn, s.sweep * s.shift_m,
            2 * s.margin_m,
        )  # fmt: skip
        R, t, score = self._rounds(
            s, view, torch.cat((home[0], swept[0][:6])), torch.cat((home[1], swept[1][:6])), home,
            noise[0, drawn:], search, s.turn, s.shift_m, s.margin_m,
        )  # fmt: skip
        return (torch.cat((R.flatten(1), t, score[:, None]), 1)[None],)

    def _rounds(
        self, s: NearSettings, view: TensorView, R: Tensor, t: Tensor,
        home: tuple[Tensor, Tensor], noise: Tensor, rounds: int, turn: float, shift_m: float,
        margin_m: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """`coarse.search_near` without niches: the best, best first."""
        count, few = len(R), len(self.points.points)
        best = torch.arange(count, device=R.device)
        own = s, view, home
        R, t, score = self._proposed(
            *own, R, t, best, R.new_zeros(count, 6), 0.0, 0.0, 2 * margin_m, few
        )
        for level in range(rounds):
            best = score.sort(descending=True, stable=True).indices[: s.parents]
            count = s.candidates * (1 if level else 3)
            R, t, score = self._proposed(
                *own, R, t, best, noise[:count], turn / 2**level, shift_m / 2**level,
                margin_m * max(2.0 / 2**level, 1.0), few // (2 if level < 2 else 1),
            )  # fmt: skip
            noise = noise[count:]
        score, order = score.sort(descending=True, stable=True)
        best = order[: s.parents]
        return R[best], t[best], score[: s.parents]

    def _proposed(
        self, s: NearSettings, view: TensorView, home: tuple[Tensor, Tensor], R: Tensor, t: Tensor,
        best: Tensor, noise: Tensor, turn: float, shift_m: float, margin_m: float, few: int,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """A round's poses around the `best` (B,) of those before, which stay among them, and their
        scores: (N, 3, 3), (N, 3) and (N,), N being that of the noise (N, 6)."""
        points, still = self.points, len(best)
        kernels = usable("self6d.tracking.quick.near_kernels", view.depth_m, R, t, noise)
        if kernels is not None:
            return kernels.proposed(
                points, view, R, t, best, noise, home, still=still, turn=turn, shift_m=shift_m,
                margin_m=margin_m, few=few, pull=s.pull, diameter=s.diameter,
            )  # fmt: skip
        place = torch.arange(len(noise), device=R.device)
        parent = best[place % still]
        own = noise * (place >= still)[:, None]
        R, t = R[parent], t[parent]
        centre = R @ points.centre + t
        R = axis_angle_to_matrix(own[:, :3] * turn) @ R
        t = centre + own[:, 3:] * shift_m - R @ points.centre
        score = points.score(view, R, t, margin_m, few)
        if s.pull:
            score = score - s.pull * points.away(R, t, home, s.diameter)
        return R, t, score
