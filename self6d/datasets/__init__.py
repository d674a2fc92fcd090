"""Recordings in, frames out: readers for every common layout, CAD models, doctor, writers."""

from self6d.datasets.base import Dataset, FrameKey, UnlabelledFrames
from self6d.datasets.recording import Recording, upper_bound_truth
from self6d.datasets.registry import open_dataset
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
