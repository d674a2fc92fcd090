"""A small world of known frames, written in the true layout of each dataset."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64
K = np.array([[60.5, 0, 31.25], [0, 61.5, 23.75], [0, 0, 1.0]])


@dataclass(frozen=True)
class Shot:
    """rgb (H, W, 3) uint8, depth_mm (H, W) uint16, R (3, 3), t_mm (3,), mask (H, W) bool."""

    rgb: np.ndarray
    depth_mm: np.ndarray
    R: np.ndarray
    t_mm: np.ndarray
    mask: np.ndarray


def shot(number: int, height: int = HEIGHT, width: int = WIDTH) -> Shot:
    """Frame `number` of the world; smooth, so that JPEG keeps it nearly."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(20, 235, (6, 8, 3)).astype(np.uint8)
    rgb = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    depth = (700 + 3 * x + 2 * y + 10 * number).astype(np.uint16)
    depth[:3] = 0
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    R = q * np.sign(np.diag(r))
    R[:, 0] *= np.sign(np.linalg.det(R))
    mask = (x > 20) & (x < 40) & (y > 10) & (y < 30)
    return Shot(rgb, depth, R, np.array([10.0 * number, -20.0, 800.0 + number]), mask)


def save(path: Path, image: np.ndarray, *options: int) -> None:
    """Write an RGB, grey or depth image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(path.suffix, image, list(options))
    assert ok
    path.write_bytes(data.tobytes())


def dump(path: Path, value) -> Path:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def label(s: Shot, object_id: int = 1) -> dict:
    """BOP's label of a shot."""
    return {
        "cam_R_m2c": s.R.reshape(-1).tolist(),
        "cam_t_m2c": s.t_mm.tolist(),
        "obj_id": object_id,
    }


def bop_scene(folder: Path, numbers=range(4), *, object_id: int = 1, rgb: str = "rgb") -> Path:
    """One BOP scene with everything in it."""
    camera, truth, info = {}, {}, {}
    for n in numbers:
        s = shot(n)
        save(folder / rgb / f"{n:06d}.png", s.rgb if rgb == "rgb" else s.rgb[..., 0])
        save(folder / "depth" / f"{n:06d}.png", s.depth_mm)
        save(folder / "mask_visib" / f"{n:06d}_000000.png", s.mask.astype(np.uint8) * 255)
        camera[str(n)] = {"cam_K": K.reshape(-1).tolist(), "depth_scale": 1.0}
        truth[str(n)] = [label(s, object_id)]
        info[str(n)] = [{"bbox_visib": [21, 11, 18, 18], "visib_fract": 0.75}]
    dump(folder / "scene_camera.json", camera)
    dump(folder / "scene_gt.json", truth)
    dump(folder / "scene_gt_info.json", info)
    return folder


def bop(root: Path, numbers=range(4)) -> Path:
    """A BOP dataset of one scene, with a model."""
    bop_scene(root / "test" / "000001", numbers)
    cube(root / "models" / "obj_000001.ply")
    dump(root / "models" / "models_info.json", {"1": {"diameter": 50 * 3**0.5 * 2}})
    return root


def folder(root: Path, numbers=range(4), *, depth: bool = True) -> Path:
    """A plain RGB-D folder, depth in mm."""
    for n in numbers:
        s = shot(n)
        save(root / "rgb" / f"{n:04d}.png", s.rgb)
        if depth:
            save(root / "depth" / f"{n:04d}.png", s.depth_mm)
    camera = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    dump(root / "camera.json", camera | {"width": WIDTH, "height": HEIGHT, "depth_scale": 1.0})
    return root


def tum(root: Path, numbers=range(4)) -> Path:
    """A TUM RGB-D sequence: time stamps, depth 7 ms later, in 1/5000 m."""
    rgb, depth = ["# color images"], ["# depth maps"]
    for n in numbers:
        s, t = shot(n), 1305031102.175304 + n / 30
        save(root / "rgb" / f"{t:.6f}.png", s.rgb)
        save(root / "depth" / f"{t + 0.007:.6f}.png", (s.depth_mm * 5).astype(np.uint16))
        rgb.append(f"{t:.6f} rgb/{t:.6f}.png")
        depth.append(f"{t + 0.007:.6f} depth/{t + 0.007:.6f}.png")
    (root / "rgb.txt").write_text("\n".join(rgb))
    (root / "depth.txt").write_text("\n".join(depth))
    (root / "K.txt").write_text("\n".join(" ".join(map(str, row)) for row in K))
    return root


def linemod(root: Path, numbers=range(4), name: str = "driller") -> Path:
    """LineMOD's own layout: 640x480, .dpt depth, .rot and .tra labels (tra in cm)."""
    data = root / name / "data"
    data.mkdir(parents=True)
    for n in numbers:
        s = shot(n, 480, 640)
        save(data / f"color{n}.jpg", s.rgb, cv2.IMWRITE_JPEG_QUALITY, 98)
        head = np.array(s.depth_mm.shape, "<i4").tobytes()
        (data / f"depth{n}.dpt").write_bytes(head + s.depth_mm.astype("<u2").tobytes())
        rows = "\n".join(" ".join(f"{v:.10f}" for v in row) for row in s.R)
        (data / f"rot{n}.rot").write_text(f"3 3\n{rows}\n")
        (data / f"tra{n}.tra").write_text("1 3\n" + "\n".join(f"{v / 10:.10f}" for v in s.t_mm))
    cube(root / name / "mesh.ply")
    (root / name / "distance.txt").write_text(f"{50 * 3**0.5 * 2 / 10}\n")
    return root


def linemod_preprocessed(root: Path, numbers=range(4), object_id: int = 1) -> Path:
    """DenseFusion's layout: gt.yml and info.yml, written the way that set is."""
    home = root / "data" / f"{object_id:02d}"
    gt, info = [], []
    for n in numbers:
        s = shot(n)
        save(home / "rgb" / f"{n:04d}.png", s.rgb)
        save(home / "depth" / f"{n:04d}.png", s.depth_mm)
        save(home / "mask" / f"{n:04d}.png", np.dstack([s.mask.astype(np.uint8) * 255] * 3))
        numbers_R = ", ".join(f"{v:.10f}" for v in s.R.reshape(-1))
        numbers_t = ", ".join(f"{v:.10f}" for v in s.t_mm)
        gt += [
            f"{n}:",
            f"- cam_R_m2c: [{numbers_R}]",
            f"  cam_t_m2c: [{numbers_t}]",
            "  obj_bb: [21, 11, 19, 19]",
            f"  obj_id: {object_id}",
        ]
        numbers_K = ", ".join(str(v) for v in K.reshape(-1))
        info += [f"{n}:", f"  cam_K: [{numbers_K}]", "  depth_scale: 1.0"]
    (home / "gt.yml").write_text("\n".join(gt) + "\n")
    (home / "info.yml").write_text("\n".join(info) + "\n")
    (home / "train.txt").write_text("0000\n0002")
    (home / "test.txt").write_text("0001\n0003")
    cube(root / "models" / "obj_01.ply")
    return root


def ycb_video(root: Path, numbers=range(1, 5)) -> Path:
    """YCB-Video's own layout, with meta.mat and depth in 1/10000 m."""
    from scipy.io import savemat

    home = root / "data" / "0048"
    for n in numbers:
        s = shot(n)
        stem = home / f"{n:06d}"
        save(stem.with_name(f"{n:06d}-color.png"), s.rgb)
        save(stem.with_name(f"{n:06d}-depth.png"), (s.depth_mm * 10).astype(np.uint16))
        save(stem.with_name(f"{n:06d}-label.png"), s.mask.astype(np.uint8) * 5)
        pose = np.concatenate((s.R, s.t_mm[:, None] / 1000), axis=1)
        savemat(
            stem.with_name(f"{n:06d}-meta.mat"),
            {
                "cls_indexes": np.array([[5]], np.uint8),
                "factor_depth": np.array([[10000]], np.uint16),
                "intrinsic_matrix": K,
                "poses": pose[:, :, None],
                "vertmap": np.zeros((HEIGHT, WIDTH, 3), np.float32),
            },
            do_compression=True,
        )
        stem.with_name(f"{n:06d}-box.txt").write_text(
            "006_mustard_bottle 21.00 11.00 40.00 30.00\n"
        )
    (root / "image_sets").mkdir()
    (root / "image_sets" / "keyframe.txt").write_text("0048/000001\n0048/000003\n0059/000001\n")
    return root


def happypose(root: Path) -> Path:
    """happypose's example layout."""
    s = shot(0)
    save(root / "image_rgb.png", s.rgb)
    save(root / "image_depth.png", s.depth_mm)
    dump(root / "camera_data.json", {"K": K.tolist(), "resolution": [HEIGHT, WIDTH]})
    dump(root / "object_data.json", [{"label": "hope-obj_000002", "bbox_modal": [21, 11, 40, 30]}])
    dump(root / "outputs" / "object_data.json",
         [{"label": "hope-obj_000002", "TWO": [[0, 0, 1, 0], [0.1, 0.0, 0.5]]}])  # fmt: skip
    cube(root / "meshes" / "hope-obj_000002.ply")
    return root


def single(root: Path) -> Path:
    """One image, depth, camera and BOP labels in plainly named files."""
    s = shot(0)
    save(root / "rgb.png", s.rgb)
    save(root / "depth.png", s.depth_mm)
    dump(root / "camera.json", {"cam_K": K.reshape(-1).tolist(), "depth_scale": 1.0})
    dump(root / "scene_gt.json", [label(s)])
    return root


CUBE = np.array([[x, y, z] for x in (-50, 50) for y in (-50, 50) for z in (-50, 50)], float)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def cube(
    path: Path, scale: float = 1.0, vertices: np.ndarray = CUBE, faces: np.ndarray = CUBE_FACES
) -> Path:
    """A coloured cube of 100 mm (times `scale`) as ASCII PLY."""
    colors = (vertices > 0).astype(int) * 200 + 20
    head = [
        "ply", "format ascii 1.0", f"element vertex {len(vertices)}",
        "property float x", "property float y", "property float z",
        "property uchar red", "property uchar green", "property uchar blue",
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    rows = [" ".join(map(str, [*v, *c])) for v, c in zip(vertices * scale, colors, strict=True)]
    rows += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(head + rows) + "\n")
    return path
