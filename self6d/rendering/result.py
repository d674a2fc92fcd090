"""The renderer's inputs and outputs, shared by all backends."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Rendering:
    """R(R, t, K, M) = (I_R, D_R, M_R), Self6D equation (1), for a batch of B poses.

    Attributes:
        rgb: (B, 3, H, W) float, 0 to 1, black where uncovered.
        depth_m: (B, H, W) float, metres along z, 0 where uncovered.
        soft_mask: (B, H, W) float, 1 where covered, DIB-R probability elsewhere.
        face_id: (B, H, W) int32, face within the item's own model, -1 where uncovered.
    """

    rgb: Tensor
    depth_m: Tensor
    soft_mask: Tensor
    face_id: Tensor

    @property
    def covered(self) -> Tensor:
        """(B, H, W) bool."""
        return self.face_id >= 0
