"""PLY files that the parser would take on trust, and OFF files with colours as PLY.

http://www.geomview.org/docs/html/OFF.html: COFF has a colour behind each vertex, and any OFF may
have one behind each face; whole numbers to 255, or decimals to 1, with or without alpha.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import trimesh
from trimesh.visual import TextureVisuals

from self6d.errors import InputError
from self6d.geometry.polygons import triangulated

FACE_OF = "self6d_face_of"
"""Key of a mesh's metadata: (F,) the polygon that each triangle is of."""

_COORDINATES = (b"texture_u", b"texture_v", b"texcoord", b"s", b"t", b"u", b"v")


def off_as_ply(data: bytes) -> bytes | None:
    """The same mesh as ASCII PLY with its colours and polygons; None for a file without either,
    or not understood."""
    lines = [line.split(b"#")[0].split() for line in data.splitlines()]
    lines = [words for words in lines if words]
    head = re.fullmatch(rb"(C?)OFF", lines[0][0]) if lines else None
    if head is None:
        return None
    lines[0] = lines[0][1:]
    rows = lines if lines[0] else lines[1:]
    try:
        vertex_count, face_count = int(rows[0][0]), int(rows[0][1])
        vertices = rows[1 : 1 + vertex_count]
        faces = rows[1 + vertex_count : 1 + vertex_count + face_count]
        corners = [int(face[0]) for face in faces]
        of_vertices = head.group(1) and all(len(v) in (6, 7) for v in vertices)
        of_faces = all(len(f) in (n + 4, n + 5) for f, n in zip(faces, corners, strict=True))
    except (ValueError, IndexError):
        return None
    if len(faces) != face_count or not faces:
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


def without_coordinates(data: bytes) -> bytes:
    """A PLY whose texture coordinates have names nobody knows, so that its colours are read."""
    end = data.find(b"end_header")
    lines = data[:end].split(b"\n")
    for i, line in enumerate(lines):
        words = line.split()
        if line.startswith(b"property") and words[-1] in _COORDINATES:
            lines[i] = line.replace(words[-1], b"unused_" + words[-1])
    return b"\n".join(lines) + data[end:]


def cut_polygons(mesh: trimesh.Trimesh) -> None:
    """Give a mesh read from PLY the triangles of its polygons, and `FACE_OF` to its metadata."""
    element = mesh.metadata.get("_ply_raw", {}).get("face")
    if element is None or isinstance(mesh.visual, TextureVisuals):
        return
    data = element["data"]
    names = data.keys() if isinstance(data, dict) else getattr(data.dtype, "names", None) or ()
    name = next((n for n in ("vertex_indices", "vertex_index") if n in names), None)
    if name is None:
        return
    polygons = data[name]
    if polygons.dtype.names:  # all of one length
        polygons = polygons["f1"]
    if polygons.ndim == 2 and polygons.shape[1] == 3:
        return
    if max(map(len, polygons), default=0) > 3:
        mesh.faces, mesh.metadata[FACE_OF] = triangulated(polygons, np.asarray(mesh.vertices))
