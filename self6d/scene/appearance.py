"""Colour of a loaded mesh: vertex colours, face colours, material colours or a texture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from self6d.files import note
from self6d.scene.formats.gltf import (
    GltfColour,
    moved_coordinates,
    tinted,
    to_linear,
    to_srgb,
    vertex_light,
)
from self6d.scene.formats.obj import MISSING
from self6d.scene.mesh import ObjectModel
from self6d.scene.surface import GREY, Surface, face_coloured, rgb_of, texels, textured

_STAND_IN = 100  # grey value of the texture trimesh makes up where a file's own is missing
_LARGEST = 4096  # pixels a side of a repeated texture, in an atlas
_PAD = 2  # texels of margin round each texture of an atlas, so that filtering does not bleed


def surface_of(mesh: trimesh.Trimesh, path: Path, gltf: GltfColour | None = None) -> Surface:
    """Geometry and colour of a trimesh mesh, every way of colouring brought to ours."""
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
    surface = Surface(vertices, faces, np.full(vertices.shape, GREY, np.float32), has_color=False)
    visual = mesh.visual
    if isinstance(visual, TextureVisuals):
        stored = mesh.metadata.get("COLOR_0")
        _textured(surface, visual, path, gltf or GltfColour(), stored)
    elif isinstance(visual, ColorVisuals) and visual.kind == "face":
        face_coloured(surface, np.asarray(visual.face_colors)[:, :3])
    elif isinstance(visual, ColorVisuals) and visual.kind == "vertex":
        surface.colors = (np.asarray(visual.vertex_colors)[:, :3] / 255).astype(np.float32)
        surface.has_color = True
    return surface


def joined(parts: Sequence[Surface], path: Path) -> Surface:
    """One mesh of several parts, their textures packed into one.

    Parts of one flat colour get a texel of the common texture. Where a textured part meets one
    coloured by vertex, textures are reduced to vertex colours, with a note.
    """
    if len(parts) == 1:
        return parts[0]
    count = sum(len(p.faces) for p in parts)
    bare = sum(len(p.faces) for p in parts if not p.has_color)
    if 0 < bare < count:
        note(path, f"{bare} of its {count} triangles have no colour; they are grey")
    starts = np.cumsum([0] + [len(p.vertices) for p in parts])
    whole = Surface(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + s for p, s in zip(parts, starts)]),
        np.concatenate([p.colors for p in parts]),
        has_color=any(p.has_color for p in parts),
        points=parts[0].points,
        metres=parts[0].metres,
    )
    if all(p.texture is None for p in parts):
        return whole
    if any(p.texture is None and np.ptp(p.colors, axis=0).max() > 0 for p in parts):
        note(path, "has textures and vertex colours; textures were reduced to vertex colours")
        return whole
    whole.uv, whole.texture = _atlas(parts, path)
    return whole


def _atlas(parts: Sequence[Surface], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Textures stacked from top to bottom, and the corner coordinates (F, 3, 2) into them."""
    tiles, corners = [], []
    for part in parts:
        if part.texture is None or part.uv is None:
            texel = np.round(part.colors[:1, None] * 255).astype(np.uint8)
            tiles.append(texel)
            corners.append(np.full((len(part.faces), 3, 2), 0.5))
        else:
            tile, uv = _repeated(part.texture, part.uv.astype(np.float64), path)
            tiles.append(tile)
            corners.append(uv)
    width = max(t.shape[1] for t in tiles) + 2 * _PAD
    rows = [
        np.pad(t, ((_PAD, _PAD), (_PAD, width - t.shape[1] - _PAD), (0, 0)), mode="edge")
        for t in tiles
    ]
    texture = np.concatenate(rows)
    top = 0
    for tile, row, uv in zip(tiles, rows, corners):
        h, w = tile.shape[:2]
        uv[..., 0] = (_PAD + uv[..., 0] * w) / width
        uv[..., 1] = 1 - (top + _PAD + (1 - uv[..., 1]) * h) / len(texture)
        top += len(row)
    return np.concatenate(corners).astype(np.float32), texture


def _repeated(texture: np.ndarray, uv: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A texture as often as its coordinates go round it, and the coordinates (F, 3, 2) in that."""
    times = np.ceil(uv.max((0, 1)) - 1e-3).astype(int).clip(1)
    size = np.array(texture.shape[1::-1])
    if (times > _LARGEST).any():
        note(path, f"a texture is repeated {times.max()} times; the first {_LARGEST} are kept")
        times = times.clip(None, _LARGEST)
    room = np.where(times > 1, np.minimum(size, np.maximum(1, _LARGEST // times)), size)
    if (room < size).any():
        w, h = room.tolist()
        note(path, f"a texture is repeated {times.max()} times; made smaller, {w}x{h} pixels")
        texture = np.array(Image.fromarray(texture).resize((w, h), Image.Resampling.BOX))
    return np.tile(texture, (times[1], times[0], 1)), (uv / times).clip(0, 1)


def _textured(
    surface: Surface,
    visual: TextureVisuals,
    path: Path,
    gltf: GltfColour,
    stored: np.ndarray | None,
) -> None:
    name = str(getattr(visual.material, "name", ""))
    image, factor = _material(visual.material, gltf.factors.get(name))
    light = None  # of the vertices, by which glTF multiplies
    if stored is not None and len(stored) == len(surface.vertices):
        light = vertex_light(np.asarray(stored), gltf.linear)
    uv = visual.uv
    transform = gltf.transforms.get(name)
    if uv is not None and transform is not None:
        uv = moved_coordinates(np.asarray(uv, np.float64), transform)
    if image is not None and uv is not None and len(uv) == len(surface.vertices):
        tint = np.ones(3) if factor is None else factor
        if light is not None and np.ptp(light, axis=0).max() == 0:
            tint, light = tint * light[0], None
        tinted_image = Image.fromarray(tinted(rgb_of(image), tint))
        textured(surface, np.asarray(uv)[surface.faces], tinted_image, path)
        if light is not None:
            note(path, "has a texture times vertex colours; it was reduced to vertex colours")
            surface.uv = surface.texture = None
            surface.colors = to_srgb(to_linear(surface.colors) * light).astype(np.float32)
    elif light is not None:
        surface.colors = to_srgb(light if factor is None else light * factor).astype(np.float32)
        surface.has_color = True
    elif factor is not None and name not in gltf.missing:
        surface.colors = np.tile(to_srgb(factor), (len(surface.vertices), 1)).astype(np.float32)
        surface.has_color = True


def _material(
    material: Any, stated: np.ndarray | None
) -> tuple[Image.Image | None, np.ndarray | None]:
    """Texture image and flat colour of a material, linear light; None where it states none.

    Args:
        stated: the colour as a glTF file gives it, of which trimesh keeps 8 bits.
    """
    if isinstance(material, PBRMaterial):
        return _picture_of(material), stated
    if isinstance(material, SimpleMaterial):
        image = _picture_of(material)
        if MISSING in material.kwargs:
            return None, None
        # exporters write the diffuse colour beside a texture, unmultiplied
        return image, None if image is not None else _diffuse(material.kwargs.get("kd"))
    return None, None


def _diffuse(stated: float | list[float] | None) -> np.ndarray | None:
    """Kd of an MTL file as linear light (3,); of numbers above 1, 255 is full."""
    colour = np.atleast_1d(np.asarray([] if stated is None else stated, np.float64))
    if len(colour) != 3 or not np.isfinite(colour).all():
        return None
    return to_linear((colour / (255 if colour.max() > 1 else 1)).clip(0, 1))


def _picture_of(material: Any) -> Image.Image | None:
    """The texture image of a material; None also for trimesh's 2x2 grey stand-in."""
    name = "baseColorTexture" if isinstance(material, PBRMaterial) else "image"
    image = getattr(material, name, None)
    if image is not None and image.size == (2, 2):
        return None if (np.array(image.convert("RGB")) == _STAND_IN).all() else image
    return image


def surface_points(
    model: ObjectModel, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random points of a mesh, as many a square metre everywhere, and their colours.

    Returns:
        (count, 3) float64, metres, model frame, and (count, 3) float, sRGB in [0, 1].
    """
    corners = model.vertices[model.faces].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    weight = np.stack((1 - u - v, u, v), axis=1)[:, :, None]
    points = (weight * corners[face]).sum(1)
    if model.uv is not None and model.texture is not None:
        uv = (weight * model.uv[face]).sum(1)
        return points, texels(model.texture, uv)
    return points, (weight * model.colors[model.faces[face]]).sum(1)
