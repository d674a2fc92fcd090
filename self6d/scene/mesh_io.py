"""Object models from CAD files, see `MESH_SUFFIXES`."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from self6d.errors import InputError
from self6d.events import counted
from self6d.files import log, note, read_bytes, unreadable
from self6d.scene.appearance import joined, surface_of
from self6d.scene.cad_folders import mesh_files, name_of, numbered
from self6d.scene.formats.dae import read_dae
from self6d.scene.formats.files_beside import FilesBeside
from self6d.scene.formats.gltf import GltfColour, keep_colours, prepared_gltf
from self6d.scene.formats.obj import prepared_obj
from self6d.scene.formats.ply import check_counts, off_as_ply, read_ply
from self6d.scene.formats.step import glb_of_step
from self6d.scene.formats.stl import prepared_stl
from self6d.scene.formats.threemf import read_3mf
from self6d.scene.known import linemod_name
from self6d.scene.mesh import ObjectModel
from self6d.scene.mesh_names import (
    INSTALL,
    MESH_SUFFIXES,
    STEP_SUFFIXES,
    missing_reader,
    others_in,
)
from self6d.scene.models_info import ModelInfo, read_distance, read_models_info
from self6d.scene.surface import Surface, face_coloured
from self6d.scene.units import Measured, diameter, metres_per_units, unit_name


def load_mesh(
    path: str | Path,
    object_id: int = 1,
    unit: str = "auto",
    *,
    name: str | None = None,
    info: ModelInfo | None = None,
) -> ObjectModel:
    """Read one CAD file.

    Args:
        path: of a kind in `MESH_SUFFIXES`.
        object_id: BOP object number, the class label.
        unit: unit of the file, "m", "cm", "mm" or "inch"; "auto" takes what the file states, else
            decides from `info`'s diameter, else from what is plausible, with a note; see
            `metres_per_units`.
        name: name shown to people; the file's stem by default.
        info: what a models_info file states about it (diameter, symmetries).

    Returns:
        The model in metres.

    Raises:
        InputError: missing, damaged, a Git-LFS pointer, no faces, an implausible size; the optional
            package that reads it is not installed.
    """
    path = Path(path)
    surface = _clean(_read(path), path)
    size = diameter(surface.vertices)
    declared = None if info is None else info.diameter_mm
    ((scale, guessed),) = metres_per_units([Measured(path, size, declared, surface.metres)], unit)
    return _model(path, surface, size, scale, guessed, object_id, name, info)


def _model(
    path: Path,
    surface: Surface,
    size: float,
    scale: float,
    guessed: str | None,
    object_id: int,
    name: str | None,
    info: ModelInfo | None,
    told: bool = True,
    copy: bool = False,
) -> ObjectModel:
    """Args: size: diameter, file's unit. scale: metres per unit, `guessed` if it names one."""
    size *= scale
    declared = None if info is None else info.diameter_mm
    if declared is not None and abs(declared / 1000 / size - 1) < 0.1:
        size = declared / 1000  # the published diameter is what published thresholds use
    model = ObjectModel(
        object_id=int(object_id),
        name=name or path.stem,
        vertices=np.ascontiguousarray(surface.vertices * scale, dtype=np.float32),
        faces=np.ascontiguousarray(surface.faces, dtype=np.int32),
        colors=np.ascontiguousarray(surface.colors, dtype=np.float32),
        diameter=float(size),
        uv=surface.uv,
        texture=surface.texture,
        has_color=surface.has_color,
        source=path,
        unit=unit_name(scale),
        guessed_unit=guessed,
        points=None if surface.points is None else surface.points * scale,
        **({} if info is None else {"symmetry": info.symmetry}),
    )
    if told and not model.has_color:
        text = "mesh has no colour; it is grey, so colour terms will be of little use"
        note(path, text, anywhere=copy)
    return model


def load_models(
    source: str | Path | Sequence[str | Path],
    unit: str = "auto",
    *,
    drawn: bool = True,
    copies: bool = False,
) -> list[ObjectModel]:
    """Read the object models of a folder or of a list of files, sorted by object id.

    A BOP folder (obj_000001.ply beside models_info.json or .yml) gives ids, diameters and
    symmetries; the original YCB-Video and LineMOD folders give those sets' numbers; in any other
    folder ids count from 1 in the order of the file names.

    Args:
        unit: of the files, see `load_mesh`; where it is guessed, together for all of them.
        drawn: whether their colours matter, so that a lack of them is noted.
        copies: they are a run's, whose lack is noted once for the copies of all runs.

    Raises:
        InputError: no mesh there, or one that cannot be read.

    >>> [model.object_id for model in load_models(recording / "models")]
    [1, 2, 3]
    """
    if isinstance(source, (str, Path)):
        root = Path(source)
        try:
            files = mesh_files(root) if root.is_dir() else [root]
        except (OSError, ValueError) as error:
            raise unreadable(root, "models folder", error) from None
    else:
        files = [Path(p) for p in source]
    if not files:
        other = others_in(source) if isinstance(source, (str, Path)) else ""
        raise InputError(
            f"holds no CAD model that is read{other}",
            path=source if isinstance(source, (str, Path)) else None,
            remedy=f"Export one of {', '.join(s[1:] for s in MESH_SUFFIXES)}, or name its folder.",
        )
    infos = {folder: read_models_info(folder) for folder in {f.parent for f in files}}
    read = []
    for object_id, file in numbered(files):
        info = infos[file.parent].get(object_id) or read_distance(file.parent)
        name = name_of(file)
        if info is not None:
            name = info.name or linemod_name(object_id, info.diameter_mm) or name
        surface = _clean(_read(file), file)
        read.append((file, surface, diameter(surface.vertices), object_id, name, info))
    stated = [
        Measured(file, size, None if info is None else info.diameter_mm, surface.metres)
        for file, surface, size, _, _, info in read
    ]
    units = metres_per_units(stated, unit)
    models = [
        _model(file, surface, size, scale, guessed, object_id, name, info, drawn, copies)
        for (file, surface, size, object_id, name, info), (scale, guessed) in zip(read, units)
    ]
    return [_with_stored_points(model) for model in models]


def points_beside(mesh: Path) -> Path:
    """Where a model's points of errors lie that are not its vertices: (P, 3) float64, metres."""
    return mesh.with_name(f"{mesh.stem}.points.npy")


def _with_stored_points(model: ObjectModel) -> ObjectModel:
    assert model.source is not None
    path = points_beside(model.source)
    if not path.is_file():
        return model
    try:
        points = np.load(io.BytesIO(read_bytes(path, "model's points")))
    except (ValueError, EOFError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(
            "model's points are damaged", path=path, remedy="Make the folder of models again."
        )
    return replace(model, points=points.astype(np.float64))


def _read(path: Path) -> Surface:
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise InputError(
            f"'{suffix or path.name}' is not a mesh format this program reads",
            path=path,
            remedy=f"Export it as {', '.join(s[1:] for s in MESH_SUFFIXES)}.",
        )
    if package := missing_reader(path):
        raise InputError(
            f"is {suffix[1:].upper()}, which is read by the package {package}",
            path=path,
            remedy=f"Install it: {INSTALL}",
        )
    data = read_bytes(path, "mesh")
    if suffix == ".ply":
        check_counts(data, path)
    gltf = metres = None
    if suffix in STEP_SUFFIXES:
        data, metres = glb_of_step(data, path)
        suffix = ".glb"
    if suffix in (".glb", ".gltf"):
        data, gltf = prepared_gltf(data, path, FilesBeside(str(path.absolute())).get)
    if suffix == ".off" and (coloured := off_as_ply(data, path)) is not None:
        data, suffix = coloured, ".ply"
    parts = _parse(data, path, suffix, gltf)
    whole = joined(parts, path)
    if whole.points is not None:
        whole.points = whole.points[np.isfinite(whole.points).all(1)]
    if path.suffix.lower() in STEP_SUFFIXES:
        whole.vertices /= 1e-3 if metres is None else metres
        whole.metres = metres
    return whole


def _parse(data: bytes, path: Path, suffix: str, gltf: GltfColour | None) -> list[Surface]:
    """The parts of the file, placed in its frame; at least one, each with faces."""
    resolver = FilesBeside(str(path.absolute()))
    quiet = logging.getLogger("trimesh")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # it logs tracebacks of what is reported here in one line
    try:
        if suffix == ".ply":
            parts = read_ply(data, path, resolver.get)
        elif suffix == ".3mf":
            parts = read_3mf(path)
        elif suffix == ".dae":
            parts = read_dae(data, path, resolver.get)
        else:
            parts = _of_trimesh(data, path, suffix, resolver, gltf)
    except Exception as error:
        if isinstance(error, InputError) and error.path == path:
            raise
        log.debug("%s: %r", path, error)
        reason = f"{type(error).__name__}: {getattr(error, 'what', str(error))[:120]}"
        if isinstance(error, ImportError):  # of what guesses a text's encoding
            reason = "it is neither text nor as long as it states"
        raise InputError(
            f"mesh cannot be read ({reason})",
            path=path,
            remedy="It is damaged or not of the format its ending names; export it again.",
        ) from None
    finally:
        quiet.setLevel(level)
    if not parts:
        strips = suffix == ".ply" and b"element tristrips" in data[:4096]
        raise InputError(
            "mesh is made of triangle strips, which are not read"
            if strips
            else "mesh has no faces",
            path=path,
            remedy="Export it as a triangle mesh, not as a point cloud or as strips.",
        )
    return parts


def _of_trimesh(
    data: bytes, path: Path, suffix: str, resolver: FilesBeside, gltf: GltfColour | None
) -> list[Surface]:
    if suffix == ".obj":
        data = prepared_obj(data, resolver, path)
    of_faces = None
    if suffix == ".stl":
        data, of_faces = prepared_stl(data, path)
    loaded = trimesh.load(io.BytesIO(data), file_type=suffix[1:], resolver=resolver, process=False)
    keep_colours(loaded)
    pieces = loaded.dump() if isinstance(loaded, trimesh.Scene) else [loaded]
    meshes = [p for p in pieces if isinstance(p, trimesh.Trimesh) and len(p.faces)]
    parts = [surface_of(mesh, path, gltf) for mesh in meshes]
    if of_faces is not None:
        face_coloured(parts[0], of_faces)
    return parts


def _clean(surface: Surface, path: Path) -> Surface:
    """Drop what no renderer can use; merge a triangle soup."""
    finite = np.isfinite(surface.vertices).all(1)
    faces = surface.faces
    if faces.min() < 0 or faces.max() >= len(finite):
        raise InputError(
            "mesh has faces that name missing vertices", path=path, remedy="Export it again."
        )
    good = finite[faces].all(1)
    if bad := int((~finite).sum()):
        if good.mean() < 0.95:
            raise InputError(
                f"mesh has {bad} vertices that are not finite", path=path, remedy="Export it again."
            )
        note(path, f"left out {counted(bad, 'vertex', 'vertices')} with NaN or infinity")
    corners = surface.vertices[faces]
    if not np.abs(corners[good]).max(initial=0) < 1e9:
        raise InputError("mesh has absurd coordinates", path=path, remedy="Export it again.")
    with np.errstate(invalid="ignore", over="ignore"):
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    good &= (normal != 0).any(1)
    if not good.any():
        raise InputError(
            "mesh has no faces with an area", path=path, remedy="Export it as a triangle mesh."
        )
    surface.faces = faces[good]
    if surface.uv is not None:
        surface.uv = surface.uv[good]
    used = np.bincount(faces.reshape(-1), minlength=len(finite)) > 0
    if stray := int((finite & ~used).sum()):
        kept_for = "; errors count them, as BOP's do" if surface.points is not None else ""
        note(path, f"left out {counted(stray, 'vertex', 'vertices')} that no face uses{kept_for}")
    kept = finite & used
    if not kept.all():
        index = np.cumsum(kept) - 1
        surface.vertices, surface.colors = surface.vertices[kept], surface.colors[kept]
        surface.faces = index[surface.faces]
    return _merge_soup(surface)


def _merge_soup(surface: Surface) -> Surface:
    """Merge equal vertices of equal colour where they are a third of the mesh or more.

    Errors are taken over a PLY file's own list of vertices (`Surface.points`), which stays. Texture
    coordinates live at face corners, so merging never moves a texture.
    """
    rows = np.concatenate((surface.vertices, surface.colors), axis=1)
    unique, first, inverse = _unique_rows(rows)
    if len(unique) <= len(rows) * 2 / 3:
        surface.vertices, surface.colors = surface.vertices[first], surface.colors[first]
        surface.faces = inverse[surface.faces]
    return surface


def _unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys = np.ascontiguousarray(rows + 0.0).view(np.dtype((np.void, rows.itemsize * 6))).ravel()
    return np.unique(keys, return_index=True, return_inverse=True)
