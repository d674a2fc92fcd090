"""OFF files with colours, which the parser passes over, as PLY.

http://www.geomview.org/docs/html/OFF.html: COFF has a colour behind each vertex, and any OFF may
have one behind each face; whole numbers to 255, or decimals to 1, with or without alpha.
"""

from __future__ import annotations

import re


def off_as_ply(data: bytes) -> bytes | None:
    """The same mesh as ASCII PLY with its colours; None for a file without, or not understood."""
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
    if len(faces) != face_count or not faces or not (of_vertices or of_faces):
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
