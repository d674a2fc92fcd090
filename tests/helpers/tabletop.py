"""A recording of a table with boxes on it, as the doctor's tests need it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import recordings as world

from self6d.doctor import doctor
from self6d.geometry import Camera

CAMERA = Camera(np.array([[280.0, 0, 160], [0, 280, 120], [0, 0, 1]]), 320, 240)


def tabletop(seed: int, side: float = 0.1) -> np.ndarray:
    """Depth (H, W), metres: a table seen at an angle and boxes standing on it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid((np.arange(320) + 0.5 - 160) / 280, (np.arange(240) + 0.5 - 120) / 280)
    depth = 0.75 / (0.8 + 0.6 * y)  # plane 0.6 y + 0.8 z = 0.75
    for _ in range(3):
        cx, cy = rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.15)
        front = 0.75 / (0.8 + 0.6 * cy) - 0.08
        inside = (np.abs(x - cx) * front < side / 2.9) & (np.abs(y - cy) * front < side / 2.9)
        depth = np.where(inside, front, depth)
    return depth


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha1(p.read_bytes()).hexdigest() for p in files}


def codes(report: doctor.DoctorReport) -> set[str]:
    return {f.code for f in report.findings if f.severity != "info"}


def recording(root: Path, unit_mm: float = 1.0, stated: float = 1.0) -> Path:
    """A tabletop recording whose depth counts `unit_mm` and says it counts `stated`."""
    cameras = {}
    for n in range(6):
        scene = root / "test" / "000001"
        world.save(scene / "rgb" / f"{n:06d}.png", world.shot(n, 240, 320).rgb)
        raw = np.round(tabletop(n) * 1000 / unit_mm).astype(np.uint16)
        world.save(scene / "depth" / f"{n:06d}.png", raw)
        cameras[str(n)] = {
            "cam_K": CAMERA.K_opencv.reshape(-1).tolist(), "depth_scale": stated,
        }  # fmt: skip
    world.dump(root / "test" / "000001" / "scene_camera.json", cameras)
    world.cube(root / "models" / "obj_000001.ply", 0.6)  # 104 mm across
    world.dump(root / "models" / "models_info.json", {"1": {"diameter": 60 * 3**0.5}})
    return root
