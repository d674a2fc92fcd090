"""Which files are CAD, by their names alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

STEP_SUFFIXES = (".step", ".stp")
# most likely textured first; of one object's files that state neither colour nor unit come last
MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".dae", ".ply", *STEP_SUFFIXES, ".3mf", ".stl", ".off")
KINDS = "STEP, GLB, OBJ, PLY, STL, DAE or 3MF"  # in words, for people

INSTALL = 'pip install "self6d-studio[cad]"'
_PACKAGES = {".step": "cascadio", ".stp": "cascadio", ".3mf": "lib3mf", ".dae": "pycollada"}
_MODULES = {"pycollada": "collada"}  # of packages that are called otherwise

_OTHERS = (
    ".iges", ".igs", ".fbx", ".zae", ".3ds", ".blend", ".usd", ".usda", ".usdc", ".usdz",
    ".x3d", ".wrl", ".sldprt", ".ipt", ".catpart", ".prt", ".max", ".skp", ".stpz",
)  # fmt: skip


def missing_reader(path: Path) -> str:
    """The optional package that a file of this name needs and that is not installed, or ""."""
    package = _PACKAGES.get(path.suffix.lower(), "")
    return package if package and find_spec(_MODULES.get(package, package)) is None else ""


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
