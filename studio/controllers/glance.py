"""What a path is by its name alone: nothing that reads images or meshes is loaded for it."""

from __future__ import annotations

from pathlib import Path

from self6d.scene.mesh_names import MESH_SUFFIXES
from studio.jobs.run_info import is_run

IMAGES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".ppm", ".pnm",
)  # fmt: skip
BAGS = (".bag", ".db3", ".mcap")
FILMS = (".mp4", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")


def glance(path: Path) -> str:
    """What a path looks like from its name alone, for the moment something hangs over the window.

    Returns:
        "recording", "model", "run", or "" if it cannot be any of them.
    """
    if path.is_dir():
        return "run" if is_run(path) else "recording"
    suffix = path.suffix.lower()
    if suffix in MESH_SUFFIXES:
        return "model"
    return "recording" if suffix in (*IMAGES, *BAGS, *FILMS) else ""
