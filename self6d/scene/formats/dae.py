"""COLLADA files (DAE): what their scene shows, where it shows it, in its colours."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from self6d.events import counted
from self6d.files import note
from self6d.geometry.polygons import triangulated
from self6d.scene.formats.files_beside import named_image
from self6d.scene.surface import Surface, corner_coloured, part_of, textured


def read_dae(data: bytes, path: Path, get: Callable[[str], bytes]) -> list[Surface]:
    """Parts of a COLLADA file, axes as they stand in it.

    Args:
        get: content of a file that it names.

    Raises:
        Exception: the parser's, of a damaged file.
    """
    import collada

    file = collada.Collada(io.BytesIO(data), ignore=[collada.common.DaeError])
    if file.errors:
        first = " ".join(str(file.errors[0]).split())[:120]
        note(path, f"{counted(len(file.errors), 'fault', 'faults')} in it, such as: {first}")
    parts: list[Surface] = []
    for bound in _shown(file, path):
        mirrored = np.linalg.det(np.asarray(bound.matrix)[:3, :3]) < 0
        for primitive in bound.primitives():
            if (part := _part(primitive, mirrored, path, get)) is not None:
                parts.append(part)
    for part in parts:
        part.metres = file.assetInfo.unitmeter or None
    note(path, f"up is {file.assetInfo.upaxis[0]} in it; its axes are left as they are")
    return parts


def _shown(file: Any, path: Path) -> Iterator[Any]:
    """Geometries with their place and materials; without a scene all that it holds."""
    if file.scene is None:
        for geometry in file.geometries:
            yield geometry.bind(np.eye(4), {})
        return
    yield from file.scene.objects("geometry")
    if skins := sum(1 for _ in file.scene.objects("controller")):
        note(path, f"left out {counted(skins, 'part', 'parts')} that a skeleton moves")


def _part(
    primitive: Any, mirrored: bool, path: Path, get: Callable[[str], bytes]
) -> Surface | None:
    """A primitive's triangles, None of one without faces."""
    if primitive.vertex is None or getattr(primitive, "vertex_index", None) is None:
        return None
    vertices = np.asarray(primitive.vertex, np.float64)
    ends = np.asarray(primitive.vertex_index, np.int64).reshape(-1)
    if hasattr(primitive, "polyindex"):
        polygons = [np.arange(a, b) for a, b in np.asarray(primitive.polyindex).tolist()]
        cut, _ = triangulated(polygons, vertices[ends])  # of corners, which know their colours
    elif hasattr(primitive, "ntriangles"):
        cut = np.arange(len(ends)).reshape(-1, 3)
    else:
        return None  # lines
    if not len(cut):
        return None
    if mirrored:
        cut = cut[:, ::-1]
    paint = _paint(primitive.material)
    if hasattr(paint, "sampler"):
        name = paint.sampler.surface.image.path
        image, fault = named_image(name, get)
        uv = _coordinates(primitive, paint.texcoord)
        if image is not None and uv is not None:
            number, at = uv
            part = part_of(vertices, ends[cut], number[cut])
            textured(part, at[number][cut][..., :2], image, path)
            return part
        fault = f"{fault} ({name})" if fault else "has no coordinates"
        note(path, f"its texture {fault}; without it that part has no colour")
        paint = None
    part = part_of(vertices, ends[cut])
    own = _of_vertices(primitive)
    if own is not None:
        corner_coloured(part, np.round(255 * own[cut].clip(0, 1)))
    elif paint is not None:
        rgb = np.asarray(paint, np.float64)[:3].clip(0, 1)
        part.colors = np.tile(rgb, (len(part.vertices), 1)).astype(np.float32)
        part.has_color = True
    return part


def _paint(material: Any) -> Any:
    """The diffuse colour or texture of a material, of a constant one what it emits; or None."""
    effect = getattr(material, "effect", None)
    if effect is None:
        return None
    return effect.emission if effect.shadingtype == "constant" else effect.diffuse


def _coordinates(primitive: Any, symbol: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Of each corner the number of its texture coordinate, and the coordinates (N, 2)."""
    sets = primitive.original.sources.get("TEXCOORD", [])
    if not len(primitive.texcoordset):
        return None
    wanted = (primitive.inputmap or {}).get(symbol, ("TEXCOORD", None))[1]
    named = [i for i, one in enumerate(sets) if wanted is not None and one[3] == wanted]
    which = named[0] if named else 0
    numbers = np.asarray(primitive.texcoord_indexset[which], np.int64).reshape(-1)
    return numbers, np.asarray(primitive.texcoordset[which], np.float64)


def _of_vertices(primitive: Any) -> np.ndarray | None:
    """Colours (C, 3) in [0, 1] of corners, where the primitive has its own."""
    stated = primitive.original.sources.get("COLOR", [])
    if not stated:
        return None
    numbers = np.asarray(primitive.index).reshape(-1, np.shape(primitive.index)[-1])
    return np.asarray(stated[0][4].data, np.float64)[numbers[:, stated[0][0]], :3]
