"""A model as points that know from where they are seen, held against an image many poses at once.

A rendering of one pose takes a millisecond on a CPU; a hundred points of it a few microseconds. So
coarse searches try thousands of poses a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from self6d.losses.color import rgb_to_ab
from self6d.rendering import pack_models, render
from self6d.scene import ObjectModel
from self6d.scene.appearance import surface_points
from self6d.tracking.kernels import score_kernel
from self6d.workers import run_parallel

DIRECTIONS = 240  # about 8 degrees apart
_SIDE = 64  # of the renderings that say what is seen
_CHUNK = 64  # poses a piece of work
COLOR_SCALE = 0.08  # difference of a and b at which a point says e times less
SAME = 48  # steps of a full turn about an axis of symmetry
RIM = 24  # places beside a silhouette


@dataclass(frozen=True)
class ModelPoints:
    """P surface points of a model, the first n of them spread evenly for every n.

    Attributes:
        points: (P, 3) float32, metres, model frame.
        ab: (P, 2) float32, their colour without brightness, see `rgb_to_ab`.
        directions: (V, 3) float32, unit, from the model's centre towards a camera.
        seen: (V, P) bool, whether a point is seen from there.
        rim: (V, RIM, 3) float32, metres, model frame: places just beside the silhouette, as far
            from the camera as the surface at its edge. beyond: (V, RIM) float32, metres: how much
            farther that surface would be there if it went on as it is.
        centre: (3,) float32, metres, middle of the model's box.
        anchor: (V, 3) float32, metres, model frame: of the surface that is seen from there, what
            lies before the centre, or, where nothing does, a place near it inside the silhouette.
        use_color: False for models without colour.
        same: (S, 3, 3) float32, turns of the model that leave it as it is, none of them included.
    """

    points: np.ndarray
    ab: np.ndarray
    directions: np.ndarray
    seen: np.ndarray
    rim: np.ndarray
    beyond: np.ndarray
    centre: np.ndarray
    anchor: np.ndarray
    use_color: bool
    same: np.ndarray

    @classmethod
    def of(cls, model: ObjectModel, count: int) -> ModelPoints:
        """The same points for the same model and count."""
        rng = np.random.default_rng(0)
        points, colors = surface_points(model, 8 * count, rng)
        order = _spread(points, count)
        points = points[order].astype(np.float32)
        rgb = torch.from_numpy(np.asarray(colors[order], np.float32).T[:, None])  # 3 x 1 x P
        ab = rgb_to_ab(rgb)[:, 0].T.contiguous().numpy()
        directions = even_directions(DIRECTIONS).astype(np.float32)
        centre = model.extents.mean(0).astype(np.float32)
        seen, rim, beyond, anchor = _visibility(model, points, directions, centre)
        same = model.symmetry.transforms(SAME)[:, :3, :3].astype(np.float32)
        return cls(points, ab, directions, seen, rim, beyond, centre, anchor, model.has_color, same)

    def __len__(self) -> int:
        return len(self.points)

    def turn_between(self, R: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Cosine of the least turn from (N, 3, 3) to (3, 3) that shows, symmetries apart: (N,)."""
        apart = (R.transpose(0, 2, 1) @ other).reshape(-1, 9)
        return ((apart @ self.same.reshape(-1, 9).T).max(1) - 1) / 2


@dataclass(frozen=True)
class View:
    """What points are held against: one image region.

    Attributes:
        depth_m: (h, w) float32, metres, 0 where unknown.
        ab: (h, w, 2) float32, colour without brightness.
        K: (3, 3) float32, pixels of the region.
        painted: False where colours say nothing about the CAD's.
    """

    depth_m: np.ndarray
    ab: np.ndarray
    K: np.ndarray
    painted: bool = True

    @classmethod
    def of(cls, rgb: Tensor, depth_m: Tensor, K: Tensor, painted: bool = True) -> View:
        """Of (3, h, w) in [0, 1], (h, w), metres, and (3, 3)."""
        ab = rgb_to_ab(rgb).permute(1, 2, 0).contiguous()
        depth, colors, camera = (x.float().contiguous().cpu().numpy() for x in (depth_m, ab, K))
        return cls(depth, colors, camera, painted)


def score_poses(
    model: ModelPoints,
    view: View,
    R: np.ndarray,
    t: np.ndarray,
    *,
    margin_m: float,
    color_scale: float = COLOR_SCALE,
    points: int | None = None,
) -> np.ndarray:
    """How well poses agree with an image, as `refinement.pose_search.agreement` of renderings.

    Points whose depth agrees count for a pose, weighted by how alike the colours are; those that
    the sensor sees through count against it; hidden or unmeasured ones are neutral. Where the
    sensor's surface goes on beside the silhouette, that counts against the pose: else flat sides
    would do as well anywhere on a table.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. margin_m: depth agrees within this.
        color_scale: difference of a and b at which a point says e times less.
        points: only the first so many; None: all.

    Returns:
        (N,) float32, at most 1; -1 behind the camera.
    """
    R, t = np.ascontiguousarray(R, np.float32), np.ascontiguousarray(t, np.float32)
    score = np.empty(len(R), np.float32)
    scale = 1 / color_scale if model.use_color and view.painted else 0.0
    n = len(model) if points is None else min(points, len(model))

    def work(piece: int) -> None:
        part = slice(piece * _CHUNK, (piece + 1) * _CHUNK)
        score_kernel(
            model.points, model.ab, model.directions, model.seen, model.rim, model.beyond,
            model.centre, n,
            view.depth_m, view.ab, view.K, R[part], t[part], margin_m, scale, score[part],
        )  # fmt: skip

    run_parallel(work, -(-len(R) // _CHUNK))
    return score


def even_directions(count: int) -> np.ndarray:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), (count, 3) float64."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    return np.stack((r * np.cos(angle), r * np.sin(angle), z), axis=1)


def looking_along(directions: np.ndarray) -> np.ndarray:
    """Rotations that show a model from directions of its own frame, (V, 3) -> (V, 3, 3) float64."""
    z = -directions / np.linalg.norm(directions, axis=1, keepdims=True)
    helper = np.eye(3)[np.abs(z).argmin(1)]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack((x, np.cross(z, x), z), axis=1)


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Farthest-point order of `count` of the points."""
    order = np.zeros(count, np.int64)
    order[0] = np.linalg.norm(points - points.mean(0), axis=1).argmax()
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        step = np.square(points - points[order[i - 1]]).sum(1)
        distance = np.minimum(distance, step)
        order[i] = distance.argmax()
    return order


def _visibility(
    model: ObjectModel, points: np.ndarray, directions: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`seen`, `rim`, `beyond` and `anchor` of `ModelPoints`, by small renderings from afar."""
    far = 20 * model.diameter
    focal = 0.38 * _SIDE * far / (0.5 * model.diameter)
    K = torch.tensor([[focal, 0, _SIDE / 2], [0, focal, _SIDE / 2], [0, 0, 1]])
    R = looking_along(directions).astype(np.float32)
    t = np.array([0, 0, far], np.float32) - R @ centre
    packed = pack_models([model])
    depth = np.concatenate(
        [
            render(
                torch.from_numpy(R[i : i + 32]), torch.from_numpy(t[i : i + 32]), K, packed,
                (_SIDE, _SIDE), soft_mask=False,
            ).depth_m.numpy()
            for i in range(0, len(R), 32)
        ]
    )  # fmt: skip
    cam = points @ R.transpose(0, 2, 1) + t[:, None]
    pixel = np.clip((cam[..., :2] / cam[..., 2:] * focal + _SIDE / 2).astype(int), 0, _SIDE - 1)
    there = depth[np.arange(len(R))[:, None], pixel[..., 1], pixel[..., 0]]
    # a pixel is a sixtieth of the diameter wide, so grazing points fall out: they say little
    seen = (there > 0) & (np.abs(cam[..., 2] - there) < 0.03 * model.diameter)
    rims = [_rim(depth[i], focal) for i in range(len(R))]
    rim = (np.stack([places for places, _ in rims]) - t[:, None]) @ R  # to the model frame
    beyond = np.stack([more for _, more in rims])
    anchor = (np.stack([_inmost(d, focal) for d in depth])[:, None] - t[:, None]) @ R
    return seen, rim.astype(np.float32), beyond.astype(np.float32), anchor[:, 0].astype(np.float32)


def _inmost(depth: np.ndarray, focal: float) -> np.ndarray:
    """Where the surface is seen in the middle or, where it is not, near it and off the edges: (3,).

    An angle's surface lies beside its middle, a ring's around it. Metres, camera frame.
    """
    middle = slice(_SIDE // 2 - 2, _SIDE // 2 + 2)
    if (depth[middle, middle] > 0).any():
        z = depth[middle, middle][depth[middle, middle] > 0].min()
        return np.array([0.0, 0.0, z])
    inside = distance_transform_edt(depth > 0)
    row, column = np.mgrid[:_SIDE, :_SIDE] + 0.5 - _SIDE / 2
    cost = np.hypot(row, column) - 2 * np.minimum(inside, 4)
    i, j = np.unravel_index(np.where(depth > 0, cost, np.inf).argmin(), depth.shape)
    z = depth[i, j]
    return np.array([column[i, j] / focal * z, row[i, j] / focal * z, z])


def goes_on_at(depth: np.ndarray, place: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Depth that a surface would have beside its edge if it went on as it is there, (N,).

    A plane's 1 / z is linear in the image; it is taken from two pixels further in.

    Args:
        depth: (h, w), 0 where there is none. place: (N, 2) rows and columns beside it.
        edge: (N, 2), the pixel with depth that is nearest to each place.
    """
    way = (edge - place).astype(float)
    apart = np.linalg.norm(way, axis=1)
    way /= apart[:, None]
    size = np.array(depth.shape) - 1

    def inward(pixels: float) -> np.ndarray:
        row, column = np.clip(np.rint(edge + pixels * way).astype(int), 0, size).T
        return depth[row, column]

    first, second, own = inward(1), inward(4), depth[edge[:, 0], edge[:, 1]]
    known = (first > 0) & (second > 0)
    first, second = np.where(known, first, own), np.where(known, second, own)
    slope = (1 / first - 1 / second) / 3
    return 1 / np.maximum(1 / first + slope * (apart + 1), 0.5 / first)


def _rim(depth: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Places about a fifteenth of the diameter off a silhouette, (RIM, 3), metres, camera frame.

    Second comes how much farther the surface would be there if it went on, (RIM,).
    """
    apart, nearest = distance_transform_edt(depth <= 0, return_indices=True)
    row, column = np.nonzero((apart > 3) & (apart <= 5))
    middle = _SIDE / 2
    turn = np.argsort(np.arctan2(row - middle, column - middle), kind="stable")
    chosen = turn[np.linspace(0, len(turn), RIM, endpoint=False).astype(int)]
    row, column = row[chosen], column[chosen]
    edge = nearest[:, row, column].T
    z = depth[edge[:, 0], edge[:, 1]]
    beyond = goes_on_at(depth, np.stack((row, column), 1), edge) - z
    ray = np.stack((column + 0.5 - middle, row + 0.5 - middle), 1) / focal
    return np.concatenate((ray * z[:, None], z[:, None]), 1), beyond
