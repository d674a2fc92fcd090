"""Object models packed into flat tensors, so that one call renders a batch of different objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.errors import InputError
from self6d.scene import ObjectModel

MAX_LEVELS = 15  # textures up to 16384 texels a side


@dataclass(eq=False)
class PackedModels:
    """M object models behind one another.

    Attributes:
        vertices: (V, 3) float, metres, model frame.
        colors: (V, 3) float in [0, 1].
        normals: (V, 3) float, unit, area-weighted over the faces that touch the position.
        faces: (F, 3) int32, vertex numbers within the face's own model.
        uv: (F, 3, 2) float per face corner, v upwards; (0, 3, 2) if no model has a texture.
        texels: (T,) int32, R + 256 G + 65536 B of all textures and their mip levels.
        mips: (M, 15, 3) int32, per level: first texel, width, height; level 0 is the finest.
        levels: (M,) int32, number of mip levels, 0 for a model without texture.
        vertex_offset: (M + 1,) int32, first vertex of each model.
        face_offset: (M + 1,) int32, first face of each model.
        object_ids: BOP object number of each model.
        vertex_counts, face_counts: per model, on the host.
    """

    vertices: Tensor
    colors: Tensor
    normals: Tensor
    faces: Tensor
    uv: Tensor
    texels: Tensor
    mips: Tensor
    levels: Tensor
    vertex_offset: Tensor
    face_offset: Tensor
    object_ids: tuple[int, ...]
    vertex_counts: tuple[int, ...]
    face_counts: tuple[int, ...]
    cache: dict = field(default_factory=dict, repr=False)  # what a backend derives from the tensors

    def __len__(self) -> int:
        return len(self.object_ids)

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.vertices.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the floating-point tensors."""
        return self.vertices.dtype

    @property
    def textured(self) -> bool:
        """Whether any model has a texture."""
        return len(self.uv) > 0

    def to(self, device: torch.device | str) -> PackedModels:
        """The same models on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved, cache={})


def pack_models(
    models: Sequence[ObjectModel],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PackedModels:
    """Pack `models` for `render`; an item's `object_index` is the position in this sequence.

    Args:
        models: at least one.
        device: where the tensors go.
        dtype: torch.float32, or torch.float64 (reference backend only).

    Raises:
        InputError: if `models` is empty.
    """
    if not models:
        raise InputError("no object models to render", remedy="Give at least one CAD model.")
    textured = any(m.texture is not None and m.uv is not None for m in models)
    texels: list[np.ndarray] = []
    mips = np.zeros((len(models), MAX_LEVELS, 3), np.int32)
    levels = np.zeros(len(models), np.int32)
    first = 0
    for i, model in enumerate(models):
        if model.texture is None or model.uv is None:
            continue
        pyramid = _mip_pyramid(model.texture)
        levels[i] = len(pyramid)
        for j, image in enumerate(pyramid):
            mips[i, j] = first, image.shape[1], image.shape[0]
            packed = image.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
            texels.append(packed.ravel().astype(np.int32))
            first += packed.size

    def real(arrays: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(arrays).astype(np.float64)).to(device, dtype)

    def whole(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.int32)).to(device)

    vertex_counts = tuple(len(m.vertices) for m in models)
    face_counts = tuple(len(m.faces) for m in models)
    uv = [m.uv if m.uv is not None else np.zeros((len(m.faces), 3, 2)) for m in models]
    return PackedModels(
        vertices=real([m.vertices for m in models]),
        colors=real([m.colors for m in models]),
        normals=real([_vertex_normals(m.vertices, m.faces) for m in models]),
        faces=whole(np.concatenate([m.faces for m in models])),
        uv=real(uv) if textured else torch.zeros((0, 3, 2), device=device, dtype=dtype),
        texels=whole(np.concatenate(texels) if texels else np.zeros(0)),
        mips=whole(mips),
        levels=whole(levels),
        vertex_offset=whole(np.cumsum((0, *vertex_counts))),
        face_offset=whole(np.cumsum((0, *face_counts))),
        object_ids=tuple(m.object_id for m in models),
        vertex_counts=vertex_counts,
        face_counts=face_counts,
    )


def _mip_pyramid(texture: np.ndarray) -> list[np.ndarray]:
    """(h, w, 3) uint8 and its area-averaged halvings down to one texel."""
    pyramid = [texture]
    image = texture.astype(np.float32)
    while max(image.shape[:2]) > 1 and len(pyramid) < MAX_LEVELS:
        h, w = max(image.shape[0] // 2, 1), max(image.shape[1] // 2, 1)
        image = _area_resize(_area_resize(image, h, 0), w, 1)
        pyramid.append(np.rint(image).astype(np.uint8))
    return pyramid


def _area_resize(image: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Box filter along one axis; exact for odd sizes too (each output covers an equal share)."""
    n = image.shape[axis]
    if size == n:
        return image
    if n == 2 * size:
        return image.reshape(*image.shape[:axis], size, 2, *image.shape[axis + 1 :]).mean(axis + 1)
    total = image.cumsum(axis, dtype=np.float64)
    total = np.concatenate((np.zeros_like(total.take([0], axis)), total), axis)
    edges = np.arange(size + 1) * (n / size)
    low = np.minimum(edges.astype(int), n - 1)
    shape = [1] * image.ndim
    shape[axis] = -1
    share = (edges - low).reshape(shape)
    at = total.take(low, axis) * (1 - share) + total.take(low + 1, axis) * share
    return (np.diff(at, axis=axis) * (size / n)).astype(np.float32)


def _vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted normals; vertices at one position (texture seams) share theirs."""
    corners = vertices[faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    _, weld = np.unique(vertices, axis=0, return_inverse=True)
    weld = weld.reshape(-1)
    total = np.zeros((weld.max() + 1, 3))
    for k in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(weld[faces[:, k]], normal[:, axis], len(total))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit = np.divide(total, length, out=np.zeros_like(total), where=length > 0)
    return unit[weld]
