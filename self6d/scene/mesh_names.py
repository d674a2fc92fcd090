"""Which files are CAD, by their names alone."""

from __future__ import annotations

from pathlib import Path

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")  # most likely textured first


def is_mesh(path: Path) -> bool:
    """Whether a file's name says CAD; ._name is what macOS keeps beside a file, no mesh."""
    return path.suffix.lower() in MESH_SUFFIXES and not path.name.startswith("._")
