"""Rotations as matrices, quaternions, 6D vectors and axis-angle vectors; viewing-ray corrections.

Convention: quaternions are wxyz, unit, w >= 0. Matrices act on column vectors; batches lead.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """(..., 4) wxyz, any non-zero length -> (..., 3, 3) rotation."""
    w, x, y, z = normalize(q, dim=-1).unbind(-1)
    m = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(m, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quaternion(R: Tensor) -> Tensor:
    """(..., 3, 3) rotation -> (..., 4) wxyz, unit, w >= 0.

    Takes the best conditioned of the four closed forms, so it is stable at every angle.
    """
    m00, m11, m22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    rows = torch.stack(
        (
            torch.stack((1 + m00 + m11 + m22, R[..., 2, 1] - R[..., 1, 2],
                         R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]), -1),
            torch.stack((R[..., 2, 1] - R[..., 1, 2], 1 + m00 - m11 - m22,
                         R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0]), -1),
            torch.stack((R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] + R[..., 0, 1],
                         1 - m00 + m11 - m22, R[..., 2, 1] + R[..., 1, 2]), -1),
            torch.stack((R[..., 1, 0] - R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0],
                         R[..., 2, 1] + R[..., 1, 2], 1 - m00 - m11 + m22), -1),
        ),
        dim=-2,
    )  # fmt: skip
    best = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    q = normalize(rows.gather(-2, index).squeeze(-2), dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def rotation6d_to_matrix(d6: Tensor) -> Tensor:
    """(..., 6), two columns before Gram-Schmidt -> (..., 3, 3) (Zhou et al., CVPR 2019)."""
    a, b = d6[..., :3], d6[..., 3:]
    x = normalize(a, dim=-1)
    y = normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=-1)


def matrix_to_rotation6d(R: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 6), its first two columns."""
    return torch.cat((R[..., :, 0], R[..., :, 1]), dim=-1)


def _hat(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))


def axis_angle_to_matrix(v: Tensor) -> Tensor:
    """Exponential map: (..., 3), radians times unit axis -> (..., 3, 3). Differentiable at zero."""
    angle2 = (v * v).sum(-1)[..., None, None]
    small = angle2 < 1e-8
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    a = torch.where(small, 1 - angle2 / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - angle2 / 24, (1 - angle.cos()) / safe)
    k = _hat(v)
    return torch.eye(3, dtype=v.dtype, device=v.device) + a * k + b * (k @ k)


def matrix_to_axis_angle(R: Tensor) -> Tensor:
    """Logarithm: (..., 3, 3) -> (..., 3), radians times unit axis, angle in [0, pi]."""
    q = matrix_to_quaternion(R)
    sin_half = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sin_half, q[..., :1])
    scale = angle / sin_half.clamp_min(1e-12)
    scale = torch.where(sin_half < 1e-7, torch.full_like(angle, 2.0), scale)
    return q[..., 1:] * scale


def rotation_angle(A: Tensor, B: Tensor) -> Tensor:
    """Geodesic distance between rotations (..., 3, 3) and (..., 3, 3) -> (...), radians."""
    return matrix_to_axis_angle(A.transpose(-1, -2) @ B).norm(dim=-1)


def random_rotations(
    n: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """`n` rotations uniform on SO(3) -> (n, 3, 3)."""
    q = torch.randn(n, 4, generator=generator, device=device, dtype=dtype)
    return quaternion_to_matrix(q)


def _ray_rotation(t: Tensor) -> Tensor:
    """Smallest rotation of the optical axis (0, 0, 1) to the ray through t, (..., 3)."""
    ray = normalize(t, dim=-1)
    x, y, z = ray.unbind(-1)
    # Rodrigues with v = axis x ray = (-y, x, 0) and cos = z > 0 in front of a camera
    k = _hat(torch.stack((-y, x, torch.zeros_like(x)), dim=-1))
    eye = torch.eye(3, dtype=t.dtype, device=t.device)
    return eye + k + (k @ k) / (1 + z)[..., None, None]


def allocentric_to_egocentric(R_allo: Tensor, t: Tensor) -> Tensor:
    """Viewing-ray to camera rotation, R_ego = R_ray(t) R_allo (Kundu et al., 3D-RCNN, CVPR 2018).

    Args:
        R_allo: (..., 3, 3). t: (..., 3), metres, in front of the camera.
    """
    return _ray_rotation(t) @ R_allo


def egocentric_to_allocentric(R_ego: Tensor, t: Tensor) -> Tensor:
    """Inverse of `allocentric_to_egocentric`."""
    return _ray_rotation(t).transpose(-1, -2) @ R_ego
