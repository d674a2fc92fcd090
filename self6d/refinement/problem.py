"""What the optimiser is asked: start poses, and the image regions that they are to explain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from self6d.losses.objective import SelfSupervision
from self6d.losses.target import Target
from self6d.refinement.config import OptimizeConfig
from self6d.rendering.models import PackedModels


@dataclass
class PoseProblem:
    """N start poses, each with the region it is to explain.

    Attributes:
        target: N regions from `SelfSupervision.observe`.
        models: packed models. object_index: (N,) int64, position in `models`.
        R: (N, 3, 3). t: (N, 3), metres. Start poses, model to camera.
        objective: L_self with its weights. config: steps, step sizes, starts.
        group: (N,) int64, which image each start belongs to; left out: each to its own. Starts of
            different images do not influence one another.
    """

    target: Target
    models: PackedModels
    object_index: Tensor
    R: Tensor
    t: Tensor
    objective: SelfSupervision
    config: OptimizeConfig
    group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def __post_init__(self) -> None:
        if not len(self.group):
            self.group = torch.arange(len(self.R), device=self.R.device)

    def __len__(self) -> int:
        return len(self.R)

    def __getitem__(self, index: Tensor) -> PoseProblem:
        """The starts `index` (M,) int64, repeated or reordered."""
        return replace(
            self,
            target=self.target[index],
            object_index=self.object_index[index],
            R=self.R[index],
            t=self.t[index],
            group=self.group[index],
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the regions, pixels."""
        return self.target.mask.shape[-2], self.target.mask.shape[-1]
