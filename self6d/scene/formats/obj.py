"""What people's OBJ files and their MTL files say, brought to what the parser reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import numpy as np

from self6d.errors import InputError
from self6d.files import note
from self6d.geometry.polygons import concave, ears
from self6d.scene.formats.files_beside import fault_of_image
from self6d.scene.formats.obj_whole import check_whole

MATERIALS = "self6d-materials.mtl"
MISSING = "missing_image"
"""Key of a material whose image was not found."""
_OPTIONS = {  # of map_Kd, with the numbers that may follow
    "-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1,
    "-mm": 2, "-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-type": 1, "-colorspace": 1,
}  # fmt: skip
_REMARK = re.compile(r"^([ \t]*(?:v|vt|vn|f)[ \t][^#\n]*)#.*$", re.MULTILINE)
_BACKWARDS = re.compile(r"^[ \t]*f[ \t].*-\d", re.MULTILINE)
_MANY = re.compile(r"^[ \t]*f((?:[ \t]+[^\s#]+){4,})[ \t]*$", re.MULTILINE)
_VERTEX = re.compile(r"^[ \t]*v[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")


class Resolver(Protocol):
    """Files beside the mesh, and texts that stand for files."""

    texts: dict[str, bytes]

    def get(self, name: str) -> bytes: ...


def prepared_obj(data: bytes, resolver: Resolver, path: Path) -> bytes:
    """An OBJ whose materials stand in one text, `MATERIALS`, each with an image that is there.

    A file that names no material takes its only one. Vertex colours that vary win over materials
    without an image; of those above 1, 255 is full. Concave faces are cut into triangles. What is
    left out is noted.

    Args:
        data: of the file. resolver: `texts` gets the materials.
        path: the file, for notes.

    Raises:
        InputError: it is cut off, or a face names a vertex that is not there.
    """
    text = _decoded(data).replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")
    text = _counted_forwards(_REMARK.sub(r"\1", text))
    check_whole(text, path)
    text = _cut_faces(text)
    libraries = re.findall(r"^[ \t]*mtllib[ \t]+(.+?)[ \t]*$", text, re.MULTILINE)
    text = re.sub(r"^[ \t]*mtllib[ \t].*$", "", text, flags=re.MULTILINE)
    materials = _materials(libraries, resolver, path)
    used = set(re.findall(r"^[ \t]*usemtl[ \t]+(.+?)[ \t]*$", text, re.MULTILINE))
    images = any("map_Kd" in body for body in materials.values())
    text, colours = _vertex_colours(text)
    if colours and not images:
        text = re.sub(r"^[ \t]*(usemtl|vt)[ \t].*$", "", text, flags=re.MULTILINE)
        text = re.sub(r"^f[ \t].*$", _places_only, text, flags=re.MULTILINE)
        if len(used) > 1:
            note(path, "has vertex colours and materials; vertex colours are used")
        return text.encode()
    if used - materials.keys() and libraries:
        note(path, f"names materials that no MTL file has: {', '.join(sorted(used)[:3])}")
    if materials and not used:
        if len(materials) == 1:
            (name,) = materials
            note(path, f"uses no material; '{name}', the only one of its MTL file, is taken")
            text = re.sub(r"^f[ \t]", f"usemtl {name}\nf ", text, count=1, flags=re.MULTILINE)
        else:
            note(path, f"uses none of the {len(materials)} materials of its MTL file")
    resolver.texts[MATERIALS] = "\n".join(materials.values()).encode()
    return f"mtllib {MATERIALS}\n{text}".encode() if materials else text.encode()


def _places_only(face: re.Match[str]) -> str:
    """A face without texture coordinates and normals, for which colours would be left unread."""
    return re.sub(r"/\S*", "", face.group())


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _files_of(line: str, resolver: Resolver) -> list[str]:
    """The files that a mtllib line names: one whose name may hold spaces, else several."""
    try:
        resolver.get(line)
    except (InputError, OSError, ValueError):
        return line.split()
    return [line]


def _materials(libraries: list[str], resolver: Resolver, path: Path) -> dict[str, str]:
    """Name -> text of its material."""
    found: dict[str, str] = {}
    for library in (name for line in libraries for name in _files_of(line, resolver)):
        try:
            lines = _decoded(resolver.get(library)).splitlines()
        except (InputError, OSError, ValueError):
            note(path, f"its materials are missing ({library}): colours they state are not used")
            continue
        name = ""
        for line in lines:
            words = line.strip().split(None, 1)
            if len(words) < 2:
                continue
            key, rest = words[0].lower(), words[1].strip()
            if key == "newmtl":
                name = " ".join(rest.split())
                found[name] = f"newmtl {name}"
            elif name and key == "map_kd":
                found[name] += f"\n{_image(rest, resolver, path)}"
            elif name and key == "kd" and len(rest.split()) == 1:  # by the format, grey
                found[name] += f"\nKd {rest} {rest} {rest}"
            elif name:
                found[name] += f"\n{line.strip()}"
    return found


def _image(rest: str, resolver: Resolver, path: Path) -> str:
    """The line of a material for its image."""
    words = rest.split()
    scaled = False
    while words and words[0].lower() in _OPTIONS:
        option, most = words[0].lower(), _OPTIONS[words[0].lower()]
        taken = 1
        while taken <= most and taken < len(words) - 1:
            numbers_only = option in ("-o", "-s", "-t", "-mm")
            if numbers_only and not _NUMBER.match(words[taken]):
                break
            taken += 1
        values = [w for w in words[1:taken] if _NUMBER.match(w)]
        neutral = 1.0 if option == "-s" else 0.0
        scaled |= option in ("-o", "-s") and any(float(v) != neutral for v in values[:2])
        rest = rest.lstrip()
        for word in words[:taken]:
            rest = rest[len(word) :].lstrip()
        words = words[taken:]
    name = rest.strip().strip('"')
    if scaled:
        note(path, f"its texture {name} is to be scaled or shifted, which is not done")
    if fault := fault_of_image(name, resolver.get):
        note(path, f"its texture {fault} ({name}); without it the mesh has no such colour")
        return f"{MISSING} {name}"
    return f"map_Kd {name}"


def _vertex_colours(text: str) -> tuple[str, bool]:
    """Whether vertices have colours that vary; the text with those colours in [0, 1]."""
    first = re.search(r"^v[ \t].*$", text, re.MULTILINE)
    if first is None or len(first.group().split()) != 7:
        return text, False
    rows = [line.split() for line in re.findall(r"^v[ \t].*$", text, re.MULTILINE)]
    try:
        colours = np.array([row[4:7] for row in rows], dtype=np.float64)
    except ValueError:
        return text, False
    if not np.isfinite(colours).all():
        return text, False
    if colours.max() > 1:
        lines = iter(
            " ".join([*row[:4], *(f"{c:.6f}" for c in colour)])
            for row, colour in zip(rows, colours.clip(0, 255) / 255)
        )
        text = re.sub(r"^v[ \t].*$", lambda _: next(lines), text, flags=re.MULTILINE)
    return text, bool(np.ptp(colours, axis=0).max() > 0)


def _counted_forwards(text: str) -> str:
    """Corners counted back from their face (-1 is the line before), as positions in the file: the
    parser counts them back from the file's end.
    """
    if not _BACKWARDS.search(text):
        return text
    counts = {"v": 0, "vt": 0, "vn": 0}
    lines = text.split("\n")
    for i, line in enumerate(lines):
        key, *words = line.split() or [""]
        if key in counts:
            counts[key] += 1
        elif key == "f" and "-" in line:
            lines[i] = " ".join(["f", *(_forwards(word, [*counts.values()]) for word in words)])
    return "\n".join(lines)


def _forwards(corner: str, counts: list[int]) -> str:
    """One corner such as -1//-1, each part counted from 1."""
    parts = corner.split("/")
    return "/".join(
        str(int(part) + count + 1) if re.fullmatch(r"-\d+", part) else part
        for part, count in zip(parts, counts, strict=False)
    )


def _cut_faces(text: str) -> str:
    """An OBJ whose concave faces are written as triangles; others stand as they are."""
    found = list(_MANY.finditer(text))
    if not found:
        return text
    lengths = np.array([len(match.group(1).split()) for match in found])
    cuts: dict[int, list[list[int]]] = {}
    try:
        vertices = np.array(_VERTEX.findall(text), np.float64).reshape(-1, 3)
        for n in np.unique(lengths).tolist():
            which = np.flatnonzero(lengths == n)
            joined = " ".join(found[i].group(1) for i in which.tolist())
            places = re.sub(r"/\S*", "", joined).split()
            corners = np.array(places, np.int64).reshape(-1, n) - 1
            bent = np.flatnonzero(concave(corners, vertices))
            cuts |= {int(which[i]): ears(vertices[corners[i]]).tolist() for i in bent}
    except (ValueError, OverflowError):
        return text  # the parser says what is wrong
    parts, done = [], 0
    for i, triangles in sorted(cuts.items()):
        words = found[i].group(1).split()
        lines = ["f " + " ".join(words[k] for k in triangle) for triangle in triangles]
        parts += [text[done : found[i].start()], "\n".join(lines)]
        done = found[i].end()
    return "".join([*parts, text[done:]])
