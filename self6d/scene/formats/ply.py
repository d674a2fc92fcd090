"""PLY files: polygons, colours and textures; OFF files with colours as PLY.

http://www.geomview.org/docs/html/OFF.html: COFF has a colour behind each vertex, and any OFF may
have one behind each face; whole numbers to 255, or decimals to 1, with or without alpha.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.files import note
from self6d.geometry.polygons import triangulated
from self6d.scene.formats.files_beside import named_image
from self6d.scene.formats.ply_elements import Columns, Lists, PlyElements, read_elements
from self6d.scene.surface import GREY, Surface, face_coloured, first_tile, rgb_of, texels

_COLOUR_NAMES = (
    ("red", "green", "blue"), ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)  # fmt: skip
_COORDINATES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"), ("texture_s", "texture_t"))


def off_as_ply(data: bytes, path: Path) -> bytes | None:
    """The same mesh as ASCII PLY with its colours and polygons; None for a file without either,
    or not understood.

    Raises:
        InputError: it is shorter than it states.
    """
    lines = [line.split(b"#")[0].split() for line in data.splitlines()]
    lines = [words for words in lines if words]
    head = re.fullmatch(rb"(C?)OFF", lines[0][0]) if lines else None
    if head is None:
        return None
    lines[0] = lines[0][1:]
    rows = lines if lines[0] else lines[1:]
    try:
        vertex_count, face_count = int(rows[0][0]), int(rows[0][1])
        _check_rows(rows, vertex_count, face_count, path)
        vertices = rows[1 : 1 + vertex_count]
        faces = rows[1 + vertex_count : 1 + vertex_count + face_count]
        corners = [int(face[0]) for face in faces]
        of_vertices = head.group(1) and all(len(v) in (6, 7) for v in vertices)
        of_faces = all(len(f) in (n + 4, n + 5) for f, n in zip(faces, corners, strict=True))
    except (ValueError, IndexError):
        return None
    if not faces:
        return None
    if not (of_vertices or of_faces or max(corners) > 3):
        return None
    text = [b"ply", b"format ascii 1.0", b"element vertex %d" % vertex_count]
    text += [b"property double " + axis for axis in (b"x", b"y", b"z")]
    text += _colour_properties([v[3:6] for v in vertices]) if of_vertices else []
    text += [b"element face %d" % face_count, b"property list uchar int vertex_indices"]
    text += (
        _colour_properties([f[n + 1 : n + 4] for f, n in zip(faces, corners, strict=True)])
        if of_faces
        else []
    )
    text += [b"end_header"]
    text += [b" ".join(v[: 6 if of_vertices else 3]) for v in vertices]
    text += [
        b" ".join(f[: n + (4 if of_faces else 1)]) for f, n in zip(faces, corners, strict=True)
    ]
    return b"\n".join(text) + b"\n"


def _check_rows(rows: list[list[bytes]], vertex_count: int, face_count: int, path: Path) -> None:
    """Whether an OFF file has the lines that its first promises; it loaded without the others."""
    last = rows[-1]
    cut = len(rows) - 1 == vertex_count + face_count and len(last) <= int(last[0])
    if len(rows) - 1 < vertex_count + face_count or (face_count and cut):
        raise InputError(
            f"mesh is truncated: it promises {vertex_count} vertices and {face_count} faces",
            path=path,
            remedy="Copy or export it again.",
        )


def _colour_properties(colours: list[list[bytes]]) -> list[bytes]:
    whole = all(value.isdigit() for row in colours for value in row)
    kind = b"uchar" if whole else b"double"
    return [b"property " + kind + b" " + name for name in (b"red", b"green", b"blue")]


def check_counts(data: bytes, path: Path) -> None:
    """Whether the file can hold the elements its header promises.

    A lie would ask for that memory; a truncated ASCII file would load without its last faces.
    """
    end = data.find(b"end_header")
    header = data[: max(0, end)]
    counts = re.findall(rb"^element\s+\S+\s+(\S{1,30})\s*$", header, re.MULTILINE)
    if not all(count.isdigit() for count in counts):
        raise InputError(
            "mesh header counts elements in something else than whole numbers",
            path=path,
            remedy="Export it again.",
        )
    promised = sum(int(count) for count in counts)
    body = data[end:].rstrip()
    held = body.count(b"\n") if b"format ascii" in header else len(body)
    if promised > held:
        raise InputError(
            f"mesh is truncated: its header promises {promised} elements",
            path=path,
            remedy="Copy or export it again.",
        )


def read_ply(data: bytes, path: Path, get: Callable[[str], bytes]) -> list[Surface]:
    """The mesh in parts, one for each image of its faces, or one; none where it has no faces.

    Args:
        get: content of a file that the mesh names.

    Raises:
        InputError: damaged. ValueError: not PLY.
    """
    file = read_elements(data)
    if file.rest:
        kind = "lines" if re.search(rb"^format\s+ascii", data[:200], re.MULTILINE) else "bytes"
        note(path, f"left out {file.rest} {kind} behind what its header states")
    vertex, face = file.elements.get("vertex", {}), file.elements.get("face", {})
    names = ("vertex_indices", "vertex_index", *face)
    corners = next((face[n] for n in names if isinstance(face.get(n), Lists)), None)
    if not isinstance(corners, Lists) or not {"x", "y", "z"} <= vertex.keys():
        return []
    vertices = np.column_stack([np.asarray(vertex[a], np.float64) for a in "xyz"])
    ends = corners.values.astype(np.int64)
    if ((ends < 0) | (ends >= len(vertices))).any():
        raise InputError(
            "mesh has faces that name missing vertices", path=path, remedy="Export it again."
        )
    starts = np.cumsum(corners.counts) - corners.counts
    if (corners.counts == 3).all():
        cut, owner = np.arange(len(ends)).reshape(-1, 3), np.arange(len(starts))
    else:
        polygons = [np.arange(s, s + n) for s, n in zip(starts.tolist(), corners.counts.tolist())]
        cut, owner = triangulated(polygons, vertices[ends])  # of corners, which know their texture
    faces = ends[cut]
    if not len(faces):
        return []
    of_vertices, of_faces = _colours(vertex, face, owner)
    uv = _coordinates(vertex, face, corners)
    images = (
        [(None, np.arange(len(faces)))] if uv is None else _images(file, face, owner, path, get)
    )
    parts = []
    for image, mine in images:
        if image is not None and uv is not None:
            parts.append(_textured(vertices, faces[mine], uv[cut[mine]], image, path))
        elif of_faces is not None:
            parts.append(_face_coloured(vertices, faces[mine], of_faces[mine]))
        else:
            parts.append(_vertex_coloured(vertices, faces[mine], of_vertices, len(images) > 1))
    parts[0].points = vertices
    return parts


def _coordinates(vertex: Columns, face: Columns, corners: Lists) -> np.ndarray | None:
    """Texture coordinates of each corner of each face, (C, 2) float64; None without any."""
    listed = face.get("texcoord")
    if isinstance(listed, Lists) and (listed.counts == 2 * corners.counts).all():
        return listed.values.astype(np.float64).reshape(-1, 2)
    for two in _COORDINATES:
        if all(name in vertex for name in two):
            of_vertex = np.column_stack([np.asarray(vertex[n], np.float64) for n in two])
            return of_vertex[corners.values.astype(np.int64)]
    return None


def _images(
    file: PlyElements, face: Columns, owner: np.ndarray, path: Path, get: Callable[[str], bytes]
) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Each image, or None for the faces that lack theirs, and which triangles are of it."""
    number = face.get("texnumber")
    if len(file.textures) > 1 and not isinstance(number, np.ndarray):
        text = f"names {len(file.textures)} textures, not which face is of which"
        note(path, f"{text}; {file.textures[-1]} is used for all")
    several = len(file.textures) > 1 and isinstance(number, np.ndarray)
    of_face = np.asarray(number)[owner].astype(np.int64) if several else np.zeros(len(owner), int)
    names = dict(enumerate(file.textures if several else file.textures[-1:]))
    parts: list[tuple[np.ndarray | None, np.ndarray]] = []
    alone, faults = np.ones(len(owner), bool), []
    for n, name in names.items():
        mine = np.flatnonzero(of_face == n)
        if not len(mine):
            continue
        image, fault = named_image(name, get)
        if image is None:
            faults.append(f"{fault} ({name})")
        else:
            parts.append((rgb_of(image), mine))
            alone[mine] = False
    if alone.any():
        parts.append((None, np.flatnonzero(alone)))
        said = ", ".join(faults) or (
            "is not named by all faces" if file.textures else "is missing (none is named)"
        )
        note(path, f"its texture {said}; vertex colours are used where it has them")
    return parts


def _textured(
    vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, image: np.ndarray, path: Path
) -> Surface:
    """Vertices stand once for each coordinate they have, so that each has one colour."""
    uv = first_tile(uv, path)
    rows = np.column_stack((faces.reshape(-1), uv.reshape(-1, 2)))
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    return Surface(
        vertices[unique[:, 0].astype(np.int64)],
        inverse.reshape(-1, 3),
        texels(image, unique[:, 1:]),
        uv=uv,
        texture=image,
    )


def _face_coloured(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> Surface:
    surface = Surface(vertices, faces, np.zeros(vertices.shape, np.float32))
    face_coloured(surface, np.round(255 * colours))
    return surface


def _vertex_coloured(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray | None, alone: bool
) -> Surface:
    """Args: alone: without the vertices that other faces use."""
    grey = np.full(vertices.shape, GREY, np.float32)
    surface = Surface(vertices, faces, grey if colours is None else colours)
    surface.has_color = colours is not None
    if alone:
        used, inverse = np.unique(faces, return_inverse=True)
        surface.vertices, surface.colors = vertices[used], surface.colors[used]
        surface.faces = inverse.reshape(-1, 3)
    return surface


def _colours(
    vertex: Columns, face: Columns, owner: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Colours of the vertices (V, 3) or the triangles (F, 3), the other None.

    float32 in [0, 1], under any of the names that programs give them; of both, those that vary, of
    the vertices first.
    """
    of_vertices, of_faces = _element_colours(vertex), _element_colours(face)
    if of_faces is None or (of_vertices is not None and not np.ptp(of_faces, axis=0).any()):
        return of_vertices, None
    if of_vertices is not None and np.ptp(of_vertices, axis=0).any():
        return of_vertices, None
    return None, of_faces[owner]


def _element_colours(element: Columns) -> np.ndarray | None:
    for three in _COLOUR_NAMES:
        columns = [c for n in three if isinstance(c := element.get(n), np.ndarray)]
        if len(columns) < 3:
            continue
        values = np.column_stack(columns).astype(np.float64)
        highest = float(np.nanmax(values, initial=0.0))
        kind, size = columns[0].dtype.kind, columns[0].dtype.itemsize
        full = 255.0 if (kind in "iu" and size == 1) or 1 < highest <= 255 else 65535.0
        full = 1.0 if kind == "f" and highest <= 1 else full
        if kind in "iu" and highest <= 255:
            full = 255.0
        return (np.nan_to_num(values) / full).clip(0, 1).astype(np.float32)
    return None
