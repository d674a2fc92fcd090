"""A mesh on its way from a file to a model, and the colours it is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from self6d.files import note

GREY = 0.6


@dataclass
class Surface:
    """A mesh on its way to becoming an `ObjectModel`; see there for shapes.

    Vertices are in the file's unit; `metres` is what that is, where the file states it.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    has_color: bool = True
    points: np.ndarray | None = None
    metres: float | None = None


def part_of(vertices: np.ndarray, faces: np.ndarray, numbers: np.ndarray | None = None) -> Surface:
    """A part with the vertices that its faces use, each once for each of its `numbers`; grey."""
    corners = np.stack((faces, np.zeros_like(faces) if numbers is None else numbers), axis=-1)
    used, inverse = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    grey = np.full((len(used), 3), GREY, np.float32)
    return Surface(vertices[used[:, 0]], inverse.reshape(-1, 3), grey, has_color=False)


def rgb_of(image: Image.Image) -> np.ndarray:
    """The pixels of a texture, (H, W, 3) uint8 sRGB."""
    return np.array(_eight_bit(image).convert("RGB"), dtype=np.uint8)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey images of 16 bits or of decimals in 8, which Pillow would clip."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.asarray(image, dtype=np.float64)
    full = 1.0 if image.mode == "F" and grey.max() <= 1 else 255.0 if grey.max() <= 255 else 65535.0
    if image.mode.startswith("I;16"):
        full = 65535.0
    return Image.fromarray(np.round(255 * (grey / full).clip(0, 1)).astype(np.uint8))


def first_tile(uv: np.ndarray, path: Path) -> np.ndarray:
    """Repeating textures: move each face by whole tiles so that it starts in [0, 1)."""
    if not np.isfinite(uv).all():
        note(path, "texture coordinates that are not finite were set to zero")
        uv = np.nan_to_num(uv, nan=0.0, posinf=0.0, neginf=0.0)
    if uv.min() < -1e-3 or uv.max() > 1 + 1e-3:
        uv = uv - np.floor(uv.min(axis=1, keepdims=True) + 1e-6)
    return uv.astype(np.float32)


def texels(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Nearest texels of (Th, Tw, 3) uint8 at uv (..., 2) -> (..., 3) float32 in [0, 1]."""
    h, w = texture.shape[:2]
    inside = np.where((uv >= 0) & (uv <= 1), uv, uv % 1.0)  # 1 is an edge, not the next tile
    column = np.clip(np.floor(inside[..., 0] * w), 0, w - 1).astype(int)
    row = np.clip(np.floor((1 - inside[..., 1]) * h), 0, h - 1).astype(int)
    return (texture[row, column] / 255).astype(np.float32)


def textured(surface: Surface, uv: np.ndarray, image: Image.Image, path: Path) -> None:
    """Give faces a texture, at coordinates (F, 3, 2), v upwards."""
    surface.texture = rgb_of(image)
    surface.uv = first_tile(np.asarray(uv, np.float64), path)
    at_vertex = np.zeros((len(surface.vertices), 2))
    at_vertex[surface.faces.reshape(-1)] = surface.uv.reshape(-1, 2)
    surface.colors = texels(surface.texture, at_vertex)  # for uses that know no texture
    surface.has_color = True


def face_coloured(surface: Surface, colors: np.ndarray) -> None:
    """Colour faces, (F, 3) in [0, 255]."""
    corner_coloured(surface, colors[:, None].repeat(3, axis=1))


def corner_coloured(surface: Surface, colors: np.ndarray) -> None:
    """Colour the corners of faces, (F, 3, 3) in [0, 255].

    There is one vertex for each (vertex, colour) that faces use, so that no colour bleeds.
    """
    packed = colors.astype(np.int64).reshape(-1, 3) @ np.array([65536, 256, 1])
    corner = np.stack((surface.faces.reshape(-1), packed), axis=1)
    unique, inverse = np.unique(corner, axis=0, return_inverse=True)
    surface.vertices = surface.vertices[unique[:, 0]]
    surface.faces = inverse.reshape(-1, 3)
    rgb = (unique[:, 1, None] >> np.array([16, 8, 0])) & 255
    surface.colors = (rgb / 255).astype(np.float32)
    surface.has_color = True
