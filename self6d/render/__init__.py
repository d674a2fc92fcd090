"""Differentiable rendering of posed CAD models: colour, metric depth and DIB-R's soft mask."""

from self6d.render.models import PackedModels, pack_models
from self6d.render.renderer import available_backends, get_backend, render
from self6d.render.rendering import Rendering
from self6d.render.shading import Shading

__all__ = [
    "PackedModels",
    "Rendering",
    "Shading",
    "available_backends",
    "get_backend",
    "pack_models",
    "render",
]
