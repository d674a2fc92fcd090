"""Where everything stands: poses of instances and distractors, support planes, cameras.

Only a few hundred numbers, drawn on the CPU from an explicit generator: the same seed gives the same
scenes on every device, and sizes are known without waiting for the GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from self6d.geometry import axis_angle_to_matrix, random_rotations
from self6d.scene import ObjectModel
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.resting import stable_rotations

DISTRACTOR_SIZE = (0.3, 1.3)  # diameters of primitives over the median object's
RESTING_ELEVATION = (15.0, 75.0)  # degrees, cameras above a table


@dataclass(frozen=True)
class Shapes:
    """What the layout needs to know of M models (all on the CPU, float32, metres).

    Attributes:
        centre: (M, 3) middle of the box. half: (M, 3) half its extents.
        radius: (M,) of the sphere about `centre`.
        rest_R: (M, S, 3, 3), rest_p: (M, S), rest_z: (M, S): see `stable_rotations`; padded with p 0.
        upright_z: (M,) lowest z of the model frame.
        diameter: (M,).
    """

    centre: Tensor
    half: Tensor
    radius: Tensor
    rest_R: Tensor
    rest_p: Tensor
    rest_z: Tensor
    upright_z: Tensor
    diameter: Tensor

    @classmethod
    def of(cls, models: Sequence[ObjectModel]) -> Shapes:
        """Measure the models."""
        rests = [stable_rotations(m.vertices) for m in models]
        most = max(len(p) for _, p, _ in rests)

        def padded(values: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(
                np.stack([np.concatenate((v, np.repeat(v[:1], most - len(v), 0))) for v in values])
            ).float()

        probability = torch.zeros(len(models), most)
        for row, (_, p, _) in zip(probability, rests):
            row[: len(p)] = torch.from_numpy(p)
        boxes = torch.from_numpy(np.stack([m.extents for m in models])).float()
        centre = boxes.mean(1)
        radius = [
            np.linalg.norm(m.vertices - c, axis=1).max() for m, c in zip(models, centre.numpy())
        ]
        return cls(
            centre=centre,
            half=(boxes[:, 1] - boxes[:, 0]) / 2,
            radius=torch.tensor(np.array(radius)).float(),
            rest_R=padded([r for r, _, _ in rests]),
            rest_p=probability,
            rest_z=padded([z for _, _, z in rests]),
            upright_z=boxes[:, 0, 2],
            diameter=torch.tensor([m.diameter for m in models]),
        )


@dataclass
class Layout:
    """M things in B images, on the CPU; rows of one image are neighbours, instances come first.

    Attributes:
        image: (M,) int64. shape: (M,) int64, index into the shapes.
        labelled: (M,) bool, an instance rather than a distractor.
        scale: (M,) size over the model's own.
        R: (M, 3, 3). t: (M, 3), metres, model (times scale) to camera.
        centre: (M, 3), metres, camera frame, middle of the box.
        K: (B, 3, 3), pixels.
        table_R: (B, 3, 3), table_t: (B, 3), metres: frame of a table, z up, to camera.
        resting: (B,) bool, whether the table is there; if not, its z still says what is up.
    """

    image: Tensor
    shape: Tensor
    labelled: Tensor
    scale: Tensor
    R: Tensor
    t: Tensor
    centre: Tensor
    K: Tensor
    table_R: Tensor
    table_t: Tensor
    resting: Tensor

    @property
    def slot(self) -> Tensor:
        """(M,) int64: position of a thing among those of its image."""
        count = torch.bincount(self.image, minlength=len(self.K))
        return torch.arange(len(self.image)) - (count.cumsum(0) - count)[self.image]


def _uniform(g: torch.Generator, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(*size, generator=g) * (high - low) + low


def sample_layout(
    shapes: Shapes,
    labelled: int,
    true_size: int,
    K: Tensor,
    size: tuple[int, int],
    distances: tuple[float, float],
    batch: int,
    config: SynthesisConfig,
    generator: torch.Generator,
) -> Layout:
    """Draw a batch of scenes.

    Args:
        shapes: of the objects, then of the distractors.
        labelled: the first so many shapes are objects with a label.
        true_size: the first so many shapes keep their size; the rest (primitives) are scaled.
        K: (3, 3), pixels. size: (height, width), pixels.
        distances: nearest and farthest distance of an instance, metres.
        batch: number of images.
    """
    g, cfg = generator, config
    slots_i, slots_d = cfg.instances_max, cfg.distractors_max
    n = slots_i + slots_d
    is_instance = torch.arange(n) < slots_i
    valid = _slots(batch, slots_i, slots_d, cfg, g)
    shape = _choose_shapes(batch, slots_i, slots_d, labelled, len(shapes.radius), cfg, g)
    unit = float(shapes.diameter[:labelled].median())
    scale = torch.where(
        shape < true_size, torch.ones(()), unit * _uniform(g, batch, n, low=DISTRACTOR_SIZE[0],
                                                          high=DISTRACTOR_SIZE[1])
    )  # fmt: skip
    radius = shapes.radius[shape] * scale

    cameras = K.expand(batch, 3, 3).clone()
    cameras[:, (0, 1), (0, 1)] *= 1 + cfg.focal_jitter * _uniform(g, batch, 1, low=-1, high=1)

    floating_R, floating_c = _floating(radius, valid, is_instance, cameras, size, distances, cfg, g)
    rest_R, rest_c, table_R, table_t = _resting(
        shapes, shape, scale, radius, valid, is_instance, cameras, size, distances, cfg, g
    )
    resting = torch.rand(batch, generator=g) < cfg.resting
    pick = resting[:, None]
    R = torch.where(pick[..., None, None], rest_R, floating_R)
    centre = torch.where(pick[..., None], rest_c, floating_c)
    t = centre - (R @ (shapes.centre[shape] * scale[..., None])[..., None])[..., 0]

    image = torch.arange(batch)[:, None].expand(batch, n)
    return Layout(
        image=image[valid],
        shape=shape[valid],
        labelled=is_instance.expand(batch, n)[valid],
        scale=scale[valid],
        R=R[valid],
        t=t[valid],
        centre=centre[valid],
        K=cameras,
        table_R=table_R,
        table_t=table_t,
        resting=resting,
    )


def _slots(
    batch: int, instances: int, distractors: int, cfg: SynthesisConfig, g: torch.Generator
) -> Tensor:
    """(B, instances + distractors) bool: the slots in use."""
    n_i = torch.randint(cfg.instances_min, cfg.instances_max + 1, (batch, 1), generator=g)
    n_d = torch.randint(cfg.distractors_min, cfg.distractors_max + 1, (batch, 1), generator=g)
    return torch.cat((torch.arange(instances) < n_i, torch.arange(distractors) < n_d), dim=1)


def _choose_shapes(
    batch: int,
    instances: int,
    distractors: int,
    labelled: int,
    total: int,
    cfg: SynthesisConfig,
    g: torch.Generator,
) -> Tensor:
    """(B, instances + distractors) int64: a shuffle of the objects, some replaced at random."""
    shuffled = torch.rand(batch, labelled, generator=g).argsort(dim=1)
    shuffled = shuffled.repeat(1, -(-instances // labelled))[:, :instances]
    anyone = torch.randint(labelled, (batch, instances), generator=g)
    again = torch.rand(batch, instances, generator=g) < cfg.repeat
    unlabelled = torch.randint(min(labelled, total - 1), total, (batch, distractors), generator=g)
    return torch.cat((torch.where(again, anyone, shuffled), unlabelled), dim=1)


def _distance_limits(distances: tuple[float, float], is_instance: Tensor) -> tuple[Tensor, Tensor]:
    """Distractors may come a little nearer and go a little farther than instances."""
    near = torch.where(is_instance, distances[0], 0.75 * distances[0])
    far = torch.where(is_instance, distances[1], 1.2 * distances[1])
    return near, far


def _floating(
    radius: Tensor,
    valid: Tensor,
    is_instance: Tensor,
    K: Tensor,
    size: tuple[int, int],
    distances: tuple[float, float],
    cfg: SynthesisConfig,
    g: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Rotations (B, n, 3, 3) and centres (B, n, 3) of things in the air."""
    b, n = radius.shape
    near, far = _distance_limits(distances, is_instance)
    z = near * (far / near) ** torch.rand(b, n, generator=g)
    h, w = size
    uv = torch.rand(b, n, 2, generator=g) * torch.tensor([w, h]) * 1.04
    uv -= 0.02 * torch.tensor([w, h])

    # some stand in front of or behind a free one: strong occlusion
    focal = K[:, 0, 0, None]
    follows = (torch.rand(b, n, generator=g) < cfg.clutter) & (torch.arange(n) > 0)
    free = valid & ~follows
    leader = torch.multinomial(free.float() + 1e-9, n, replacement=True, generator=g)
    pixels = focal * radius / z
    reach = (pixels + pixels.gather(1, leader)) * _uniform(g, b, n, low=0.15, high=0.8)
    angle = _uniform(g, b, n, high=2 * math.pi)
    offset = reach[..., None] * torch.stack((angle.cos(), angle.sin()), -1)
    beside = uv.gather(1, leader[..., None].expand(b, n, 2)) + offset
    inside = torch.minimum(beside.clamp_min(0), torch.tensor([w, h], dtype=beside.dtype))
    uv = torch.where(follows[..., None], inside, uv)

    ray = _rays(uv, K)
    z = _apart_in_depth(ray, z, radius, valid, near, far)
    R = random_rotations(b * n, generator=g).view(b, n, 3, 3)
    if cfg.elevation_limited:
        R = _upright_rotations(b, n, cfg, g)
    return R, ray * z[..., None]


def _rays(uv: Tensor, K: Tensor) -> Tensor:
    """(B, n, 2) pixels -> (B, n, 3) points at z = 1."""
    one = torch.ones_like(uv[..., :1])
    return torch.linalg.solve(K[:, None], torch.cat((uv, one), -1)[..., None])[..., 0]


def _apart_in_depth(
    ray: Tensor, z: Tensor, radius: Tensor, valid: Tensor, near: Tensor, far: Tensor
) -> Tensor:
    """Slide things along their rays until their inner spheres no longer meet (nearly always)."""
    eye = torch.eye(z.shape[1], dtype=torch.bool)
    touch = 0.7 * (radius[:, :, None] + radius[:, None, :])
    pair = valid[:, :, None] & valid[:, None, :] & ~eye
    for _ in range(6):
        p = ray * z[..., None]
        gap = touch - torch.cdist(p, p)
        behind = (z[:, :, None] - z[:, None, :]) + 1e-6 * (
            torch.arange(z.shape[1])[:, None] - torch.arange(z.shape[1])
        )
        push = torch.where(pair & (gap > 0), 0.5 * gap * behind.sign(), 0.0)
        z = torch.minimum(torch.maximum(z + push.sum(2), near), far)
    return z


def _upright_rotations(b: int, n: int, cfg: SynthesisConfig, g: torch.Generator) -> Tensor:
    """(B, n, 3, 3): any azimuth, elevation uniform on the sphere within the limits, limited roll."""
    low, high = (math.sin(math.radians(v)) for v in (cfg.elevation_min_deg, cfg.elevation_max_deg))
    elevation = torch.asin(_uniform(g, b, n, low=low, high=high).clamp(-1, 1))
    roll = math.radians(cfg.roll_deg) * _uniform(g, b, n, low=-1, high=1)
    azimuth = _uniform(g, b, n, high=2 * math.pi)
    return _about(roll, 2) @ _about(elevation + math.pi / 2, 0) @ _about(azimuth, 2)


def _about(angle: Tensor, axis: int) -> Tensor:
    """Rotations (..., 3, 3) about a coordinate axis."""
    v = torch.zeros(*angle.shape, 3)
    v[..., axis] = angle
    return axis_angle_to_matrix(v)


def _resting(
    shapes: Shapes,
    shape: Tensor,
    scale: Tensor,
    radius: Tensor,
    valid: Tensor,
    is_instance: Tensor,
    K: Tensor,
    size: tuple[int, int],
    distances: tuple[float, float],
    cfg: SynthesisConfig,
    g: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotations (B, n, 3, 3), centres (B, n, 3) of things on a table, and its frame (R, t)."""
    b, n = radius.shape
    low = max(RESTING_ELEVATION[0], cfg.elevation_min_deg)
    high = max(low, min(RESTING_ELEVATION[1], cfg.elevation_max_deg))
    elevation = torch.deg2rad(_uniform(g, b, low=low, high=high))
    roll = math.radians(min(cfg.roll_deg, 20.0)) * _uniform(g, b, low=-1, high=1)
    # table frame (z up) to camera frame, seen from `elevation` above the table
    table = _about(roll, 2) @ _about(elevation + math.pi / 2, 0)

    if cfg.elevation_limited:
        R_rest, lowest = torch.eye(3).expand(b, n, 3, 3), shapes.upright_z[shape]
    else:
        p = shapes.rest_p[shape].view(b * n, -1)
        k = torch.multinomial(p, 1, generator=g).view(b, n)
        R_rest, lowest = shapes.rest_R[shape, k], shapes.rest_z[shape, k]
    R_rest = _about(_uniform(g, b, n, high=2 * math.pi), 2) @ R_rest

    flat = _spread(0.8 * radius, valid, cfg.clutter, g)
    local_c = (R_rest @ (shapes.centre[shape] * scale[..., None])[..., None])[..., 0]
    height = local_c[..., 2] - lowest * scale
    on_table = torch.cat((flat, height[..., None]), -1)
    offset = on_table @ table.transpose(-1, -2)

    # the table's origin: along a ray near the middle of the image, moved until all are in range
    h, w = size
    uv = torch.tensor([w, h]) * _uniform(g, b, 1, 2, low=0.35, high=0.65)
    origin = _rays(uv, K)[:, 0]
    z = distances[0] * (distances[1] / distances[0]) ** torch.rand(b, generator=g)
    count = valid & is_instance
    nearest = z + torch.where(count, offset[..., 2], math.inf).amin(1)
    farthest = z + torch.where(count, offset[..., 2], -math.inf).amax(1)
    z = z - (farthest - distances[1]).clamp_min(0)
    nearest = nearest - (farthest - distances[1]).clamp_min(0)
    z = z + (distances[0] - nearest).clamp_min(0)
    origin = origin * z[:, None]

    return table[:, None] @ R_rest, offset + origin[:, None], table, origin


def _spread(radius: Tensor, valid: Tensor, clutter: float, g: torch.Generator) -> Tensor:
    """(B, n, 2) places of discs on a table: thrown close together, then pushed apart."""
    b, n = radius.shape
    area = (torch.where(valid, radius, 0.0) ** 2).sum(1, keepdim=True)
    reach = area.sqrt() * (1.8 - 0.8 * clutter)
    angle = _uniform(g, b, n, high=2 * math.pi)
    r = reach * torch.rand(b, n, generator=g).sqrt()
    p = torch.stack((r * angle.cos(), r * angle.sin()), -1)
    eye = torch.eye(n, dtype=torch.bool)
    pair = valid[:, :, None] & valid[:, None, :] & ~eye
    touch = radius[:, :, None] + radius[:, None, :]
    for _ in range(12):
        away = p[:, :, None] - p[:, None, :]
        distance = away.norm(dim=-1).clamp_min(1e-6)
        push = torch.where(pair, 0.45 * (touch - distance).clamp_min(0), 0.0)
        p = p + (push / distance)[..., None].mul(away).sum(2)
    return p
