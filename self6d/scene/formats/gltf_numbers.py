"""Numbers of glTF that the parser takes as they are stored: quantised, normalised, sparse; fans."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_FLOAT, _UINT, _FAN, _TRIANGLES = 5126, 5125, 6, 4


def plain_numbers(tree: dict[str, Any], chunk: bytes, get: Callable[[str], bytes]) -> None:
    """Store positions, normals and texture coordinates as the float32 that they mean, in place.

    Integers are decoded as glTF's core (texture coordinates) and KHR_mesh_quantization say:
    normalised ones by the largest value of their type, others as they are; a node's transform
    gives them their size. Sparse accessors are filled in and fans become triangles. What is
    changed stands in a buffer of its own; the rest of the file is left alone.

    Args:
        chunk: binary chunk of a GLB, empty for glTF.
        get: content of a file that the glTF names.

    Raises:
        ValueError, LookupError, TypeError: the file contradicts itself.
    """
    new: list[np.ndarray] = []
    done: dict[tuple[int, bool], int] = {}

    def replaced(index: int, values: np.ndarray, is_float: bool) -> int:
        key = (index, is_float)
        if key not in done:
            done[key] = len(tree["accessors"])
            old = {k: v for k, v in tree["accessors"][index].items() if k in ("type", "normalized")}
            code = next(k for k, v in _TYPES.items() if np.dtype(v) == values.dtype)
            if is_float:
                old.pop("normalized", None)
            tree["accessors"].append(
                {**old, "componentType": code, "count": len(values), "bufferView": len(new)}
            )
            new.append(values)
        return done[key]

    def stored(index: int) -> np.ndarray:
        return _stored(tree, index, lambda number: buffer_of(tree, number, chunk, get))

    known = len(tree.get("accessors", ()))
    for primitive in (p for mesh in tree.get("meshes", ()) for p in mesh["primitives"]):
        attributes = primitive["attributes"]
        for name, index in attributes.items():
            accessor = tree["accessors"][index]
            measured = name in ("POSITION", "NORMAL") or name.startswith("TEXCOORD_")
            if measured and accessor["componentType"] != _FLOAT:
                attributes[name] = replaced(index, _decoded(accessor, stored(index)), True)
            elif "sparse" in accessor:
                attributes[name] = replaced(index, stored(index), False)
        index = primitive.get("indices")
        if primitive.get("mode", _TRIANGLES) == _FAN:
            if index is None:
                row = np.arange(tree["accessors"][attributes["POSITION"]]["count"])
            else:
                row = stored(index)[:, 0]
            fan = np.column_stack((np.full(len(row) - 2, row[0]), row[1:-1], row[2:]))
            tree["accessors"].append({"type": "SCALAR", "componentType": _UINT,
                                      "count": fan.size, "bufferView": len(new)})  # fmt: skip
            new.append(fan.reshape(-1, 1).astype("<u4"))
            primitive |= {"indices": len(tree["accessors"]) - 1, "mode": _TRIANGLES}
        elif index is not None and "sparse" in tree["accessors"][index]:
            primitive["indices"] = replaced(index, stored(index), False)
    if not new:
        return
    views, buffers = tree.setdefault("bufferViews", []), tree.setdefault("buffers", [])
    for accessor in tree["accessors"][known:]:
        accessor["bufferView"] += len(views)
    at = 0
    for values in new:
        views.append({"buffer": len(buffers), "byteOffset": at, "byteLength": values.nbytes})
        at += values.nbytes
    data = b"".join(values.tobytes() for values in new)
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    buffers.append({"byteLength": len(data), "uri": uri})


def _decoded(accessor: dict[str, Any], stored: np.ndarray) -> np.ndarray:
    values = stored.astype(np.float64)
    if accessor.get("normalized") and stored.dtype.kind in "iu":
        values = np.maximum(values / np.iinfo(stored.dtype).max, -1.0)
    return values.astype("<f4")


def _stored(tree: dict[str, Any], index: int, buffer: Callable[[int], bytes]) -> np.ndarray:
    """An accessor's rows as they are stored, (count, width), with what is sparse in its place."""
    accessor = tree["accessors"][index]
    width, dtype = _WIDTH[accessor["type"]], np.dtype(_TYPES[accessor["componentType"]])
    if "bufferView" in accessor:
        rows = _rows(tree, accessor, dtype, width, int(accessor["count"]), buffer)
    else:
        rows = np.zeros((int(accessor["count"]), width), dtype)
    if sparse := accessor.get("sparse"):
        count, where = int(sparse["count"]), sparse["indices"]
        at = _rows(tree, where, np.dtype(_TYPES[where["componentType"]]), 1, count, buffer)
        rows = rows.copy()
        rows[at[:, 0]] = _rows(tree, sparse["values"], dtype, width, count, buffer)
    return rows


def _rows(
    tree: dict[str, Any],
    place: dict[str, Any],
    dtype: np.dtype,
    width: int,
    count: int,
    buffer: Callable[[int], bytes],
) -> np.ndarray:
    view = tree["bufferViews"][place["bufferView"]]
    start = view.get("byteOffset", 0) + place.get("byteOffset", 0)
    stride = view.get("byteStride", width * dtype.itemsize)
    data = buffer(view["buffer"])[: view.get("byteOffset", 0) + view["byteLength"]]
    return np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize)).copy()


def buffer_of(
    tree: dict[str, Any], number: int, chunk: bytes, get: Callable[[str], bytes]
) -> bytes:
    """Content of a buffer: a file's, a text's, or the chunk of a GLB."""
    uri = tree["buffers"][number].get("uri")
    if uri is None:
        return chunk
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2])
    return get(uri)
