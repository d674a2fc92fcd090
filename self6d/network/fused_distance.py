"""Distance from the pose head and from the object coordinates seen, each as far as it is sure.

The head judges distance by the whole silhouette, which has to be guessed where something stands in
front. The coordinates of the visible surface give a second opinion that needs no such guess.
"""

from __future__ import annotations

import torch
from torch import Tensor

HEAD_RESIDUAL = 0.05
"""The head counts like coordinates over the whole silhouette that are off by this, in diameters."""
LEAST_RESIDUAL = 0.01
"""Coordinates are never taken for surer than this, in diameters."""
CELLS = 16
"""Cells per axis, at most about as many, by which coordinates are told to be a symmetry's."""


def fused_distance(
    t: Tensor,
    R: Tensor,
    coordinates: Tensor,
    visible: Tensor,
    whole: Tensor,
    rays: Tensor,
    diameter: Tensor,
    symmetries: Tensor,
) -> Tensor:
    """Move translations along their viewing rays to the fused distance.

    A cell with ray (u, v) that sees the point p = R X fulfils p_x + t_x = u (p_z + t_z), and so for
    y: linear in t, solved by least squares weighted with visible^2. Both distances are averaged by
    precision: the spread of the rays that were used over the mean squared residual. Where few
    cells are seen, or what they say fits no pose, the head's distance stays.

    Of an object that looks the same from several sides, rotation and coordinates are learned each
    up to a symmetry, so they may speak of two: the coordinates are first brought to that of R.

    Args:
        t: (N, 3), metres, camera frame, of the pose head. R: (N, 3, 3), model to camera.
        coordinates: (N, 3, S, S), metres, model's axes, about the point that t places.
        visible, whole: (N, S, S), probabilities of the visible part and the silhouette.
        rays: (N, 2, S, S), X/Z and Y/Z of the cells. diameter: (N,), metres.
        symmetries: (N, G, 4, 4), of the frame the coordinates are in, metres.

    Returns:
        (N, 3), metres. Gradients go to t and to the coordinates, not to R or the masks.
    """
    R = R.detach()
    if symmetries.shape[1] > 1:
        S = _symmetry_of_coordinates(t, R, coordinates, visible, rays, symmetries)
        turned = R @ S[:, :3]
        point = turned[..., :3] @ coordinates.flatten(2) + turned[..., 3:]
    else:
        point = R @ coordinates.flatten(2)
    rays = rays.flatten(2)
    offset = rays * point[:, 2:] - point[:, :2]
    weight = visible.detach().flatten(1)[:, None] ** 2
    rays_apart, offset_apart = _apart(rays, weight), _apart(offset, weight)
    spread = _spread(rays_apart, weight)
    seen_z = -(weight * rays_apart * offset_apart).sum((1, 2)) / spread
    head_z = t[:, 2]
    with torch.no_grad():
        residual = rays_apart * seen_z[:, None, None] + offset_apart
        variance = (weight * residual.square()).sum((1, 2)) / _total(weight)[:, 0, 0]
        seen_precision = spread / (variance + (LEAST_RESIDUAL * diameter).square())
        silhouette = whole.flatten(1)[:, None]
        head_spread = _spread(_apart(rays, silhouette), silhouette)
        head_precision = head_spread / (HEAD_RESIDUAL * diameter).square()
        share = seen_precision / (seen_precision + head_precision)
    seen_z = torch.minimum(torch.maximum(seen_z, head_z / 2), 2 * head_z)
    return t * (1 + share * (seen_z / head_z - 1))[:, None]


@torch.no_grad()
def _symmetry_of_coordinates(
    t: Tensor, R: Tensor, coordinates: Tensor, visible: Tensor, rays: Tensor, symmetries: Tensor
) -> Tensor:
    """(N, 4, 4), the symmetry S with which R S x + t lies nearest to the rays of the cells."""
    step = max(1, coordinates.shape[-1] // CELLS)
    cells = (..., slice(step // 2, None, step), slice(step // 2, None, step))
    x, rays = coordinates[cells].flatten(2)[:, None], rays[cells].flatten(2)[:, None]
    weight = visible[cells].flatten(1)[:, None, None] ** 2
    turned = R[:, None] @ symmetries[..., :3, :]
    point = turned[..., :3] @ x + turned[..., 3:] + t[:, None, :, None]
    off = (point[:, :, :2] - rays * point[:, :, 2:]).abs() * weight  # (N, G, 2, cells)
    best = off.sum((2, 3)).argmin(1)
    return symmetries[torch.arange(len(best), device=best.device), best]


def _total(weight: Tensor) -> Tensor:
    """(N, 1, P) -> (N, 1, 1), never 0."""
    return weight.sum(-1, keepdim=True).clamp_min(1e-6)


def _apart(values: Tensor, weight: Tensor) -> Tensor:
    """Values (N, 2, P) less their mean under weights (N, 1, P)."""
    return values - (weight * values).sum(-1, keepdim=True) / _total(weight)


def _spread(apart: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of squares of (N, 2, P) -> (N,), never 0."""
    return (weight * apart.square()).sum((1, 2)).clamp_min(1e-9)
