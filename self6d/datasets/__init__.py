"""Recordings in, frames out: readers for every common layout, CAD models, doctor, writers."""

from typing import TYPE_CHECKING, Any

from self6d.datasets.base import Dataset, FrameKey, UnlabelledFrames
from self6d.datasets.recording import Recording, upper_bound_truth
from self6d.datasets.registry import open_dataset

if TYPE_CHECKING:
    from self6d.scene.mesh_io import load_mesh, load_models

__all__ = [
    "Dataset",
    "FrameKey",
    "Recording",
    "UnlabelledFrames",
    "load_mesh",
    "load_models",
    "open_dataset",
    "upper_bound_truth",
]


def __getattr__(name: str) -> Any:
    if name not in ("load_mesh", "load_models"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from self6d.scene import mesh_io  # slow to load, and reading a recording needs none of it

    return getattr(mesh_io, name)
