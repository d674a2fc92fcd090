"""Which files are CAD, by their names alone."""

from __future__ import annotations

from pathlib import Path

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")  # most likely textured first


_OTHERS = (
    ".step", ".stp", ".iges", ".igs", ".fbx", ".dae", ".3ds", ".blend", ".usd", ".usda", ".usdc",
    ".usdz", ".3mf", ".x3d", ".wrl", ".sldprt", ".ipt", ".catpart", ".prt", ".max", ".skp",
)  # fmt: skip


def others_in(folder: str | Path) -> str:
    """ ": part.step is of another kind" where a folder holds CAD of kinds that are not read."""
    place = Path(folder)
    found = sorted(p.name for p in place.iterdir() if p.suffix.lower() in _OTHERS)
    if not found:
        return ""
    more = f" and {len(found) - 1} more are" if len(found) > 1 else " is"
    return f": {found[0]}{more} of another kind"


def is_mesh(path: Path) -> bool:
    """Whether a file's name says CAD; ._name is what macOS keeps beside a file, no mesh."""
    return path.suffix.lower() in MESH_SUFFIXES and not path.name.startswith("._")
