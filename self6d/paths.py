"""Where things lie: shipped resources, and this user's own folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from self6d.errors import InputError

_PACKAGE = Path(__file__).resolve().parent

REALSENSE = "realsense"
SHIPPED = "shipped"
"""Names the refiner that comes with the installation: trained on generated shapes, for any CAD
model (`self6d-studio train-refiner --preset refiner-shipped`)."""
NO_REFINER = "none"
"""Leaves the refiner that a run adapted out of its package."""
SAMPLE_STAGE_1 = "sample/stage1"
"""The resource that is a run of stage 1 on the sample's objects."""
EARLY_EVENTS = "SELF6D_EVENTS"
PACKED_REFINER = "refiner.safetensors"
"""In the folder of a package that has one."""
POSES = "poses.json"
"""In the folder of a run that wrote or learned from a track."""


def is_package(path: str | Path) -> bool:
    """Whether a folder is what export made of a run."""
    return (Path(path) / "model.json").is_file() and not (Path(path) / "run.json").is_file()


def track_file(path: str | Path) -> Path:
    """The track in a run folder that has one; any other path as it is."""
    path = Path(path)
    return path / POSES if (path / POSES).is_file() else path


def resource(name: str | Path) -> Path:
    """A shipped file or folder, such as `resource("presets/tiny.toml")`.

    Raises:
        InputError: the installation lacks it.
    """
    path = find_resource(name)
    if path is None:
        raise InputError(f"the installation lacks resources/{name}", remedy="Install it again.")
    return path


def find_resource(name: str | Path) -> Path | None:
    """The same, None if it is not there."""
    for root in (_PACKAGE / "resources", _PACKAGE.parent / "resources"):  # wheel, checkout
        if (root / name).exists():
            return root / name
    return None


def refiner_name(source: str | Path) -> str:
    """A refiner as a run keeps its name: `SHIPPED`, or an absolute path."""
    return SHIPPED if str(source) == SHIPPED else str(Path(source).absolute())


def refiner_file(source: str | Path) -> Path:
    """Where a refiner lies that is named by its path, its package's, or `SHIPPED`."""
    name = refiner_name(source)
    if name == SHIPPED:
        return resource("refiner/any.safetensors")
    return Path(source) / PACKED_REFINER if is_package(source) else Path(source)


def early_events() -> Path | None:
    """Where a job says what it does before its run folder takes events; SELF6D_EVENTS names it."""
    given = os.environ.get(EARLY_EVENTS)
    return Path(given) if given else None


def user_state() -> Path:
    """Folder of logs and settings; made when missing. SELF6D_STATE overrides the usual place."""
    if given := os.environ.get("SELF6D_STATE"):
        path = Path(given)
    elif sys.platform == "win32":
        path = Path(os.environ.get("LOCALAPPDATA", Path.home())) / "self6d-studio"
    elif sys.platform == "darwin":
        path = Path.home() / "Library" / "Application Support" / "self6d-studio"
    else:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(base) / "self6d-studio"
    path.mkdir(parents=True, exist_ok=True)
    return path
