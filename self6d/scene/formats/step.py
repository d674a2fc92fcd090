"""STEP files: their curved surfaces made into triangles, and the unit they state."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from self6d.errors import InputError
from self6d.events import counted
from self6d.files import log, note
from self6d.scene.units import unit_name

_SHARE = 1e-3  # largest distance of a triangle from its surface, of the object's diagonal
_ANGLE = 0.35  # largest between neighbours, radians
_MOST = 100_000  # triangles
_SURFACE = re.compile(rb"=\s*(?:ADVANCED_FACE|FACE_SURFACE)\s*\(")
_PREFIXES = {b"MILLI": 1e-3, b"CENTI": 1e-2, b"DECI": 0.1, b"MICRO": 1e-6, b"KILO": 1e3}
_OF_CONTEXT = re.compile(rb"GLOBAL_UNIT_ASSIGNED_CONTEXT\s*\(\s*\(([#\d,\s]*)\)")
_SI = re.compile(rb"SI_UNIT\s*\(\s*(?:\$|\.(\w+)\.)\s*,\s*\.METRE\.")
_CONVERTED = re.compile(rb"CONVERSION_BASED_UNIT\s*\(\s*'[^']*'\s*,\s*#(\d+)")
_RATIO = re.compile(
    rb"\(\s*(?:LENGTH_MEASURE\s*\(\s*)?(\d+\.?\d*(?:E[-+]?\d+)?)\s*\)?\s*,\s*#(\d+)"
)


def glb_of_step(data: bytes, path: Path) -> tuple[bytes, float | None]:
    """A STEP file as GLB, in metres, each face in its colour, each part at its place.

    Returns:
        the GLB, and metres per unit that the file states; None where it states none, and then
        millimetres were taken.

    Raises:
        InputError: damaged, or nothing in it has a surface.
    """
    if b"ISO-10303-21" not in data[:4096]:
        raise InputError("is not a STEP file", path=path, remedy="Export it again.")
    if b"END-ISO-10303-21" not in data[-4096:]:
        raise InputError("STEP is truncated: it has no end", path=path, remedy="Copy it again.")
    head, glb = _tessellated(data, path)
    count, lost = head["triangles"], len(_SURFACE.findall(data)) - head["surfaces"]
    text = f"its surfaces are made of {count} triangles, at most {head['distance_mm']:.2g} mm off"
    if count > _MOST:
        text += ", which are slow to draw: simplify it, or set synthesis.faces_max"
    note(path, text)
    if lost > 0:
        note(path, f"{counted(lost, 'face', 'faces')} could not be read; there are holes instead")
    return glb, _stated(data, path)


def _tessellated(data: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    """What `tessellating.py` says, and the GLB."""
    done = _run(data, _SHARE, _ANGLE, _MOST)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        log.debug("%s: %s", path, said)
        reason = f"its reader crashed, signal {-done.returncode}"
        if done.returncode > 0:
            reason = said.rpartition("\n")[2][:120]
        raise InputError(
            f"STEP cannot be read ({reason})",
            path=path,
            remedy="It may be damaged; export it again.",
        )
    line, _, glb = done.stdout.partition(b"\n")
    head = json.loads(line)
    if not head["triangles"]:
        raise InputError(
            "STEP holds no solid and no surface that can be read",
            path=path,
            remedy="Export the part as a solid.",
        )
    return head, glb


@lru_cache(maxsize=4)  # the window and the doctor read a file several times
def _run(data: bytes, *limits: float) -> subprocess.CompletedProcess[bytes]:
    program = str(Path(__file__).with_name("tessellating.py"))
    words = [sys.executable, "-P", program, *map(str, limits)]
    return subprocess.run(words, input=data, capture_output=True)


def _stated(data: bytes, path: Path) -> float | None:
    """Metres per unit of length; the first where contexts differ, and then it is said."""
    found: dict[float, None] = {}
    for context in _OF_CONTEXT.finditer(data):
        for number in re.findall(rb"#(\d+)", context[1]):
            if metres := _length(data, number):
                found[metres] = None
    if len(found) > 1:
        names = ", ".join(map(unit_name, found))
        note(path, f"states lengths in several units ({names}); each is read in its own")
    return next(iter(found), None)


def _length(data: bytes, number: bytes, deep: int = 0) -> float | None:
    """Metres per unit of an entity, None of one that is no unit of length."""
    entity = re.search(rb"#%s\s*=([^;]*);" % number, data)
    if entity is None or deep > 3:
        return None
    text = entity[1]
    if si := _SI.search(text):
        return _PREFIXES.get(si[1]) if si[1] else 1.0
    if (converted := _CONVERTED.search(text)) and b"LENGTH_UNIT" in text:
        measure = re.search(rb"#%s\s*=([^;]*);" % converted[1], data)
        ratio = measure and _RATIO.search(measure[1])
        base = ratio and _length(data, ratio[2], deep + 1)
        return float(ratio[1]) * base if ratio and base else None
    return None
