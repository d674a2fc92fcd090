"""The first rendering of a process, apart from the work it would hold up."""

from __future__ import annotations

import torch

from self6d.events import Told
from self6d.rendering.models import PackedModels
from self6d.rendering.renderer import render


def warm_up(models: PackedModels, tell: Told, *, gradients: bool) -> None:
    """Render a small image, so that kernels are loaded or, once on a machine, compiled.

    Args:
        models: on the device that will render.
        tell: hears of it.
        gradients: whether poses will be optimised through the renderer.
    """
    tell("loading the renderer, which a new machine compiles once", 0, 1)
    device = models.vertices.device
    K = torch.tensor([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]], device=device)
    R = torch.eye(3, device=device)[None].requires_grad_(gradients)
    t = torch.tensor([[0.0, 0, 3 * float(models.vertices.detach().abs().max())]], device=device)
    shown = render(R, t.requires_grad_(gradients), K, models, (32, 32), soft_mask=gradients)
    if gradients:
        (shown.rgb.sum() + shown.depth_m.sum() + shown.soft_mask.sum()).backward()
