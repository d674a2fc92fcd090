"""What every backend receives: validated, contiguous tensors of one device and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from self6d.rendering.models import PackedModels
from self6d.rendering.result import Rendering


@dataclass(eq=False, slots=True)
class RenderJob:
    """One call of `render`, arguments checked.

    Attributes:
        R: (B, 3, 3). t: (B, 3), metres. K: (B, 3, 3), pixels.
        vertices: (V, 3), metres. colors: (V, 3); the models' own or the caller's.
        object_index: (B,) int32, which model each item shows.
        max_faces: no item has more faces.
        shading: (B, 5 + 6 L) as `Shading.packed` lays it out; None for plain colour.
        soft_mask: whether to spread the mask beyond the silhouette.
        sigma_inv, box, near_m: see `render`.
    """

    R: Tensor
    t: Tensor
    K: Tensor
    vertices: Tensor
    colors: Tensor
    models: PackedModels
    object_index: Tensor
    max_faces: int
    height: int
    width: int
    shading: Tensor | None
    soft_mask: bool
    sigma_inv: float
    box: float
    near_m: float


class Backend(Protocol):
    """A way to carry out a `RenderJob`."""

    def __call__(self, job: RenderJob) -> Rendering: ...
