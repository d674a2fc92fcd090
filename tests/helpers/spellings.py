"""K and distortion of a camera in the spellings of tools that write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import yaml

Table = tuple[str, str]  # name of the file, its text


def _numbers(K: np.ndarray) -> dict[str, float]:
    return {"fx": float(K[0, 0]), "fy": float(K[1, 1]), "cx": float(K[0, 2]), "cy": float(K[1, 2])}


def named(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """The product's own."""
    bent = dict(zip(("k1", "k2", "p1", "p2", "k3"), D, strict=False))
    return "camera.json", json.dumps(
        {**_numbers(K), "width": w, "height": h, "depth_scale": scale, **bent}
    )


def rows(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """Rows of K under its name."""
    bent = {"D": list(D)} if len(D) else {}
    table = {"K": K.tolist(), "width": w, "height": h, "depth_scale": scale, **bent}
    return "intrinsics.json", json.dumps(table)


def columns(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """Columns first, as ARKit has it."""
    bent = {"dist_coeffs": list(D)} if len(D) else {}
    table = {"K": K.T.reshape(-1).tolist(), "w": w, "h": h, "depth_scale": scale, **bent}
    return "camera.json", json.dumps(table)


def open3d(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """Open3D's, columns first by format."""
    bent = {"distortion": list(D)} if len(D) else {}
    table = {"width": w, "height": h, "intrinsic_matrix": K.T.reshape(-1).tolist(), **bent}
    return "camera_intrinsic.json", json.dumps({**table, "depth_scale": 1000 / scale})


def two_cameras(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """Depth's camera before colour's in one file."""
    other = {k: 0.8 * v for k, v in _numbers(K).items()}
    colour = {**_numbers(K), "coeffs": list(D), "width": w, "height": h}
    colour = {{"cx": "ppx", "cy": "ppy"}.get(k, k): v for k, v in colour.items()}
    return "calibration.json", json.dumps({"depth": other, "color": colour, "depth_scale": scale})


def ros(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """camera_calibration's YAML."""
    bent = [*D, 0, 0, 0, 0, 0][: max(5, len(D))]
    return "camera_info.yaml", yaml.safe_dump({
        "image_width": w, "image_height": h, "camera_name": "rgb",
        "camera_matrix": {"rows": 3, "cols": 3, "data": K.reshape(-1).tolist()},
        "distortion_model": "plumb_bob", "depth_scale": scale,
        "distortion_coefficients": {"rows": 1, "cols": len(bent), "data": [float(v) for v in bent]},
    })  # fmt: skip


def opencv(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """cv::FileStorage."""

    def matrix(name: str, rows: int, data: list[float]) -> str:
        head = f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {len(data) // rows}\n"
        return f"{head}   dt: d\n   data: {data}\n"

    text = f"%YAML:1.0\n---\nimage_width: {w}\nimage_height: {h}\ndepth_scale: {scale}\n"
    text += matrix("camera_matrix", 3, K.reshape(-1).tolist())
    if len(D):
        text += matrix("distortion_coefficients", 1, [float(v) for v in D])
    return "calibration.yml", text


def kalibr(K: np.ndarray, w: int, h: int, D: Sequence[float], scale: float) -> Table:
    """Kalibr's camchain."""
    fx, fy, cx, cy = _numbers(K).values()
    camera = {
        "camera_model": "pinhole", "intrinsics": [fx, fy, cx, cy], "resolution": [w, h],
        "distortion_model": "radtan", "distortion_coeffs": [*map(float, D), 0.0, 0.0, 0.0, 0.0][:4],
    }  # fmt: skip
    return "camera.yaml", yaml.safe_dump({"cam0": camera, "depth_scale": scale})


SPELLINGS: dict[str, Callable[..., Table]] = {
    f.__name__: f for f in (named, rows, columns, open3d, two_cameras, ros, opencv, kalibr)
}
