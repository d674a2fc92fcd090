"""3MF files: all objects of the build at their places, their colours and textures."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note
from self6d.scene.formats.files_beside import image_in
from self6d.scene.surface import GREY, Surface, corner_coloured, part_of, textured

_METRES = (1e-6, 1e-3, 1e-2, 0.0254, 0.3048, 1.0)  # by lib3mf's number of the unit
_PLAIN, _TEXTURE, _COLOURS = 1, 2, 3  # kinds of properties
_MODEL = 1  # kind of object, others support its print
_PAINTED = (b"mmu_segmentation=", b"paint_color=")  # a slicer's own: by which filament
_DEEP = 32


def read_3mf(path: Path) -> list[Surface]:
    """Parts of a 3MF file.

    Raises:
        Exception: the parser's, of a damaged file.
    """
    import lib3mf

    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.ReadFromFile(str(path))
    if count := reader.GetWarningCount():
        note(path, f"{counted(count, 'fault', 'faults')} in it, such as: {reader.GetWarning(0)[1]}")
    parts: list[Surface] = []
    objects = other = 0
    items = model.GetBuildItems()
    while items.MoveNext():
        item = items.GetCurrent()
        if int(item.GetObjectResource().GetType()) != _MODEL:
            other += 1
            continue
        objects += 1
        for mesh, matrix in _meshes(item.GetObjectResource(), _matrix(item.GetObjectTransform())):
            parts += _parts(model, mesh, matrix, path)
    if other:
        note(path, f"left out {counted(other, 'object', 'objects')} that only support its print")
    if objects > 1:
        note(path, f"holds {objects} objects, which are read as one, at their places")
    if _is_painted(path):
        note(path, "the colours painted in a slicer are not read")
    for part in parts:
        part.metres = _METRES[int(model.GetUnit())]
    return parts


def _matrix(transform: Any) -> np.ndarray:
    """(4, 3): rows are the images of the axes and of the origin."""
    return np.array([list(row) for row in transform.Fields], np.float64)


def _meshes(resource: Any, matrix: np.ndarray, deep: int = 0) -> Iterator[tuple[Any, np.ndarray]]:
    if resource.IsMeshObject():
        yield resource, matrix
    elif resource.IsComponentsObject() and deep < _DEEP:
        for number in range(resource.GetComponentCount()):
            component = resource.GetComponent(number)
            own = _matrix(component.GetTransform())
            placed = own @ matrix[:3]
            placed[3] += matrix[3]
            yield from _meshes(component.GetObjectResource(), placed, deep + 1)


def _parts(model: Any, mesh: Any, matrix: np.ndarray, path: Path) -> list[Surface]:
    """A mesh's textured triangles, a part a texture, and the others."""
    corners = np.frombuffer(b"".join(map(bytes, mesh.GetVertices())), np.float32)
    faces = np.frombuffer(b"".join(map(bytes, mesh.GetTriangleIndices())), np.uint32)
    vertices = corners.reshape(-1, 3).astype(np.float64) @ matrix[:3] + matrix[3]
    faces = faces.reshape(-1, 3).astype(np.int64)
    if not len(faces):
        return []
    if np.linalg.det(matrix[:3]) < 0:
        faces = faces[:, ::-1]
    told = np.frombuffer(b"".join(map(bytes, mesh.GetAllTriangleProperties())), np.uint32)
    told = told.reshape(-1, 4).astype(np.int64)
    of_all, number, given = mesh.GetObjectLevelProperty()
    told[told[:, 0] == 0] = [of_all, number, number, number] if given else 0
    if np.linalg.det(matrix[:3]) < 0:
        told[:, 1:] = told[:, :0:-1]
    kinds = {int(i): int(model.GetPropertyTypeByID(int(i))) if i else 0 for i in set(told[:, 0])}
    parts, coloured = [], np.zeros(len(faces), bool)
    colours = np.full((len(faces), 3, 3), 255 * GREY)
    for resource, kind in kinds.items():
        of = told[:, 0] == resource
        if kind == _TEXTURE:
            group = model.GetTexture2DGroupByID(resource)
            image = image_in(bytes(group.GetTexture2D().GetAttachment().WriteToBuffer()))
            if image is None:
                note(path, "its texture cannot be read; without it that part has no colour")
                continue
            uv = _looked_up(told[of, 1:], lambda n, g=group: _uv(g, n))
            part = part_of(vertices, faces[of], told[of, 1:])
            textured(part, uv, image, path)
            parts.append(part)
            of_rest = ~of
            vertices, faces, told = vertices, faces[of_rest], told[of_rest]
            colours, coloured = colours[of_rest], coloured[of_rest]
        elif kind in (_PLAIN, _COLOURS):
            group = (
                model.GetBaseMaterialGroupByID(resource).GetDisplayColor
                if kind == _PLAIN
                else model.GetColorGroupByID(resource).GetColor
            )
            colours[of] = _looked_up(told[of, 1:], lambda n, get=group: _rgb(get(n)))
            coloured |= of
        elif kind:
            note(path, "colours mixed of several materials are not read; those parts are grey")
    for with_colour in (True, False):
        of = coloured == with_colour
        if of.any():
            part = part_of(vertices, faces[of])
            if with_colour:
                corner_coloured(part, colours[of])
            parts.append(part)
    return parts


def _looked_up(numbers: np.ndarray, get: Any) -> np.ndarray:
    """What `get` says of each number of (F, 3), as (F, 3, ...)."""
    unique, inverse = np.unique(numbers, return_inverse=True)
    return np.array([get(int(n)) for n in unique])[inverse.reshape(numbers.shape)]


def _rgb(colour: Any) -> tuple[int, int, int]:
    return colour.Red, colour.Green, colour.Blue


def _uv(group: Any, number: int) -> tuple[float, float]:
    at = group.GetTex2Coord(number)
    return at.U, at.V


def _is_painted(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as packed:
            models = [n for n in packed.namelist() if n.lower().endswith(".model")]
            return any(any(p in packed.read(n) for p in _PAINTED) for n in models)
    except (zipfile.BadZipFile, OSError):
        raise InputError("3MF is damaged", path=path, remedy="Export it again.") from None
