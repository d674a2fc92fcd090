"""Where in an image a lost object may be: its paint as last seen, slid over the image.

A rendering of the last pose, turned in the image plane, is held against the image in the CAD's
colours at a coarse scale. Where the paint is not known, places lie on a grid.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, unfold

from self6d.geometry import allocentric_to_egocentric, egocentric_to_allocentric
from self6d.losses.color import rgb_to_ab
from self6d.rendering import PackedModels, render
from self6d.scene.batch import FrameBatch
from self6d.tracking.coarse import Candidates
from self6d.tracking.evidence import COLOR_SCALE
from self6d.tracking.look import Look

WIDTH = 128  # longer side of the image that is searched, pixels
STRIDE = 2
TURNS = 8  # in the image plane
BESIDE = 0.5  # what likeness around the object takes off
GRID = 0.75  # diameters between places where the paint is not known
SMALLEST, LARGEST = 6, 64  # pixels of the rendering's side


@torch.no_grad()
def places(
    sensor: FrameBatch,
    packed: PackedModels,
    centre: np.ndarray,
    diameter: float,
    R: np.ndarray,
    t: np.ndarray,
    paint: Look | None,
    count: int,
) -> Candidates:
    """Poses anywhere in the image as far away as a pose (3, 3) and (3,), metres; likeliest first.

    Args:
        sensor: one frame. packed: one model. centre: (3,), of its box. diameter: metres.
        paint: how the camera shows its colours; None: not known, and places are even.
        count: how many at most.
    """
    height, width = sensor.images.shape[-2:]
    scale = WIDTH / max(height, width)
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    K = sensor.K[0].double().cpu().numpy()
    K = np.diag([size[1] / width, size[0] / height, 1.0]) @ K
    middle = R @ centre + t
    z = float(middle[2])
    allocentric = _matrix(egocentric_to_allocentric(_row(R), _row(middle)))
    turned = [_in_plane(k * 2 * math.pi / TURNS) @ allocentric for k in range(TURNS)]
    step = GRID * diameter * K[0, 0] / z
    if paint is None:
        turned = turned[:1]
        spots = _even(size, step)
        scores = [np.zeros(len(spots), np.float32)]
    else:
        image = paint.of(interpolate(sensor.images, size, mode="area"))
        side = int(np.clip(1.2 * diameter * max(K[0, 0], K[1, 1]) / z, SMALLEST, LARGEST))
        spots, scores = _slid(image, packed, centre, turned, z, K, side)
    R_all, t_all, score = [], [], []
    for own, likeness in zip(turned, scores, strict=True):
        for k in _peaks(spots, likeness, step, count):
            ray = np.linalg.solve(K, np.append(spots[k], 1.0))
            place = z * ray / ray[2]
            ego = _matrix(allocentric_to_egocentric(_row(own), _row(place)))
            R_all.append(ego)
            t_all.append(place - ego @ centre)
            score.append(likeness[k])
    found = Candidates(
        np.array(R_all, np.float32).reshape(-1, 3, 3),
        np.array(t_all, np.float32).reshape(-1, 3),
        np.array(score, np.float32),
    )
    return found.best(count)


def _slid(
    image: Tensor,
    packed: PackedModels,
    centre: np.ndarray,
    turned: list[np.ndarray],
    z: float,
    K: np.ndarray,
    side: int,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Places (P, 2), pixels, and how alike the image (1, 3, h, w) is there, by turn."""
    device = image.device
    R = torch.tensor(np.array(turned), dtype=torch.float32, device=device)
    t = torch.tensor([0.0, 0.0, z], device=device) - R @ torch.tensor(
        centre, dtype=torch.float32, device=device
    )
    camera = torch.tensor(
        [[K[0, 0], 0, side / 2], [0, K[1, 1], side / 2], [0, 0, 1]], dtype=torch.float32,
        device=device,
    ).expand(len(R), 3, 3)  # fmt: skip
    index = torch.zeros(len(R), dtype=torch.long, device=device)
    drawn = render(R, t, camera, packed, (side, side), object_index=index, soft_mask=False)
    pad = side // 2
    ab = rgb_to_ab(image)
    windows = unfold(ab, side, padding=pad, stride=STRIDE)[0].T  # P x (2 side^2)
    windows = windows.reshape(len(windows), 2, -1)
    inside = unfold(torch.ones_like(ab[:, :1]), side, padding=pad, stride=STRIDE)[0].T
    down = (image.shape[2] + 2 * pad - side) // STRIDE + 1
    across = (image.shape[3] + 2 * pad - side) // STRIDE + 1
    y, x = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
    spots = torch.stack((x, y), -1).reshape(-1, 2) * STRIDE - pad + side / 2
    scores = []
    for k in range(len(R)):
        own = drawn.covered[k].flatten()
        paint = rgb_to_ab(drawn.rgb[k : k + 1])[0].flatten(1)
        usual = paint[:, own].mean(1, keepdim=True) if own.any() else paint.mean(1, keepdim=True)
        rim = max_pool2d(drawn.covered[k][None].float(), 5, 1, 2)[0].flatten() > 0
        rim &= ~own
        alike = (
            torch.exp(-(windows - torch.where(own, paint, usual)).abs().sum(1) / COLOR_SCALE)
            * inside
        )
        score = alike[:, own].mean(1) if own.any() else alike.mean(1)
        if rim.any():
            score = score - BESIDE * alike[:, rim].mean(1)
        scores.append(score.cpu().numpy())
    return spots.numpy(), scores


def _even(size: tuple[int, int], step: float) -> np.ndarray:
    """(P, 2) places all over an image (h, w), about a step apart."""
    ticks = [(np.arange(n) + 0.5) / n * s for s in size for n in [max(round(s / step), 1)]]
    y, x = np.meshgrid(ticks[0], ticks[1], indexing="ij")
    return np.stack((x.ravel(), y.ravel()), 1)


def _peaks(spots: np.ndarray, score: np.ndarray, step: float, count: int) -> list[int]:
    """The best places (P, 2), none within half a step of a better one."""
    left, found = np.argsort(-score, kind="stable"), list[int]()
    while len(left) and len(found) < count:
        found.append(int(left[0]))
        left = left[np.linalg.norm(spots[left] - spots[left[0]], axis=1) > 0.5 * step]
    return found


def _in_plane(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _row(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(x, np.float64))[None]


def _matrix(x: Tensor) -> np.ndarray:
    return np.asarray(x[0].numpy())
