"""Geometric alignment of rendered and sensor depth: Self6D equations (9) to (11)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from self6d.geometry import backproject_points, pixel_centres
from self6d.layers.usable import usable
from self6d.losses.cpu import geometric as geometric_cpu


def sample_surface(
    depth_m: Tensor, mask: Tensor, K: Tensor, count: int, jitter: float | Tensor = 0.5
) -> tuple[Tensor, Tensor]:
    """Points seen under a mask, equations (9) and (10), thinned to a fixed number an item.

    Pixels with depth are taken in raster order at equal strides, all of them where there are no
    more than `count`. Nothing depends on a pixel's value, so the shape is static and the device is
    never waited for. Differentiable in depth.

    Args:
        depth_m: (N, H, W) float, metres, 0 where unknown.
        mask: (N, H, W) bool.
        K: (N, 3, 3), pixels of these images.
        count: points an item, P.
        jitter: in [0, 1), a number or 0-dim tensor; where in each stride the pixel is taken.
            Change it from step to step to see the whole surface in the course of time.

    Returns:
        points (N, P, 3), metres, camera frame, and valid (N, P) bool.
    """
    chosen = (mask & (depth_m > 0)).flatten(1)
    rank = chosen.cumsum(1)
    total = rank[:, -1:]
    slot = torch.arange(count, device=depth_m.device)
    stride = ((slot + jitter) * (total / count)).long()
    wanted = torch.where(total <= count, slot, torch.minimum(stride, (total - 1).clamp_min(0)))
    pixel = torch.searchsorted(rank, wanted + 1).clamp_max(chosen.shape[1] - 1)
    h, w = depth_m.shape[-2:]
    xy = pixel_centres(h, w, device=depth_m.device, dtype=depth_m.dtype).flatten(0, 1)[pixel]
    points = backproject_points(xy, depth_m.flatten(1).gather(1, pixel), K)
    return points, slot < total


def depth_edges(depth_m: Tensor, step_m: float) -> Tensor:
    """Pixels beside a depth discontinuity, where sensors mix foreground and background.

    Args:
        depth_m: (N, H, W) float, metres, 0 where unknown (not counted as a step).
        step_m: smallest jump between neighbours (3x3) that counts, metres.

    Returns:
        (N, H, W) bool.
    """
    known = depth_m > 0
    far = max_pool2d(depth_m[:, None], 3, 1, 1)[:, 0]
    near = torch.where(known, -depth_m, torch.full_like(depth_m, -torch.inf))
    near = -max_pool2d(near[:, None], 3, 1, 1)[:, 0]
    return known & (far - near > step_m)


def _nearest(a: Tensor, b: Tensor, valid_b: Tensor, chunk: int) -> Tensor:
    """(N, A) int64: the nearest valid b for each a, on a GPU by |b|^2 - 2 a b, a matrix product."""
    if a.device.type == "cpu" and a.dtype == torch.float32:
        return geometric_cpu.nearest(a, b, valid_b)
    length = b.square().sum(-1).masked_fill(~valid_b, torch.inf)[:, None]
    parts = [torch.baddbmm(length, x, b.mT, alpha=-2).argmin(2) for x in a.split(chunk, 1)]
    return torch.cat(parts, 1)


@torch.no_grad()
def _centred(a: Tensor, b: Tensor, valid_b: Tensor) -> tuple[Tensor, Tensor]:
    """Points about the middle of b: there float32 keeps squares to a fraction of a millimetre."""
    centre = (b * valid_b[..., None]).sum(1) / valid_b.sum(1, keepdim=True).clamp_min(1)
    return a - centre[:, None], b - centre[:, None]


def _pair_distance(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    other = b.gather(1, index[..., None].expand(-1, -1, 3))
    square = (a - other).square().sum(-1)
    apart = square > 0
    root = torch.where(apart, square, torch.ones_like(square)).sqrt()  # no slope at zero distance
    return torch.where(apart, root, torch.zeros_like(root))


def _mean(value: Tensor, valid: Tensor) -> Tensor:
    return (value * valid).sum(1) / valid.sum(1).clamp_min(1)


def _trimmed(distance: Tensor, valid: Tensor, trim: float) -> Tensor:
    """`valid` without each item's largest `trim` share of distances."""
    ordered = distance.detach().masked_fill(~valid, torch.inf).sort(1).values
    last = ((valid.sum(1, keepdim=True) * (1 - trim)).ceil().long() - 1).clamp_min(0)
    return valid & (distance.detach() <= ordered.gather(1, last))


def chamfer_distance(
    a: Tensor,
    b: Tensor,
    valid_a: Tensor | None = None,
    valid_b: Tensor | None = None,
    *,
    trim: float = 0.0,
    noise_m: Tensor | None = None,
    chunk: int = 2048,
) -> Tensor:
    """Two-sided chamfer distance, unsquared, Self6D equation (11).

    1/|A| sum_A min_B ||a - b||_2 + 1/|B| sum_B min_A ||a - b||_2. The neighbour is found without a
    gradient; the gradient flows through the distance to it.

    Args:
        a: (N, A, 3), metres. b: (N, B, 3), metres.
        valid_a: (N, A) bool. valid_b: (N, B) bool. None: all points count.
        trim: share of the largest distances left out on each side (0: the paper's form).
        noise_m: (N,) sensor noise, metres. Distances d become sqrt(d^2 + noise^2) - noise, smooth
            within the noise and unsquared beyond it; None: the paper's form.
        chunk: points compared at a time, bounds the memory at N x chunk x max(A, B).

    Returns:
        (N,), metres; 0 with zero gradient where either side has no valid point.
    """
    valid_a = torch.ones_like(a[..., 0], dtype=torch.bool) if valid_a is None else valid_a
    valid_b = torch.ones_like(b[..., 0], dtype=torch.bool) if valid_b is None else valid_b
    near_a, near_b = _centred(a, b, valid_b)
    to_b = _nearest(near_a, near_b, valid_b, chunk)
    to_a = _nearest(near_b, near_a, valid_a, chunk)
    sides = []
    for distance, valid in (
        (_pair_distance(a, b, to_b), valid_a),
        (_pair_distance(b, a, to_a), valid_b),
    ):
        kept = _trimmed(distance, valid, trim) if trim > 0 else valid
        if noise_m is not None:
            noise = noise_m[:, None]
            distance = (distance.square() + noise.square()).sqrt() - noise
        sides.append(_mean(distance, kept))
    both = valid_a.any(1) & valid_b.any(1)
    return torch.where(both, sides[0] + sides[1], torch.zeros_like(sides[0]))


def surface_distance(
    sensor_m: Tensor,
    held: Tensor,
    rendered_m: Tensor,
    shown: Tensor,
    K: Tensor,
    count: int,
    jitter: float | Tensor = 0.5,
    *,
    trim: float = 0.0,
    noise_at_1m: float = 0.0,
) -> Tensor:
    """`chamfer_distance` of `sample_surface` of two depth maps, equations (9) to (11).

    Args:
        sensor_m, rendered_m: (N, H, W) float, metres, 0 where unknown; differentiable in the
            second alone on a GPU. held, shown: (N, H, W) bool, where they count.
        K: (N, 3, 3), pixels. count, jitter: as of `sample_surface`. trim: as of `chamfer_distance`.
        noise_at_1m: sensor noise at 1 m, metres, growing with the square of the points' mean
            distance; 0: none.

    Returns:
        (N,), metres; 0 with zero gradient where either has no point.
    """
    kernels = usable("self6d.losses.gpu.surface_kernels", sensor_m, rendered_m, K)
    if kernels is not None and not sensor_m.requires_grad and not K.requires_grad:
        how = (count, trim, noise_at_1m)
        if not isinstance(jitter, Tensor):
            jitter = sensor_m.new_full((), jitter)
        return _SurfaceDistance.apply(rendered_m, sensor_m, held, shown, K, jitter, how, kernels)
    sensor, sensor_ok = sample_surface(sensor_m, held, K, count, jitter)
    model, model_ok = sample_surface(rendered_m, shown, K, count, jitter)
    noise = None
    if noise_at_1m > 0:
        distance = (sensor[..., 2] * sensor_ok).sum(1) / sensor_ok.sum(1).clamp_min(1)
        noise = noise_at_1m * distance.square()
    return chamfer_distance(sensor, model, sensor_ok, model_ok, trim=trim, noise_m=noise)


class _SurfaceDistance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rendered: Tensor, sensor: Tensor, held: Tensor, shown: Tensor, K: Tensor,
        jitter: Tensor, how: tuple[int, float, float], kernels: ModuleType,
    ) -> Tensor:  # fmt: skip
        value, kept = kernels.distance(sensor, held, rendered, shown, K, jitter, *how)
        ctx.save_for_backward(*kept)
        ctx.size, ctx.kernels = rendered.shape[-2:], kernels
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.kernels.gradient(ctx.saved_tensors, gradient.contiguous(), ctx.size)
        return found, *[None] * 7
