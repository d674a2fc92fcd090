"""Depth of another camera brought into the colour image, where files state how the two stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets.distortion import plain_keys, undistorted
from self6d.datasets.intrinsics import (
    Intrinsics,
    camera_tables,
    depth_camera_file,
    files_of,
    from_table,
    read_intrinsics,
)
from self6d.errors import InputError
from self6d.files import note, read_json, read_text, read_yaml
from self6d.geometry import Camera

_FORWARD = r"(?:t|rt|extrinsics?)?(?:depth(?:to|2)(?:color|colour|rgb))(?:extrinsics?)?"
_BACKWARD = r"(?:t|rt|extrinsics?)?(?:(?:color|colour|rgb)(?:to|2)depth)(?:extrinsics?)?"
_PLAIN = r"extrinsics?|extrinsicmatrix"
_REMEDY = (
    'Write "depth_to_color": a 4x4 matrix in metres, or {"rotation": [9], "translation": [3]}.'
)


@dataclass(frozen=True, eq=False)
class DepthCamera:
    """The camera that saw depth, and where it stands.

    Attributes:
        intrinsics: its own. R: (3, 3), t: (3,) metres: from its axes to the colour camera's.
    """

    intrinsics: Intrinsics
    R: np.ndarray
    t: np.ndarray


def registered(depth_m: np.ndarray, own: DepthCamera, colour: Camera, path: Path) -> np.ndarray:
    """Depth (h, w) of its own camera as the colour camera sees it: (H, W) float32, metres.

    Each pixel is a square of its depth, so that a finer colour image has no gaps; of several that
    fall on one place the nearest counts. 0 where nothing does.

    Raises:
        InputError: an impossible K of the depth camera.
    """
    h, w = depth_m.shape
    K, Kc = own.intrinsics.camera(w, h).K_opencv, colour.K_opencv
    if own.intrinsics.distortion is not None:
        straight = undistorted(own.intrinsics.distortion, K, own.intrinsics.source or path, depth_m)
        depth_m = straight[0]  # type: ignore[assignment]
    half = 0.5 * Kc[0, 0] / K[0, 0], 0.5 * Kc[1, 1] / K[1, 1]  # of a pixel's square in colour
    A, b = Kc @ own.R @ np.linalg.inv(K), Kc @ own.t  # colour's pixel = A (u, v, 1) z + b
    from self6d.geometry.spread import spread  # compiled: not needed to open a recording

    found = spread(np.ascontiguousarray(depth_m), A, b, half, colour.height, colour.width)
    note(path, "depth of its own camera was registered to colour by the stated extrinsics")
    return found


def find_depth_camera(folder: Path, colour: Intrinsics, depth_name: str) -> DepthCamera | None:
    """The depth camera that a recording's files state apart from colour's.

    None where none is stated, or depth is named as aligned. Where it stands nowhere how the two
    cameras lie to each other, depth of colour's size is taken as registered, with a note.

    Args:
        depth_name: path of a depth image below the folder.

    Raises:
        InputError: another size and no extrinsics, or a file that holds no pose.
    """
    if re.search(r"aligned|registered", depth_name, re.IGNORECASE):
        return None
    tables = camera_tables(colour.source) if colour.source is not None else []
    own = _own_camera(folder, colour, tables)
    if own is None:
        return None
    for R, t in _extrinsics(folder, tables, colour.source):
        return DepthCamera(own, R, t)
    _judge_unregistered(own, colour, own.source or folder)
    return None


def _judge_unregistered(own: Intrinsics, colour: Intrinsics, path: Path) -> None:
    """Two cameras and no word of how they stand: registered already, or of no use."""
    sizes = (own.width, own.height), (colour.width, colour.height)
    known = None not in sizes[0] and None not in sizes[1]
    scale = colour.width / own.width if known and own.width and colour.width else 1.0
    if np.allclose((own.K * [[scale], [scale], [1]])[:2], colour.K[:2], rtol=0.02, atol=2.0):
        return
    what = "depth has a camera of its own, and how it stands to colour's is stated nowhere"
    if known and sizes[0] != sizes[1]:
        raise InputError(
            f"{what}: depth cannot be registered to colour",
            path=path,
            remedy=f"{_REMEDY} Or record depth aligned to colour.",
        )
    note(path, f"{what}; it is taken as registered to colour")


def _own_camera(folder: Path, colour: Intrinsics, tables: Sequence[dict]) -> Intrinsics | None:
    for table in tables:
        for key, value in plain_keys(table).items():
            if isinstance(value, dict) and re.fullmatch(r"(camera)?depth(camera|intrinsics)?", key):
                try:
                    return from_table(value, colour.source or folder)
                except InputError:
                    continue  # a table of other things
    file = depth_camera_file(folder)
    return None if file is None or file == colour.source else read_intrinsics(file)


def _extrinsics(
    folder: Path, tables: Sequence[dict], source: Path | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """R and t from depth to colour, wherever they stand."""
    found = [_stated(table, source or folder) for table in tables]
    for file in files_of(folder):
        name = re.sub(r"[^a-z0-9]", "", file.stem.lower())
        way = _way(name)
        if not way or file.suffix not in (".txt", ".json", ".yaml", ".yml"):
            continue
        if file.suffix == ".txt":
            words = re.split(r"[\s,;\[\]]+", read_text(file, "extrinsics"))
            found.append(_transform([w for w in words if w], way, file))
            continue
        read = read_json if file.suffix == ".json" else read_yaml
        table = read(file, "extrinsics", (dict, list))
        inner = _stated(table, file) if isinstance(table, dict) else None
        found.append(inner or _transform(table, way, file))
    return [pose for pose in found if pose is not None]


def _way(name: str) -> int:
    """1 for a key or name from depth to colour, -1 for the way back, 0 for another name."""
    if re.fullmatch(_BACKWARD, name):
        return -1
    return 1 if re.fullmatch(f"{_FORWARD}|{_PLAIN}", name) else 0


def _stated(table: dict, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    for key, value in plain_keys(table).items():
        way = _way(key)
        if not way:
            continue
        if isinstance(value, dict):
            inner = _stated(value, path)
            if inner is not None:
                return inner
        return _transform(value, way, path)
    for key, value in plain_keys(table).items():
        if isinstance(value, dict) and re.search("depth|colou?r|rgb", key):
            inner = _stated(value, path)
            if inner is not None:
                return inner
    return None


def _transform(value: Any, way: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        if isinstance(value, dict):
            flat = plain_keys(value)
            turn = flat.get("rotation", flat.get("r", flat.get("rotationmatrix")))
            R = np.asarray(turn, dtype=np.float64)
            if R.shape == (9,) and "rotation" in flat:
                note(path, "rotation of the extrinsics read columns first, as RealSense writes it")
                R = R.reshape(3, 3).T
            R = R.reshape(3, 3)
            t = np.asarray(
                flat.get("translation", flat.get("t", flat.get("translationvector"))), np.float64
            ).reshape(3)
        else:
            m = np.asarray(value, dtype=np.float64).reshape(-1, 4)
            if m.shape not in ((3, 4), (4, 4)):
                raise ValueError(m.shape)
            R, t = m[:3, :3], m[:3, 3]
            if m.shape == (4, 4) and not t.any() and m[3, :3].any():  # columns first
                R, t = R.T, m[3, :3]
    except (TypeError, ValueError, IndexError):
        raise InputError("extrinsics are no pose", path=path, remedy=_REMEDY) from None
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or not np.isfinite(t).all():
        raise InputError("extrinsics hold no rotation", path=path, remedy=_REMEDY)
    if np.abs(t).max() > 1.0:
        note(path, "translation of the extrinsics read as millimetres")
        t = t / 1000
    return (R, t) if way > 0 else (R.T, -R.T @ t)
