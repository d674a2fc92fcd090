"""A small BOP set, named and numbered as T-LESS is, and a results file for it.

Two images that count and one that does not. Object 1 is a box whose file doubles its vertices,
object 2 one that looks the same turned by half, object 3 a cylinder about an axis beside its
origin. Three instances of object 1 in image 0, of which two count; an estimate too many, a poor
one, one turned by the symmetry, one of an object that is not there, and two instances that nobody
found.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT = 720, 540
K = [900.0, 0, 350, 0, 905, 260, 0, 0, 1]
BOXES = {1: (90.0, 60.0, 40.0), 2: (50.0, 50.0, 110.0)}
RADIUS, LENGTH, SIDES, BESIDE = 35.0, 80.0, 48, 5.0


def bop_case(root: Path) -> Path:
    """Write the set to ROOT/tless and the results to ROOT/noisy_tless-test.csv."""
    base = root / "tless"
    infos = {}
    for folder, parts in (("models", 1), ("models_eval", 3)):
        (base / folder).mkdir(parents=True)
        for number in (1, 2, 3):
            vertices, faces = _cylinder() if number == 3 else _box(BOXES[number], parts)
            _ply(base / folder / f"obj_{number:06d}.ply", vertices, faces)
            infos[number] = {"diameter": float(np.linalg.norm(BOXES.get(number, (70, 80, 0))))}
        infos[2]["symmetries_discrete"] = [np.diag([-1.0, -1, 1, 1]).ravel().tolist()]
        axis = {"axis": [0, 0, 1], "offset": [BESIDE, 0, 0]}
        infos[3]["symmetries_continuous"] = [axis]
        _dump(base / folder / "models_info.json", infos)
    scene = base / "test_primesense" / "000001"
    for folder in ("rgb", "depth"):
        (scene / folder).mkdir(parents=True)
    truth, fractions = _truth()
    for image in truth:
        cv2.imwrite(str(scene / "rgb" / f"{image:06d}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        cv2.imwrite(str(scene / "depth" / f"{image:06d}.png"), _depth(image))
    _dump(scene / "scene_camera.json", {i: {"cam_K": K, "depth_scale": 0.1} for i in truth})
    _dump(scene / "scene_gt.json", {i: [_label(*t) for t in ts] for i, ts in truth.items()})
    seen = {i: [{"visib_fract": f} for f in fs] for i, fs in fractions.items()}
    _dump(scene / "scene_gt_info.json", seen)
    counts = [(0, 1, 2), (0, 2, 1), (1, 2, 2), (1, 3, 1)]
    targets = [{"scene_id": 1, "im_id": i, "obj_id": o, "inst_count": n} for i, o, n in counts]
    (base / "test_targets_bop19.json").write_text(json.dumps(targets))
    lines = ["scene_id,im_id,obj_id,score,R,t,time"]
    for image, number, score, R, t in _estimates(truth):
        cells = [" ".join(map(repr, np.asarray(a, float).ravel().tolist())) for a in (R, t)]
        lines.append(f"1,{image},{number},{score},{cells[0]},{cells[1]},{0.1 + 0.2 * image}")
    (root / "noisy_tless-test.csv").write_text("\n".join(lines) + "\n")
    return base


def _turned(*degrees: float) -> np.ndarray:
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def _truth() -> tuple[dict[int, list], dict[int, list[float]]]:
    """By image: (object, R, t in mm), and the visible shares."""
    return {
        0: [
            (1, _turned(20, 30, 5), [-150.0, -60, 800]),
            (1, _turned(-70, 10, 140), [160.0, 70, 900]),
            (1, _turned(100, 45, -20), [-120.0, 120, 950]),
            (2, _turned(-60, 25, 70), [60.0, -90, 700]),
        ],
        1: [
            (2, _turned(35, -15, 10), [-180.0, 40, 850]),
            (2, _turned(80, 5, 60), [120.0, -110, 800]),
            (3, _turned(-50, 40, 0), [30.0, 90, 750]),
        ],
        2: [(1, _turned(0, 20, 0), [0.0, 0, 800])],
    }, {0: [0.31, 0.9, 0.2, 1.0], 1: [0.8, 1.0, 0.9], 2: [1.0]}


def _estimates(truth: dict[int, list]) -> list[tuple]:
    """(image, object, score, R, t in mm)."""

    def near(image: int, which: int, degrees: tuple, shift: tuple, S=None) -> tuple:
        _, R, t = truth[image][which]
        S = np.eye(4) if S is None else S
        return _turned(*degrees) @ R @ S[:3, :3], t + R @ S[:3, 3] + shift

    flip = np.diag([-1.0, -1, 1, 1])
    spin = np.eye(4)
    spin[:3, :3] = _turned(0, 0, 77.3)
    spin[:3, 3] = [BESIDE, 0, 0] - spin[:3, :3] @ [BESIDE, 0, 0]
    return [
        (0, 1, 0.9, *near(0, 1, (2, -3, 1), (3, -2, 9))),
        (0, 1, 0.8, *near(0, 0, (9, 4, -7), (-8, 5, 30))),
        (0, 1, 0.7, *near(0, 0, (0, 0, 0), (0, 0, 0))),  # right, and one too many
        (0, 1, 0.6, *near(0, 2, (0, 0, 0), (0, 0, 0))),
        (0, 2, 0.4, *near(0, 3, (1, 2, -2), (2, 1, -6), flip)),
        (1, 2, 0.5, *near(1, 1, (-5, 3, 6), (4, 4, 14))),
        (1, 3, 0.3, *near(1, 2, (2, 1, 1), (-3, 2, 8), spin)),
        (1, 1, 0.95, *near(1, 2, (0, 0, 0), (0, 0, 0))),  # of an object that is not there
        (2, 1, 0.9, *near(2, 0, (0, 0, 0), (0, 0, 0))),  # in an image that does not count
    ]


def _depth(image: int) -> np.ndarray:
    """A wall at 1.2 m, something before it, and a stripe where nothing was measured; 0.1 mm."""
    depth = np.full((HEIGHT, WIDTH), 12000, np.uint16)
    depth[100:300, 120:170] = 4000
    depth[:, 500 + 20 * image : 530 + 20 * image] = 0
    return depth


def _box(size: tuple[float, float, float], parts: int) -> tuple[np.ndarray, np.ndarray]:
    """A box, each side a grid of `parts` by `parts` with vertices of its own."""
    ticks = np.linspace(-0.5, 0.5, parts + 1)
    u, v = (a.ravel() for a in np.meshgrid(ticks, ticks, indexing="ij"))
    vertices, faces = [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            start = sum(map(len, vertices))
            grid = np.insert(np.stack((u, v), 1), axis, side, axis=1)
            vertices.append(grid * size)
            for i in range(parts):
                for j in range(parts):
                    a = start + i * (parts + 1) + j
                    b = a + parts + 1
                    faces += [(a, b, b + 1), (a, b + 1, a + 1)]
    return np.concatenate(vertices), np.array(faces)


def _cylinder() -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = np.stack((BESIDE + RADIUS * np.cos(angle), RADIUS * np.sin(angle)), 1)
    rings = [np.insert(ring, 2, z, axis=1) for z in (-LENGTH / 2, LENGTH / 2)]
    ends = [[[BESIDE, 0, -LENGTH / 2]], [[BESIDE, 0, LENGTH / 2]]]
    faces = []
    for i in range(SIDES):
        j = (i + 1) % SIDES
        faces += [(i, j, SIDES + j), (i, SIDES + j, SIDES + i)]
        faces += [(2 * SIDES, j, i), (2 * SIDES + 1, SIDES + i, SIDES + j)]
    return np.concatenate([*rings, *ends]), np.array(faces)


def _ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """ASCII; a last vertex that no face uses."""
    rows = [" ".join(map(repr, v.tolist())) for v in np.float32([*vertices, [1.0, 2, 3]])]
    rows += [f"3 {a} {b} {c}" for a, b, c in faces]
    axes = "\n".join(f"property float {a}" for a in "xyz")
    head = f"ply\nformat ascii 1.0\nelement vertex {len(vertices) + 1}\n{axes}\n"
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_text(head + "\n".join(rows) + "\n")


def _label(number: int, R: np.ndarray, t: list[float]) -> dict:
    return {"obj_id": number, "cam_R_m2c": R.ravel().tolist(), "cam_t_m2c": t}


def _dump(path: Path, table: dict) -> None:
    path.write_text(json.dumps(table))
