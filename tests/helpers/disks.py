"""Real disks that fail, for tests: full, read-only, too small a file size, denied."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Switch = Callable[[], None]


def _mount(*arguments: str) -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path, size: str = "2m") -> Iterator[tuple[Path, Switch, Switch]]:
    """A small disk that something else fills (ENOSPC).

    Args:
        size: as mount takes it.
    """
    if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("may not mount")

    def fail() -> None:
        with open(folder / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    try:
        yield folder / "run", fail, lambda: (folder / "filler").unlink()
    finally:
        _unmount(folder)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[tuple[Path, Switch, Switch]]:
    """The run folder becomes read-only, as a disk with errors does (EROFS)."""
    run = folder / "run"
    run.mkdir()
    if not _mount("--bind", str(run), str(run)):
        pytest.skip("may not mount")
    _unmount(run)

    def fail() -> None:
        assert _mount("--bind", str(run), str(run))
        assert _mount("-o", "remount,bind,ro", str(run))

    yield run, fail, lambda: _unmount(run)


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[tuple[Path, Switch, Switch]]:
    """Files may not grow beyond 30 kB (EFBIG), so that a checkpoint fails in its middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fail() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))

    def mend() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        yield folder / "run", fail, mend
    finally:
        mend()


@contextlib.contextmanager
def denied(folder: Path) -> Iterator[tuple[Path, Switch, Switch]]:
    """Somebody takes the right to write away (EACCES), also where the tests run as root."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as open_to_all:
        run = Path(open_to_all) / "run"
        run.mkdir()
        folders = (run, run / "checkpoints", run / "previews")
        root = os.geteuid() == 0
        if root:
            os.chmod(open_to_all, 0o755)
            os.chown(run, nobody, nobody)
            os.seteuid(nobody)

        def allow(mode: int) -> Switch:
            return lambda: [os.chmod(path, mode) for path in folders if path.exists()] and None

        try:
            yield run, allow(0o555), allow(0o755)
        finally:
            allow(0o755)()
            if root:
                os.seteuid(0)
