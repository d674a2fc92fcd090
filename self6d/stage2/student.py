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
        shared: whether several processes train it together.
    """

    def __init__(
        self, network: PoseNetwork, frozen_for_self_loss: Sequence[Tensor], *, shared: bool = False
    ) -> None:
        super().__init__()
        self.network, self.frozen_for_self_loss = network, list(frozen_for_self_loss)
        self._learning = [p for p in network.parameters() if p.requires_grad]
        if not shared:  # a kernel or two for each of them; see `finite_step(whole=True)`
            self._learning = self._learning[:1]

    def forward(
        self,
        images: Tensor,
        K: Tensor,
        boxes: tuple[Tensor, Tensor, Tensor] | None,
        labelled: Sequence[tuple[LabelledBatch, Tensor | None]],
        noise: torch.Generator,
    ) -> tuple[Detections | None, list[Tensor], Tensor]:
        """Poses in boxes, a loss for each labelled batch, and a zero with a gradient.

        Where several processes train it together, all parameters have part in the zero.

        Args:
            boxes: corners, image and object of each; None: no poses are asked for.
        """
        losses = [self.network.losses(batch, noise, known)["total"] for batch, known in labelled]
        nothing = 0.0 * torch.stack([p.sum() for p in self._learning]).sum()
        if boxes is None:
            return None, losses, nothing
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(False)
        detections = self.network.poses_for_boxes(images, K, *boxes)
        for parameter in self.frozen_for_self_loss:
            parameter.requires_grad_(True)
        return detections, losses, nothing
