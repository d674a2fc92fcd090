"""Adapt monocular 6D pose networks with CAD models and unlabelled RGB-D (Self6D, ECCV 2020).

The public names load on first use, so that `import self6d` stays light:

    >>> import self6d
    >>> camera = self6d.Camera([[500, 0, 320], [0, 500, 240], [0, 0, 1]], 640, 480)
    >>> camera.size
    (480, 640)

Jobs are functions that take a listener for `self6d.events` and a `Control`, and raise
`self6d.errors` only: `train` (stage 1), `adapt` (stage 2), `optimize` (one image), `predict`,
`evaluate`, `export`, `track` (a whole recording), `quick` (all of it without a GPU). What they
read: `open_dataset`, `load_models`. What they draw with: `pack_models`, `render`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self6d.datasets import open_dataset
    from self6d.geometry import Camera, Pose
    from self6d.jobs.adapt import adapt
    from self6d.jobs.evaluate import evaluate
    from self6d.jobs.export import export
    from self6d.jobs.optimize import optimize
    from self6d.jobs.predict import predict
    from self6d.jobs.track import track
    from self6d.jobs.train import train
    from self6d.laptop.quick import quick
    from self6d.rendering import pack_models, render
    from self6d.runs.control import Control
    from self6d.scene import Frame, ObjectModel
    from self6d.scene.mesh_io import load_models

__version__ = "0.1.0"

_HOME = {
    "Camera": "geometry",
    "Control": "runs.control",
    "Frame": "scene",
    "ObjectModel": "scene",
    "Pose": "geometry",
    "adapt": "jobs",
    "evaluate": "jobs",
    "export": "jobs",
    "load_models": "scene.mesh_io",
    "open_dataset": "datasets",
    "optimize": "jobs",
    "pack_models": "rendering",
    "predict": "jobs",
    "quick": "laptop.quick",
    "render": "rendering",
    "track": "jobs",
    "train": "jobs",
}

__all__ = [
    "Camera",
    "Control",
    "Frame",
    "ObjectModel",
    "Pose",
    "adapt",
    "evaluate",
    "export",
    "load_models",
    "open_dataset",
    "optimize",
    "pack_models",
    "predict",
    "quick",
    "render",
    "track",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
