"""What glTF files state of colour that the parser passes over."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError
from self6d.files import note
from self6d.scene.formats.files_beside import fault_of_image, image_in
from self6d.scene.formats.gltf_numbers import buffer_of, plain_numbers

_COMPRESSED = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}


@dataclass
class GltfColour:
    """Rules for the colours of one file.

    Attributes:
        transforms: name of a material, as `prepared_gltf` names it -> (2, 3), from texture
            coordinates (v down) to those of its base colour texture.
        factors: name of a material -> (3,) linear light, what its texture is multiplied by.
        missing: names of materials whose image is not there, so that they have no colour.
        linear: whether vertex colours are linear light, as glTF defines; trimesh writes sRGB.
    """

    transforms: dict[str, np.ndarray] = field(default_factory=dict)
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    linear: bool = True


def prepared_gltf(data: bytes, path: Path, get: Callable[[str], bytes]) -> tuple[bytes, GltfColour]:
    """A glTF or GLB file whose materials are named by number, each primitive with one.

    Numbers are plain, see `plain_numbers`.

    Args:
        get: content of a file that the glTF names.

    Raises:
        InputError: its geometry is compressed.
    """
    binary = data[:4] == b"glTF" and len(data) >= 20
    size = struct.unpack("<I", data[12:16])[0] if binary else len(data)
    try:
        tree = json.loads(data[20 : 20 + size] if binary else data)
        chunk = data[28 + size :] if binary else b""  # behind two headers
        primitives = [p for m in tree.get("meshes", []) for p in m["primitives"]]
        materials = tree.setdefault("materials", [])
        _give_scene(tree)
        for extension in tree.get("extensionsRequired", []):
            if extension in _COMPRESSED:
                raise InputError(
                    f"mesh is compressed ({_COMPRESSED[extension]}), which is not read",
                    path=path,
                    remedy="Export it again without compression of meshes; Blender opens Draco.",
                )
        facts = GltfColour(linear="trimesh" not in str(tree.get("asset", {}).get("generator", "")))
        sets: dict[int, int] = {}
        for number, material in enumerate(materials):
            material["name"] = str(number)
            base = _base(material)
            texture = base.get("baseColorTexture", {})
            fault = _fault(tree, texture, chunk, get)
            if fault:
                note(path, f"its texture {fault}; without it that part has no colour")
                facts.missing.add(str(number))
                del base["baseColorTexture"]
            if "baseColorFactor" in base:
                facts.factors[str(number)] = np.array(base["baseColorFactor"][:3], float)
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
        plain_numbers(tree, chunk, get)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
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


def _give_scene(tree: dict[str, Any]) -> None:
    """A file without a scene, which glTF allows, gets one of all that it holds."""
    if tree.get("scenes"):
        return
    nodes = tree.setdefault("nodes", [])
    if not any("mesh" in node for node in nodes):
        nodes += [{"mesh": number} for number in range(len(tree.get("meshes", [])))]
    below = {child for node in nodes for child in node.get("children", [])}
    tree["scenes"] = [{"nodes": [n for n in range(len(nodes)) if n not in below]}]
    tree["scene"] = 0


def _base(material: dict[str, Any]) -> dict[str, Any]:
    """A material's table of base colour; of specular and glossiness what says the same."""
    gloss = material.get("extensions", {}).pop("KHR_materials_pbrSpecularGlossiness", None)
    base = material.setdefault("pbrMetallicRoughness", {})
    for old, new in (("diffuseFactor", "baseColorFactor"), ("diffuseTexture", "baseColorTexture")):
        if gloss is not None:
            base.pop(new, None)
            if old in gloss:
                base[new] = gloss[old]
    return base


def _fault(
    tree: dict[str, Any], texture: dict[str, Any], chunk: bytes, get: Callable[[str], bytes]
) -> str:
    """What is wrong with a texture's image, or ""; one of WebP is made the texture's own."""
    if not texture:
        return ""
    entry = tree["textures"][texture["index"]]
    more = entry.get("extensions", {})
    if "EXT_texture_webp" in more:
        entry["source"] = more["EXT_texture_webp"]["source"]
    if "source" not in entry:
        kinds = f"of {', '.join(more)}, which is not read" if more else "it names no image"
        return f"is missing ({kinds})"
    image = tree["images"][entry["source"]]
    uri = image.get("uri", "")
    if uri and not uri.startswith("data:"):
        fault = fault_of_image(uri, get)
        return f"{fault} ({uri})" if fault else ""
    if uri:
        content = base64.b64decode(uri.partition(",")[2])
    else:
        view = tree["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        content = buffer_of(tree, view["buffer"], chunk, get)[start : start + view["byteLength"]]
    return "" if image_in(content) is not None else "cannot be read (it lies inside the file)"


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


def vertex_light(stored: np.ndarray, linear: bool) -> np.ndarray:
    """COLOR_0 (N, 3 or 4), of any type that glTF allows -> (N, 3) float64, linear light.

    Args:
        linear: whether it is stored so, else as sRGB.
    """
    values = stored[:, :3].astype(np.float64)
    if stored.dtype.kind in "iu":
        values /= np.iinfo(stored.dtype).max
    values = np.nan_to_num(values).clip(0, 1)
    return values if linear else to_linear(values)


def tinted(pixels: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) uint8 sRGB times a colour (3,) of linear light, as glTF multiplies."""
    levels = np.arange(256) / 255
    table = to_srgb((to_linear(levels)[:, None] * linear).clip(0, 1))
    table = np.round(255 * table).astype(np.uint8)
    return np.stack([table[pixels[..., c], c] for c in range(3)], axis=-1)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as sRGB."""
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] as linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
