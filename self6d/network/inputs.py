"""Frames as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from self6d.scene import Frame


def network_inputs(frames: Sequence[Frame], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """B frames of one size as images (B, 3, H, W) float32 in [0, 1] and K (B, 3, 3), pixels."""
    rgb = torch.stack([torch.from_numpy(f.rgb).to(device).permute(2, 0, 1) for f in frames])
    K = np.stack([f.camera.K for f in frames])
    return rgb.float() / 255, torch.tensor(K, dtype=torch.float32, device=device)
