"""Colour of a loaded mesh: vertex colours, face colours, material colours or a texture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from self6d.files import note

GREY = 0.6


@dataclass
class Surface:
    """A mesh on its way to becoming an `ObjectModel`; see there for shapes and units."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    has_color: bool = True


def surface_of(mesh: trimesh.Trimesh, path: Path) -> Surface:
    """Geometry and colour of a trimesh mesh, every way of colouring brought to ours."""
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
    surface = Surface(vertices, faces, np.full(vertices.shape, GREY, np.float32), has_color=False)
    visual = mesh.visual
    if visual.kind == "texture":
        _textured(surface, visual, path)
    elif visual.kind == "face":
        _face_coloured(surface, np.asarray(visual.face_colors)[:, :3])
    elif visual.kind == "vertex":
        surface.colors = (np.asarray(visual.vertex_colors)[:, :3] / 255).astype(np.float32)
        surface.has_color = True
    return surface


def _textured(surface: Surface, visual: trimesh.visual.TextureVisuals, path: Path) -> None:
    image, factor = _material(visual.material)
    uv = visual.uv
    if image is not None and uv is not None and len(uv) == len(surface.vertices):
        surface.texture = _rgb(image, factor)
        surface.uv = _first_tile(np.asarray(uv, np.float64)[surface.faces], path)
        surface.colors = texture_at_vertices(surface)
        surface.has_color = True
    elif factor is not None:
        surface.colors = np.tile(factor, (len(surface.vertices), 1)).astype(np.float32)
        surface.has_color = True


def _material(material) -> tuple[Image.Image | None, np.ndarray | None]:
    """Texture image and flat sRGB colour of a material, None where it states none."""
    if isinstance(material, PBRMaterial):
        factor = material.baseColorFactor
        if factor is not None:  # linear light by glTF's definition, 8 bits in trimesh
            linear = np.asarray(factor, dtype=np.float64)[:3] / 255
            factor = np.where(
                linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
            )
        return material.baseColorTexture, factor
    if isinstance(material, SimpleMaterial):
        default = np.array_equal(material.diffuse, SimpleMaterial().diffuse)
        factor = None if default else np.asarray(material.diffuse, dtype=np.float64)[:3] / 255
        return material.image, factor
    return None, None


def _rgb(image: Image.Image, factor: np.ndarray | None) -> np.ndarray:
    pixels = np.array(image.convert("RGB"), dtype=np.uint8)
    if factor is not None and not np.allclose(factor, 1):
        pixels = np.round(pixels * factor).astype(np.uint8)
    return pixels


def _first_tile(uv: np.ndarray, path: Path) -> np.ndarray:
    """Repeating textures: move each face by whole tiles so that it starts in [0, 1)."""
    if not np.isfinite(uv).all():
        note(path, "texture coordinates that are not finite were set to zero")
        uv = np.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
    if uv.min() < -1e-3 or uv.max() > 1 + 1e-3:
        uv = uv - np.floor(uv.min(axis=1, keepdims=True) + 1e-6)
    return uv.astype(np.float32)


def texture_at_vertices(surface: Surface) -> np.ndarray:
    """(V, 3) float32: the texel under each vertex, for uses that know no texture."""
    assert surface.uv is not None and surface.texture is not None
    h, w = surface.texture.shape[:2]
    uv = np.zeros((len(surface.vertices), 2))
    uv[surface.faces.reshape(-1)] = surface.uv.reshape(-1, 2)
    column = np.clip(np.floor(uv[:, 0] % 1.0 * w), 0, w - 1).astype(int)
    row = np.clip(np.floor((1 - uv[:, 1] % 1.0) * h), 0, h - 1).astype(int)
    return (surface.texture[row, column] / 255).astype(np.float32)


def _face_coloured(surface: Surface, colors: np.ndarray) -> None:
    """One vertex for each (vertex, colour) that faces use, so that no colour bleeds."""
    packed = colors.astype(np.int64) @ np.array([65536, 256, 1])
    corner = np.stack((surface.faces.reshape(-1), packed.repeat(3)), axis=1)
    unique, inverse = np.unique(corner, axis=0, return_inverse=True)
    surface.vertices = surface.vertices[unique[:, 0]]
    surface.faces = inverse.reshape(-1, 3)
    rgb = (unique[:, 1, None] >> np.array([16, 8, 0])) & 255
    surface.colors = (rgb / 255).astype(np.float32)
    surface.has_color = True
