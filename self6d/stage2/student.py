"""The student of stage 2, as one module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from self6d.network import PoseNetwork
from self6d.network.outputs import Detections
from self6d.scene.batch import LabelledBatch


class Student(nn.Module):
    """All that a step asks of the network, in one call, as data-parallel training needs it.

    Args:
        frozen_for_self_loss: parameters that the poses pass no gradient to; losses with labels do.
    """

    def __init__(self, network: PoseNetwork, frozen_for_self_loss: Sequence[Tensor]) -> None:
        super().__init__()
        self.network, self.frozen_for_self_loss = network, list(frozen_for_self_loss)

    def forward(
        self,
        images: Tensor,
        K: Tensor,
        boxes: tuple[Tensor, Tensor, Tensor] | None,
        labelled: Sequence[tuple[LabelledBatch, Tensor | None]],
        noise: torch.Generator,
    ) -> tuple[Detections | None, list[Tensor], Tensor]:
        """Poses in boxes, a loss for each labelled batch, and a zero all parameters have part in.

        Args:
            boxes: corners, image and object of each; None: no poses are asked for.
        """
        losses = [self.network.losses(batch, noise, known)["total"] for batch, known in labelled]
        learning = [p.sum() for p in self.network.parameters() if p.requires_grad]
        nothing = 0.0 * torch.stack(learning).sum()
        if boxes is None:
            return None, losses, nothing
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(False)
        detections = self.network.poses_for_boxes(images, K, *boxes)
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(True)
        return detections, losses, nothing
