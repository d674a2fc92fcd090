"""Poses as parameters that an optimiser can move."""

from __future__ import annotations

import torch
from torch import Tensor

from self6d.geometry import axis_angle_to_matrix


class PoseParameters:
    """Poses on their manifold: a left turn about the object's centre, and the centre's position.

    With c the centre in the model frame and p = R c + t the centre in the camera frame, a step
    delta = (w, a, b, d) gives R' = exp(w) R and p' = (p + (a, b, 0)) (1 + d / p_z): turning does
    not move the object and changing its distance does not move it in the image.

    Args:
        R: (N, 3, 3). t: (N, 3), metres. centre: (N, 3), metres, model frame.
    """

    def __init__(self, R: Tensor, t: Tensor, centre: Tensor) -> None:
        self.R = R.clone()
        self.centre = centre
        self.position = (R @ centre[..., None])[..., 0] + t

    def __getitem__(self, index: Tensor) -> PoseParameters:
        """Poses `index` (M,) int64."""
        t = self.translation(self.R, self.position)
        return PoseParameters(self.R[index], t[index], self.centre[index])

    def at(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """R (N, 3, 3) and centre position (N, 3) after `delta` (N, 6), differentiable."""
        shift = torch.nn.functional.pad(delta[:, 3:5], (0, 1))
        scale = (1 + delta[:, 5:] / self.position[:, 2:]).clamp_min(0.1)
        return axis_angle_to_matrix(delta[:, :3]) @ self.R, (self.position + shift) * scale

    def gradient(self, of_R: Tensor, of_position: Tensor) -> Tensor:
        """Of delta (N, 6) where it is 0, from that of what `at` gives there: (N, 3, 3), (N, 3)."""
        turn = of_R @ self.R.mT  # exp(w) R is R + [w]x R near 0
        turn = turn - turn.mT
        turn = torch.stack((turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]), 1)
        along = (of_position * self.position).sum(1, keepdim=True) / self.position[:, 2:]
        return torch.cat((turn, of_position[:, :2], along), 1)

    def translation(self, R: Tensor, position: Tensor) -> Tensor:
        """t (N, 3), metres, of a pose given by its rotation and centre position."""
        return position - (R @ self.centre[..., None])[..., 0]

    def move(self, delta: Tensor) -> None:
        """Take the step, in place; one Newton step keeps R orthonormal over many of them."""
        R, position = self.at(delta)
        self.R.copy_(R @ (1.5 * torch.eye(3, dtype=R.dtype, device=R.device) - 0.5 * R.mT @ R))
        self.position.copy_(position)
