"""Differentiable rendering of posed CAD models: colour, metric depth and DIB-R's soft mask."""

from self6d.rendering.models import PackedModels, pack_models
from self6d.rendering.renderer import available_backends, get_backend, render
from self6d.rendering.result import Rendering
from self6d.rendering.shading import Shading

__all__ = [
    "PackedModels",
    "Rendering",
    "Shading",
    "available_backends",
    "get_backend",
    "pack_models",
    "render",
]
