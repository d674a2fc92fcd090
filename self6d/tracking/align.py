"""Poses pulled onto the sensor's surface: point-to-plane Gauss-Newton over rendered pixels.

The optimiser finds the way by outline, colour and geometry; what is left of it is what the mask's
edge and the few points compared leave open. Here every pixel counts, as in projective ICP
(Newcombe et al., KinectFusion, ISMAR 2011), and directions that the surface leaves open (along a
plane, about an axis) stay where the optimiser put them.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from self6d.geometry import axis_angle_to_matrix, backproject
from self6d.layers.usable import usable
from self6d.rendering import PackedModels, render

ROUNDS = 8
NARROWS = 0.6  # by which the gate shrinks each round
GATE_M = 0.008  # that it shrinks to
NOISE_M = 0.0005  # least spread of a sensor's depth
ALIKE = 20.0  # neighbouring pixels err alike: so many count as one
STIFF = (0.026, 0.003)  # standard deviation of what the optimiser leaves, radians and metres
FRONTAL = 0.25  # least cosine between surface and ray
CREASE_M = 0.004  # depth off its neighbours' mean: an edge within the object
FEWEST = 30  # pixels


@torch.no_grad()
def align_to_depth(
    sensor: Tensor,
    observed: Tensor,
    K: Tensor,
    models: PackedModels,
    R: Tensor,
    t: Tensor,
    centre: Tensor,
    diameter: float,
) -> tuple[Tensor, Tensor]:
    """N poses moved to where their surfaces lie on the sensor's; where too little agrees, as given.

    Args:
        sensor: (N, h, w), metres, 0 where unknown: regions around the poses. observed: (N, h, w)
            bool, inside the image. K: (N, 3, 3), pixels of the regions.
        models: one packed model.
        R: (N, 3, 3). t: (N, 3), metres. centre: (3,), metres, model frame, turned about.
        diameter: metres.

    Returns:
        (N, 3, 3) and (N, 3), dtypes as given.
    """
    given = R
    size, held = (sensor.shape[-2], sensor.shape[-1]), _held(R.device)
    kernels = usable("self6d.tracking.quick.align_kernels", sensor, K, R, t, centre)
    if kernels is not None:
        poses = kernels.Aligned.of(R, t, centre)
        for k in range(ROUNDS):
            view = render(poses.R, poses.t, K, models, size, soft_mask=False)
            kernels.step(poses, view.depth_m, sensor, observed, K, _gate(k, diameter), held)
        return poses.R, poses.t
    ray = backproject(torch.ones_like(sensor), K)
    middle = (R @ centre + t).double()
    R = R.double()
    turned, moved = R.new_zeros(len(R), 3), torch.zeros_like(middle)
    for k in range(ROUNDS):
        t64 = middle - R @ centre.double()
        view = render(R.to(given), t64.to(given), K, models, size, soft_mask=False)
        point, normal, use = _surface(view.depth_m, ray)
        use &= observed & (sensor > 0) & ((sensor - view.depth_m).abs() < _gate(k, diameter))
        apart = ((ray * sensor[..., None] - point) * normal).sum(-1).double()
        spread = torch.where(use, apart.abs(), torch.nan).flatten(1).nanmedian(1).values
        spread = (1.4826 * spread.nan_to_num(0.0)).clamp_min(NOISE_M)[:, None, None]
        weight = torch.where(use, 1 / (1 + (apart / (2 * spread)).square()).square(), 0.0)
        weight = weight / (ALIKE * spread.square())
        arm = point - middle[:, None, None].to(point)
        J = torch.cat((torch.linalg.cross(arm, normal, dim=-1), normal), -1).double().flatten(1, 2)
        weighted = (J * weight.flatten(1)[..., None]).mT
        A = weighted @ J + held.diag()
        pull = torch.cat((turned, moved), 1) * held
        b = (weighted @ apart.nan_to_num(0.0).flatten(1)[..., None])[..., 0] - pull
        step = _solved(A, b)
        step = torch.where(use.sum((1, 2))[:, None] >= FEWEST, step, 0.0)
        turned, moved = turned + step[:, :3], moved + step[:, 3:]
        R = axis_angle_to_matrix(step[:, :3]) @ R
        middle = middle + step[:, 3:]
    return R.to(given), (middle - R @ centre.double()).to(given)


def _gate(k: int, diameter: float) -> float:
    """Metres within which depth is compared in a round."""
    return max(0.08 * diameter * NARROWS**k, GATE_M)


@cache
def _held(device: torch.device) -> Tensor:
    """(6,) float64, inverse variances; kept, as a copy to a device would forbid CUDA graphs."""
    return 1 / torch.tensor([STIFF[0]] * 3 + [STIFF[1]] * 3, dtype=torch.float64).square().to(
        device
    )


def _solved(A: Tensor, b: Tensor) -> Tensor:
    """x of A x = b; LAPACK's solver on a GPU waits for it."""
    return torch.linalg.solve(A, b) if A.device.type == "cpu" else eliminated(A, b)


def eliminated(A: Tensor, b: Tensor) -> Tensor:
    """x of A x = b by Gauss-Jordan without pivots: A (N, M, M) positive definite, b (N, M)."""
    rows = torch.cat((A, b[..., None]), -1)
    unit = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    for k in range(A.shape[-1]):
        row = rows[:, k : k + 1] / rows[:, k : k + 1, k : k + 1]
        rows = rows - (rows[:, :, k : k + 1] - unit[:, k : k + 1]) * row
    return rows[..., -1]


def _surface(depth_m: Tensor, ray: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rendered points and unit normals (N, h, w, 3), and where both can be relied on."""
    point = ray * depth_m[..., None]
    across, down = torch.zeros_like(point), torch.zeros_like(point)
    across[:, :, 1:-1] = point[:, :, 2:] - point[:, :, :-2]
    down[:, 1:-1] = point[:, 2:] - point[:, :-2]
    normal = torch.linalg.cross(across, down, dim=-1)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    frontal = (normal * ray).sum(-1).abs() > FRONTAL * ray.norm(dim=-1)
    empty = (depth_m <= 0).to(depth_m.dtype)[:, None]
    inside = max_pool2d(empty, 3, 1, 1)[:, 0] == 0
    mean = avg_pool2d(depth_m[:, None], 3, 1, 1)[:, 0]
    return point, normal, inside & frontal & ((depth_m - mean).abs() < CREASE_M)
