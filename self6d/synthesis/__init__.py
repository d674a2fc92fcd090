"""Stage-1 images: scenes, backgrounds and camera effects, made on the device that trains.

Names load on first use, so that `config` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self6d.synthesis.config import SynthesisConfig, default_camera, scaled_camera
    from self6d.synthesis.preview import gallery
    from self6d.synthesis.random_camera import augment
    from self6d.synthesis.ranges import ranges_from_depth
    from self6d.synthesis.scenes import SceneMaker

__all__ = [
    "SceneMaker",
    "SynthesisConfig",
    "augment",
    "default_camera",
    "gallery",
    "ranges_from_depth",
    "scaled_camera",
]

_HOME = {
    "SceneMaker": "scenes",
    "SynthesisConfig": "config",
    "augment": "random_camera",
    "default_camera": "config",
    "gallery": "preview",
    "ranges_from_depth": "ranges",
    "scaled_camera": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
