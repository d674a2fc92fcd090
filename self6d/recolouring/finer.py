"""Meshes split until vertex colours can carry what an image shows; the surface stays as it is."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from self6d.scene import ObjectModel
from self6d.scene.surface import texels

_ONE = ((0, 3, 2), (3, 1, 2))
_TWO_A = ((3, 1, 4), (0, 3, 4), (0, 4, 2))
_TWO_B = ((3, 1, 4), (0, 3, 2), (3, 4, 2))
_THREE = ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))


def finer(model: ObjectModel, longest_m: float, most_faces: int) -> ObjectModel:
    """A model whose edges are no longer than asked, coloured by vertex.

    Edges are halved, and every face beside a halved edge with them, so that no gaps open. Vertices
    of the model stay the first ones of the result, in their order; new ones lie on its edges.

    Args:
        longest_m: longest edge wanted, metres.
        most_faces: stop before there are more, edges then stay longer.

    Returns:
        the model without texture; its colours are the model's own, those of a texture where each
        face's corner reads it. Geometry, diameter, symmetry and `error_points` are the same.
    """
    vertices = model.vertices.astype(np.float64)
    faces = model.faces.astype(np.int64)
    textured = model.uv is not None and model.texture is not None
    corners = model.uv.astype(np.float64) if textured else np.zeros((len(faces), 3, 0))  # type: ignore[union-attr]
    colors = model.colors.astype(np.float64)
    while True:
        edges, of_face = _edges(faces, len(vertices))
        length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        long = length > longest_m
        marked = long[of_face]
        if not long.any() or len(faces) + int(marked.sum()) > most_faces:
            break
        number = np.full(len(edges), -1)
        number[long] = len(vertices) + np.arange(long.sum())
        middle = edges[long]
        vertices = np.concatenate((vertices, vertices[middle].mean(1)))
        colors = np.concatenate((colors, colors[middle].mean(1)))
        faces, corners = _split(faces, corners, marked, number[of_face], vertices)
    if textured:
        colors = _texture_colors(model, faces, corners, colors)
    return replace(
        model,
        vertices=vertices.astype(np.float32),
        faces=faces.astype(np.int32),
        colors=colors.astype(np.float32),
        uv=None,
        texture=None,
        points=model.error_points,
    )


def longest_edge(model: ObjectModel) -> float:
    """Metres."""
    corners = model.vertices[model.faces].astype(np.float64)
    return float(np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max())


def _edges(faces: np.ndarray, vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) vertices of each edge, and (F, 3) the edge after each corner."""
    pairs = np.sort(np.stack((faces, np.roll(faces, -1, axis=1)), axis=2).reshape(-1, 2), axis=1)
    key, inverse = np.unique(pairs[:, 0] * vertices + pairs[:, 1], return_inverse=True)
    return np.stack((key // vertices, key % vertices), axis=1), inverse.reshape(-1, 3)


def _split(
    faces: np.ndarray,
    corners: np.ndarray,
    marked: np.ndarray,
    middle: np.ndarray,
    vertices: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Faces cut at the middles of their marked edges.

    Args:
        faces: (F, 3). corners: (F, 3, k), what belongs to their corners.
        marked: (F, 3) bool, whether the edge after a corner is halved. middle: (F, 3), its vertex.
    """
    count = marked.sum(1)
    # turned so that of one marked edge it is the first, of two the unmarked one is the last
    turn = np.where(count == 1, marked.argmax(1), 0)
    turn = np.where(count == 2, (marked.argmin(1) + 1) % 3, turn)
    order = (turn[:, None] + np.arange(3)) % 3
    rows = np.arange(len(faces))[:, None]
    corner, between = corners[rows, order], np.roll(order, -1, axis=1)
    points = np.concatenate((faces[rows, order], middle[rows, order]), axis=1)
    attributes = np.concatenate((corner, (corner + corners[rows, between]) / 2), axis=1)
    found = [(faces[count == 0], corners[count == 0])]

    def cut(chosen: np.ndarray, pattern: tuple[tuple[int, int, int], ...]) -> None:
        for triangle in pattern:
            found.append((points[chosen][:, triangle], attributes[chosen][:, triangle]))

    two = count == 2
    first = np.linalg.norm(vertices[points[:, 0]] - vertices[points[:, 4]], axis=1)
    second = np.linalg.norm(vertices[points[:, 3]] - vertices[points[:, 2]], axis=1)
    cut(count == 1, _ONE)
    cut(two & (first <= second), _TWO_A)
    cut(two & (first > second), _TWO_B)
    cut(count == 3, _THREE)
    return np.concatenate([f for f, _ in found]), np.concatenate([c for _, c in found])


def _texture_colors(
    model: ObjectModel, faces: np.ndarray, corners: np.ndarray, colors: np.ndarray
) -> np.ndarray:
    """(V, 3): mean of what the faces at each vertex read in the texture, made as coarse as they."""
    texture = model.texture
    assert texture is not None
    scale = (4 * len(colors) / (texture.shape[0] * texture.shape[1])) ** 0.5
    if scale < 1:  # one texel of many would be a matter of chance
        size = (max(1, round(scale * texture.shape[1])), max(1, round(scale * texture.shape[0])))
        texture = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
    read = texels(texture, corners).reshape(-1, 3).astype(np.float64)
    at = faces.reshape(-1)
    share = np.bincount(at, minlength=len(colors))[:, None]
    total = np.stack([np.bincount(at, read[:, c], len(colors)) for c in range(3)], axis=1)
    return np.where(share > 0, total / np.maximum(share, 1), colors)
