"""Which files of a folder are the CAD models, one an object, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from self6d.files import note
from self6d.scene.known import known_id
from self6d.scene.mesh_names import INSTALL, MESH_SUFFIXES, is_mesh, missing_reader

_BOP_NAME = re.compile(r"(?:.*[-_])?obj_(\d+)$")
_INNER = ("google_16k", "meshes", "mesh", "visual")  # of an object's folder (YCB, URDF, SDF)
_GENERIC = re.compile(r"(non)?textured\w*|(OLD)?mesh|google_16k|visual|collision|model")
_WHOLE = re.compile(r"textured|visual", re.IGNORECASE)
_LESSER = re.compile(
    r"nontextured|textured_simple|OLDmesh|collision|convex|vhacd|decimated|proxy", re.IGNORECASE
)


def mesh_files(root: Path) -> list[Path]:
    """Meshes of a folder, one a stem; else of its only sub-folder that has some; else one of each
    sub-folder (YCB: NAME/textured.obj). What is left out is noted, but for lesser forms of one
    object (nontextured, collision).
    """
    found = _one_per_stem(_readable(sorted(p for p in root.iterdir() if is_mesh(p))))
    if found:
        return found
    if (root / "models").is_dir() and (found := mesh_files(root / "models")):
        return found  # of a whole BOP set, which has them a second time in models_eval
    folders = [_meshes_in(p) for p in sorted(root.iterdir()) if p.is_dir()]
    folders = [inside for inside in folders if inside]
    if len(folders) == 1 and not any(_GENERIC.fullmatch(p.stem) for p in folders[0]):
        return _one_per_stem(_readable(sorted(folders[0])))
    for inside in folders:
        others = {p.stem for p in inside if not _LESSER.search(p.stem)} - {inside[0].stem}
        if others:
            text = f"holds {len(others) + 1} meshes, where one object's is expected"
            note(inside[0].parent, f"{text}; {inside[0].name} is used")
    return [inside[0] for inside in folders]


def _meshes_in(folder: Path) -> list[Path]:
    """Meshes of an object's folder, the one that shows it best first."""
    for place in (folder, *(folder / name for name in _INNER)):
        if place.is_dir() and (found := [p for p in place.iterdir() if is_mesh(p)]):
            return sorted(found, key=_worth)
    return []


def _worth(path: Path) -> tuple[bool, bool, bool, str]:
    return (
        bool(missing_reader(path)),
        bool(_LESSER.search(path.stem)),
        not _WHOLE.search(path.stem),
        path.name,
    )


def _readable(files: list[Path]) -> list[Path]:
    """Without those whose reader is not installed, which is noted; all where there is no other."""
    out = [p for p in files if missing_reader(p)]
    if len(out) == len(files):
        return files
    for path in out:
        others = "the other CAD files there are used; to read it too"
        note(path, f"left out, as {missing_reader(path)} is not installed: {others}, {INSTALL}")
    return [p for p in files if p not in out]


def _one_per_stem(files: Iterable[Path]) -> list[Path]:
    best: dict[str, Path] = {}
    for path in files:
        rival = best.get(path.stem)
        if rival is None or _rank(path) < _rank(rival):
            best[path.stem] = path
        if rival is not None:
            note(path, f"several files are named {path.stem}; {best[path.stem].name} is used")
    return list(best.values())


def _rank(path: Path) -> int:
    return MESH_SUFFIXES.index(path.suffix.lower())


def name_of(path: Path) -> str:
    """A model's name: its file's, or its folder's where every file is named as this one is."""
    folder = path.parent.parent if path.parent.name in _INNER else path.parent
    generic = _GENERIC.fullmatch(path.stem) and folder.name.lower() not in ("", "models", "cad")
    return folder.name if generic else path.stem


def numbered(files: list[Path]) -> list[tuple[int, Path]]:
    """(object id, file), sorted by id; only the names are looked at."""
    matches = [_BOP_NAME.match(f.stem) for f in files]
    ids = [int(m.group(1)) for m in matches if m]
    if len(ids) < len(files):
        ids = [i for f in files if (i := known_id(name_of(f), linemod=f.stem == "mesh"))]
    if len(ids) < len(files) or len(set(ids)) < len(ids):
        ids = list(range(1, len(files) + 1))
    return sorted(zip(ids, files, strict=True))
