"""What the network says about a batch of images."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class Detections:
    """N detected instances in a batch of images.

    Attributes:
        image_index: (N,) int64. object_index: (N,) int64, position in the run's object list.
        score: (N,) float32 in [0, 1].
        box: (N, 4) float32, x0 y0 x1 y1, pixels of the image given to the network.
        R: (N, 3, 3) float32. t: (N, 3) float32, metres. Model to camera, differentiable.
        mask_logits: (N, 1 or 2, M, M) float32 over `roi_box`: channel 0 visible, 1 amodal mask.
        roi_box: (N, 4) float32, the (padded) region the masks cover, pixels.
    """

    image_index: Tensor
    object_index: Tensor
    score: Tensor
    box: Tensor
    R: Tensor
    t: Tensor
    mask_logits: Tensor
    roi_box: Tensor

    def __len__(self) -> int:
        return len(self.image_index)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        return Detections(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def cat(parts: list[Detections]) -> Detections:
        return Detections(
            *(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Detections))
        )
