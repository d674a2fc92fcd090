"""What takes long to make, made by the first worker that asks for it and read by all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

folder: Path | None = None  # of the whole session; tests/conftest.py says where


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file or folder `name` that `make` writes at the path it is given; others wait for it."""
    with one_at_a_time(name) as shared:
        path = shared / name
        if not path.exists():
            part = shared / f"{name}.part"
            make(part)
            part.rename(path)
    return path


@contextmanager
def one_at_a_time(name: str) -> Iterator[Path]:
    """Around what another worker does as well: what the first compiles, the others then load.

    Yields:
        the session's folder.
    """
    assert folder is not None, "is said when the session begins"
    with FileLock(folder / f"{name}.lock"):
        yield folder
