"""Two ways to arrange things in front of a camera: in the air, or resting on a table."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from self6d.geometry import allocentric_to_egocentric, axis_angle_to_matrix, random_rotations
from self6d.rng import mixed_seed
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.measures import SceneSetting, Things

RESTING_ELEVATION = (15.0, 75.0)  # degrees, cameras above a table
VIEWS_STREAM = 10  # random numbers of which instances are seen from near known views


def uniform(g: torch.Generator, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform numbers, float32 on the CPU."""
    return torch.rand(*size, generator=g) * (high - low) + low


def _distance_limits(distances: tuple[float, float], is_instance: Tensor) -> tuple[Tensor, Tensor]:
    """Distractors may come a little nearer and go a little farther than instances."""
    near = torch.where(is_instance, distances[0], 0.75 * distances[0])
    far = torch.where(is_instance, distances[1], 1.2 * distances[1])
    return near, far


def floating(setting: SceneSetting, things: Things, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotations (B, n, 3, 3) and centres (B, n, 3), metres, of things in the air."""
    cfg, radius, used, K = setting.config, things.radius, things.used, things.K
    b, n = radius.shape
    near, far = _distance_limits(setting.distances, things.instance)
    z = near * (far / near) ** torch.rand(b, n, generator=g)
    h, w = setting.size
    uv = torch.rand(b, n, 2, generator=g) * torch.tensor([w, h]) * 1.04
    uv -= 0.02 * torch.tensor([w, h])

    # some stand in front of or behind a free one: strong occlusion
    focal = K[:, 0, 0, None]
    follows = (torch.rand(b, n, generator=g) < cfg.clutter) & (torch.arange(n) > 0)
    free = used & ~follows
    leader = torch.multinomial(free.float() + 1e-9, n, replacement=True, generator=g)
    pixels = focal * radius / z
    reach = (pixels + pixels.gather(1, leader)) * uniform(g, b, n, low=0.15, high=0.8)
    angle = uniform(g, b, n, high=2 * math.pi)
    offset = reach[..., None] * torch.stack((angle.cos(), angle.sin()), -1)
    beside = uv.gather(1, leader[..., None].expand(b, n, 2)) + offset
    inside = torch.minimum(beside.clamp_min(0), torch.tensor([w, h], dtype=beside.dtype))
    uv = torch.where(follows[..., None], inside, uv)

    ray = _rays(uv, K)
    z = _apart_in_depth(ray, z, radius, used, near, far)
    R = random_rotations(b * n, generator=g).view(b, n, 3, 3)
    if cfg.elevation_limited:
        R = _upright_rotations(b, n, cfg, g)
    return R, ray * z[..., None]


def from_near_views(
    setting: SceneSetting, things: Things, R: Tensor, centre: Tensor, g: torch.Generator
) -> Tensor:
    """Rotations (B, n, 3, 3), of which a share is turned to what known views show, and beyond.

    A view is drawn of those known of the object, turned about any axis by up to `views_deg`.

    Args:
        R: (B, n, 3, 3), drawn otherwise. centre: (B, n, 3), metres, where things are.
    """
    if setting.views is None:
        return R
    cfg, (b, n) = setting.config, things.shape.shape
    # random numbers of its own: other images are the same with views and without
    own = torch.Generator().manual_seed(mixed_seed(g.initial_seed(), VIEWS_STREAM))
    known = setting.views.count[things.shape.clamp_max(setting.labelled - 1)]
    known = torch.where(things.shape < setting.labelled, known, 0)
    near = (torch.rand(b, n, generator=own) < cfg.views_share) & things.instance & (known > 0)
    row = (torch.rand(b, n, generator=own) * known).long()
    view = setting.views.R_allo[things.shape.clamp_max(setting.labelled - 1), row]
    axis = torch.nn.functional.normalize(torch.randn(b, n, 3, generator=own), dim=-1)
    angle = math.radians(cfg.views_deg) * torch.rand(b, n, 1, generator=own)
    turned = axis_angle_to_matrix(axis * angle) @ view
    return torch.where(near[..., None, None], allocentric_to_egocentric(turned, centre), R)


def _rays(uv: Tensor, K: Tensor) -> Tensor:
    """(B, n, 2) pixels -> (B, n, 3) points at z = 1, K^-1 (u, v, 1)^T."""
    y = (uv[..., 1] - K[:, 1, 2, None]) / K[:, 1, 1, None]
    x = (uv[..., 0] - K[:, 0, 2, None] - K[:, 0, 1, None] * y) / K[:, 0, 0, None]
    return torch.stack((x, y, torch.ones_like(x)), -1)


def _pairs(used: Tensor) -> Tensor:
    """(B, n) bool -> (B, n, n) float, 1 for two different things that are both there."""
    both = (used[:, :, None] & used[:, None, :]).float()
    both.diagonal(dim1=1, dim2=2).zero_()
    return both


def _apart_in_depth(
    ray: Tensor, z: Tensor, radius: Tensor, used: Tensor, near: Tensor, far: Tensor
) -> Tensor:
    """Slide things along their rays until their inner spheres no longer meet (nearly always)."""
    touch = 0.7 * (radius[:, :, None] + radius[:, None, :])
    number = torch.arange(z.shape[1])
    first = 1e-6 * (number[:, None] - number)  # of two equally far ones
    half = 0.5 * _pairs(used)
    for _ in range(6):
        p = ray * z[..., None]
        overlap = (touch - torch.cdist(p, p)).clamp_min_(0).mul_(half)
        behind = (z[:, :, None] - z[:, None, :]).add_(first).sign_()
        z = (z + overlap.mul_(behind).sum(2)).clamp_(near, far)
    return z


def _upright_rotations(b: int, n: int, cfg: SynthesisConfig, g: torch.Generator) -> Tensor:
    """(B, n, 3, 3): any azimuth, elevations within limits, even on the sphere, limited roll."""
    low, high = (math.sin(math.radians(v)) for v in (cfg.elevation_min_deg, cfg.elevation_max_deg))
    elevation = torch.asin(uniform(g, b, n, low=low, high=high).clamp(-1, 1))
    roll = math.radians(cfg.roll_deg) * uniform(g, b, n, low=-1, high=1)
    azimuth = uniform(g, b, n, high=2 * math.pi)
    return _about(roll, 2) @ _about(elevation + math.pi / 2, 0) @ _about(azimuth, 2)


def _about(angle: Tensor, axis: int) -> Tensor:
    """Rotations (..., 3, 3) about a coordinate axis."""
    c, s = angle.cos(), angle.sin()
    one, zero = torch.ones_like(c), torch.zeros_like(c)
    first = (one, zero, zero, zero, c, -s, zero, s, c)  # about x, row by row
    # about the next axis, rows and columns turn with it
    order = [3 * ((i - axis) % 3) + (j - axis) % 3 for i in range(3) for j in range(3)]
    return torch.stack([first[k] for k in order], -1).unflatten(-1, (3, 3))


def resting_on_table(
    setting: SceneSetting, things: Things, g: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Things on a table.

    Returns:
        rotations (B, n, 3, 3) and centres (B, n, 3), metres, of the things; rotation (B, 3, 3) and
        origin (B, 3), metres, of the table's frame (z up) in the camera's.
    """
    cfg, shapes, shape, scale = setting.config, setting.shapes, things.shape, things.scale
    radius, distances = things.radius, setting.distances
    b, n = radius.shape
    low = max(RESTING_ELEVATION[0], cfg.elevation_min_deg)
    high = max(low, min(RESTING_ELEVATION[1], cfg.elevation_max_deg))
    elevation = torch.deg2rad(uniform(g, b, low=low, high=high))
    roll = math.radians(min(cfg.roll_deg, 20.0)) * uniform(g, b, low=-1, high=1)
    # table frame (z up) to camera frame, seen from `elevation` above the table
    table = _about(roll, 2) @ _about(elevation + math.pi / 2, 0)

    if cfg.elevation_limited:
        R_rest, lowest = torch.eye(3).expand(b, n, 3, 3), shapes.upright_z[shape]
    else:
        below = shapes.rest_p.cumsum(1)[shape] < torch.rand(b, n, 1, generator=g)
        k = below.sum(2).clamp_max_(below.shape[2] - 1)
        R_rest, lowest = shapes.rest_R[shape, k], shapes.rest_z[shape, k]
    R_rest = _about(uniform(g, b, n, high=2 * math.pi), 2) @ R_rest

    flat = _spread(0.8 * radius, things.used, cfg.clutter, g)
    local_c = (R_rest @ (shapes.centre[shape] * scale[..., None])[..., None])[..., 0]
    height = local_c[..., 2] - lowest * scale
    on_table = torch.cat((flat, height[..., None]), -1)
    offset = on_table @ table.transpose(-1, -2)

    # the table's origin: along a ray near the middle of the image, moved until all are in range
    h, w = setting.size
    uv = torch.tensor([w, h]) * uniform(g, b, 1, 2, low=0.35, high=0.65)
    origin = _rays(uv, things.K)[:, 0]
    z = distances[0] * (distances[1] / distances[0]) ** torch.rand(b, generator=g)
    count = things.used & things.instance
    nearest = z + torch.where(count, offset[..., 2], math.inf).amin(1)
    farthest = z + torch.where(count, offset[..., 2], -math.inf).amax(1)
    z = z - (farthest - distances[1]).clamp_min(0)
    nearest = nearest - (farthest - distances[1]).clamp_min(0)
    z = z + (distances[0] - nearest).clamp_min(0)
    origin = origin * z[:, None]

    return table[:, None] @ R_rest, offset + origin[:, None], table, origin


def _spread(radius: Tensor, used: Tensor, clutter: float, g: torch.Generator) -> Tensor:
    """(B, n, 2) places of discs on a table: thrown close together, then pushed apart."""
    b, n = radius.shape
    area = (torch.where(used, radius, 0.0) ** 2).sum(1, keepdim=True)
    reach = area.sqrt() * (1.8 - 0.8 * clutter)
    angle = uniform(g, b, n, high=2 * math.pi)
    r = reach * torch.rand(b, n, generator=g).sqrt()
    p = torch.stack((r * angle.cos(), r * angle.sin()), -1)
    touch = radius[:, :, None] + radius[:, None, :]
    share = 0.45 * _pairs(used)
    for _ in range(12):
        distance = torch.cdist(p, p).clamp_min_(1e-6)
        push = (touch - distance).clamp_min_(0).mul_(share).div_(distance)
        # sum over j of push_ij (p_i - p_j)
        p = p + push.sum(2, keepdim=True) * p - push @ p
    return p
