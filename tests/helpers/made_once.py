"""What takes long to make, made by the first worker that asks for it and read by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

folder: Path | None = None  # of the whole session; tests/conftest.py says where


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file `name` that `make` writes at the path it is given; others wait for it meanwhile."""
    assert folder is not None, "is said when the session begins"
    path = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            part = folder / f"{name}.part"
            make(part)
            part.rename(path)
    return path
