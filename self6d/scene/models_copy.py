"""Object models written in one plain form, BOP's: those of a run, and of a corrected copy."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from self6d.files import is_copy
from self6d.scene.mesh import ObjectModel
from self6d.scene.mesh_io import load_models, numbered, points_beside
from self6d.storage import atomic_write


def save_models(models: Sequence[ObjectModel], folder: Path, *, keep_names: bool = False) -> None:
    """Write models as BOP lays them out: obj_000001.ply (GLB with texture), models_info.json.

    Args:
        keep_names: name them as their sources instead, where these names give the same numbers.

    Points of errors that are not the mesh's vertices lie beside it, as obj_000001.points.npy.
    models_info.json comes last: a folder without it is incomplete.
    """
    folder.mkdir(exist_ok=True)
    is_copy(folder)
    names = _own_names(models) if keep_names else {}
    for model in models:
        suffix = "ply" if model.uv is None else "glb"
        data = _mesh(model).export(file_type=suffix)
        assert isinstance(data, bytes)  # both formats are binary
        name = names.get(model.object_id, f"obj_{model.object_id:06d}")
        atomic_write(folder / f"{name}.{suffix}", data)
        points = model.points
        if points is not None and not np.array_equal(points.astype(np.float32), model.vertices):
            array = io.BytesIO()
            np.save(array, points)
            atomic_write(points_beside(folder / f"{name}.{suffix}"), array.getvalue())
    infos = {str(model.object_id): _info(model) for model in models}
    atomic_write(folder / "models_info.json", json.dumps(infos, indent=1).encode())


def _own_names(models: Sequence[ObjectModel]) -> dict[int, str]:
    """Object number -> stem of its source, empty where numbers would not be read from them."""
    names = {m.object_id: m.source.stem for m in models if m.source is not None}
    files = sorted(Path(f"{name}.ply") for name in names.values())
    if len(names) < len(models) or len(set(files)) < len(files):
        return {}
    read = {file.stem: object_id for object_id, file in numbered(files)}
    return names if all(read[name] == i for i, name in names.items()) else {}


def read_models(folder: Path) -> list[ObjectModel]:
    """The models that `save_models` wrote.

    Raises:
        InputError: one of them is damaged.
    """
    return load_models(folder, unit="mm", copies=True)


def has_models(folder: Path) -> bool:
    """Whether `save_models` finished there."""
    return (folder / "models_info.json").is_file()


def _mesh(model: ObjectModel) -> trimesh.Trimesh:
    """Millimetres, as BOP's files."""
    vertices = model.vertices.astype(np.float64) * 1000
    if model.uv is None or model.texture is None:
        colors = np.round(model.colors * 255).astype(np.uint8) if model.has_color else None
        return trimesh.Trimesh(vertices, model.faces, vertex_colors=colors, process=False)
    # texture coordinates belong to face corners here, to vertices in files
    corners = vertices[model.faces].reshape(-1, 3)
    material = PBRMaterial(baseColorTexture=Image.fromarray(model.texture))
    visual = TextureVisuals(uv=model.uv.reshape(-1, 2), material=material)
    faces = np.arange(len(corners)).reshape(-1, 3)
    return trimesh.Trimesh(corners, faces, visual=visual, process=False)


def _info(model: ObjectModel) -> dict[str, Any]:
    info: dict[str, Any] = {"name": model.name, "diameter": model.diameter * 1000}
    symmetry = model.symmetry
    if len(symmetry.discrete):
        rows = symmetry.discrete.copy()
        rows[:, :3, 3] *= 1000
        info["symmetries_discrete"] = [row.ravel().tolist() for row in rows]
    if len(symmetry.axes):
        info["symmetries_continuous"] = [
            {"axis": axis.tolist(), "offset": (offset * 1000).tolist()}
            for axis, offset in zip(symmetry.axes, symmetry.offsets, strict=True)
        ]
    return info
