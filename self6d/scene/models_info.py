"""models_info.json or .yml: diameters (mm) and symmetries, which BOP states beside the meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from self6d.errors import InputError
from self6d.files import note, read_json, read_text, read_yaml
from self6d.scene.known import linemod_symmetry
from self6d.scene.mesh import Symmetry

NAMES = ("models_info.json", "models_info.yml", "models_info.yaml")


@dataclass(frozen=True)
class ModelInfo:
    """What the file states about one object.

    Attributes:
        diameter_mm: largest distance between two vertices, millimetres; None if not stated.
        symmetry: in metres.
        name: name shown to people; empty if not stated.
    """

    diameter_mm: float | None = None
    symmetry: Symmetry = field(default_factory=Symmetry)
    name: str = ""


def read_models_info(folder: str | Path) -> dict[int, ModelInfo]:
    """Object id -> info; empty where the folder has no such file.

    Raises:
        InputError: the file is not a table of objects or holds impossible numbers.
    """
    path = next((Path(folder) / n for n in NAMES if (Path(folder) / n).is_file()), None)
    if path is None:
        return {}
    reader = read_json if path.suffix == ".json" else read_yaml
    table = reader(path, "models_info")
    infos = {}
    for key, entry in table.items():
        try:
            object_id = int(key)
        except (TypeError, ValueError):
            raise InputError(
                f"models_info names an object '{key}' that is not a number",
                path=path,
                remedy="Use BOP's object numbers as keys.",
            ) from None
        if not isinstance(entry, dict):
            raise InputError(
                f"models_info of object {object_id} is not a table",
                path=path,
                remedy="Give at least its diameter in millimetres.",
            )
        infos[object_id] = _entry(object_id, entry, path)
    return infos


def read_distance(folder: str | Path) -> ModelInfo | None:
    """The diameter in LineMOD's distance.txt (centimetres) beside mesh.ply; None without it."""
    path = Path(folder) / "distance.txt"
    if not path.is_file():
        return None
    try:
        diameter_mm = 10 * float(read_text(path, "diameter file").split()[0])
    except (ValueError, IndexError):
        diameter_mm = 0.0
    if not 0 < diameter_mm < 1e5:
        note(path, "holds no diameter; it is measured")
        return None
    return ModelInfo(diameter_mm)


def _entry(object_id: int, entry: dict, path: Path) -> ModelInfo:
    diameter = entry.get("diameter")
    if diameter is not None:
        numeric = isinstance(diameter, (int, float)) and not isinstance(diameter, bool)
        if not numeric or not 0 < diameter < 1e6:
            note(path, f"diameter of object {object_id} is not a positive number; it is measured")
            diameter = None
    discrete, axes, offsets = [], [], []
    for numbers in _items(entry, "symmetries_discrete"):
        m = _numbers(numbers, 16, object_id, path).reshape(4, 4).copy()
        m[:3, 3] /= 1000
        if np.abs(m[:3, :3] @ m[:3, :3].T - np.eye(3)).max() > 1e-2:
            raise _bad_symmetry(object_id, path)
        discrete.append(m)
    for turn in _items(entry, "symmetries_continuous"):
        if not isinstance(turn, dict):
            raise _bad_symmetry(object_id, path)
        axis = _numbers(turn.get("axis"), 3, object_id, path)
        length = float(np.linalg.norm(axis))
        if not length > 1e-6:
            raise _bad_symmetry(object_id, path)
        axes.append(axis / length)
        offsets.append(_numbers(turn.get("offset", [0, 0, 0]), 3, object_id, path) / 1000)
    symmetry = Symmetry(
        np.array(discrete).reshape(-1, 4, 4),
        np.array(axes).reshape(-1, 3),
        np.array(offsets).reshape(-1, 3),
    )
    if not symmetry and path.suffix != ".json":  # the .yml files of LineMOD's copies state none
        symmetry = linemod_symmetry(object_id, diameter) or symmetry
    name = entry.get("name")
    return ModelInfo(diameter, symmetry, name if isinstance(name, str) else "")


def _items(entry: dict, key: str) -> list:
    value = entry.get(key) or []
    return value if isinstance(value, list) else [value]


def _numbers(value: Any, count: int, object_id: int, path: Path) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise _bad_symmetry(object_id, path) from None
    if array.size != count or not np.isfinite(array).all():
        raise _bad_symmetry(object_id, path)
    return array


def _bad_symmetry(object_id: int, path: Path) -> InputError:
    return InputError(
        f"models_info of object {object_id} holds a symmetry that is not a rigid transform",
        path=path,
        remedy="Give 16 numbers (row-major 4x4, mm), or an axis and an offset.",
    )
