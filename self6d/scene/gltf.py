"""What glTF files state of colour that the parser passes over."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError

_COMPRESSED = {
    "KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt",
    "KHR_mesh_quantization": "quantisation",
}  # fmt: skip


@dataclass
class GltfColour:
    """Rules for the colours of one file.

    Attributes:
        transforms: name of a material, as `prepared_gltf` names it -> (2, 3), from texture
            coordinates (v down) to those of its base colour texture.
        linear: whether vertex colours are linear light, as glTF defines; trimesh writes sRGB.
    """

    transforms: dict[str, np.ndarray] = field(default_factory=dict)
    linear: bool = True


def prepared_gltf(data: bytes, path: Path) -> tuple[bytes, GltfColour]:
    """A glTF or GLB file whose materials are named by number, each primitive with one.

    Raises:
        InputError: its geometry is compressed.
    """
    binary = data[:4] == b"glTF" and len(data) >= 20
    size = struct.unpack("<I", data[12:16])[0] if binary else len(data)
    try:
        tree = json.loads(data[20 : 20 + size] if binary else data)
        primitives = [p for m in tree.get("meshes", []) for p in m["primitives"]]
        materials = tree.setdefault("materials", [])
        for extension in tree.get("extensionsRequired", []):
            if extension in _COMPRESSED:
                raise InputError(
                    f"mesh is compressed ({_COMPRESSED[extension]}), which is not read",
                    path=path,
                    remedy="Export it again without compression of meshes.",
                )
        facts = GltfColour(linear="trimesh" not in str(tree.get("asset", {}).get("generator", "")))
        sets: dict[int, int] = {}
        for number, material in enumerate(materials):
            material["name"] = str(number)
            texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
            moved = texture.get("extensions", {}).get("KHR_texture_transform", {})
            sets[number] = moved.get("texCoord", texture.get("texCoord", 0))
            if moved:
                facts.transforms[str(number)] = _transform(moved)
        for primitive in primitives:
            attributes = primitive["attributes"]
            if "COLOR_0" in attributes and "material" not in primitive:
                materials.append({"name": str(len(materials))})
                primitive["material"] = len(materials) - 1
            wanted = f"TEXCOORD_{sets.get(primitive.get('material', -1), 0)}"
            if wanted in attributes:
                attributes["TEXCOORD_0"] = attributes[wanted]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data, GltfColour()  # the parser says what is wrong with it
    if not materials:
        del tree["materials"]
    text = json.dumps(tree).encode()
    if not binary:
        return text, facts
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    return head + text + rest, facts


def keep_colours(loaded: Any) -> None:
    """Note each part's COLOR_0 in its metadata, which copies of a part keep."""
    for part in getattr(loaded, "geometry", {}).values():
        stored = getattr(getattr(part, "visual", None), "vertex_attributes", {}).get("color")
        if stored is not None:
            part.metadata["COLOR_0"] = np.array(stored)


def _transform(moved: dict[str, Any]) -> np.ndarray:
    """KHR_texture_transform: offset + rotation (scale uv)."""
    sx, sy = moved.get("scale", (1, 1))
    c, s = np.cos(moved.get("rotation", 0.0)), np.sin(moved.get("rotation", 0.0))
    ox, oy = moved.get("offset", (0, 0))
    return np.array([[c * sx, s * sy, ox], [-s * sx, c * sy, oy]])


def moved_coordinates(uv: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Texture coordinates (N, 2), v upwards, after a transform of those with v downwards."""
    down = np.column_stack((uv[:, 0], 1 - uv[:, 1], np.ones(len(uv))))
    out = down @ transform.T
    return np.column_stack((out[:, 0], 1 - out[:, 1]))


def vertex_colours(stored: np.ndarray, linear: bool) -> np.ndarray:
    """COLOR_0 (N, 3 or 4), of any type that glTF allows -> (N, 3) float32 sRGB in [0, 1]."""
    values = stored[:, :3].astype(np.float64)
    if stored.dtype.kind in "iu":
        values /= np.iinfo(stored.dtype).max
    values = np.nan_to_num(values).clip(0, 1)
    return (to_srgb(values) if linear else values).astype(np.float32)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as sRGB."""
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)
