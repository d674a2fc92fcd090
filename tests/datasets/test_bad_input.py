"""Hostile input: a repaired load with a note, or one line naming file, fault and remedy.

Never another exception, never a change on disk.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
from hostile import LFS, read_all, survives

from self6d.datasets import load_models, open_dataset


# --- images -------------------------------------------------------------------------------------
def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


RGB, DEPTH = world.shot(1).rgb, world.shot(1).depth_mm
PNG, DEPTH_PNG = encoded(RGB), encoded(DEPTH)
H, W = DEPTH.shape

# what to put in place of a colour image: bytes, and whether it still loads
COLOUR = {
    "empty": (b"", False),
    "one byte": (b"\x89", False),
    "head only": (PNG[:40], False),
    "half": (PNG[: len(PNG) // 2], False),
    "all but the last chunk": (PNG[:-12], False),
    "all but one byte": (PNG[:-1], None),
    "zeros": (bytes(5000), False),
    "noise": (np.random.default_rng(0).bytes(5000), False),
    "text": (b"this is not an image\n" * 20, False),
    "html": (b"<!doctype html><title>404</title>", False),
    "lfs": (LFS, False),
    "corrupt middle": (PNG[:200] + bytes(50) + PNG[250:], False),
    "swapped with depth": (DEPTH_PNG, False),
    "half a jpeg": (encoded(RGB, ".jpg")[:600], False),
    "jpeg under a png name": (encoded(RGB, ".jpg"), True),
    "grey": (encoded(RGB[..., 0]), True),
    "rgba": (encoded(np.dstack([RGB, RGB[..., :1]])), True),
    "16 bit colour": (encoded(RGB.astype(np.uint16) * 257), True),
    "1 pixel": (encoded(RGB[:1, :1]), False),
    "half the size": (encoded(RGB[::2, ::2].copy()), None),
    "another shape": (encoded(RGB[:, : W // 3].copy()), False),
    "trailing bytes": (PNG + b"more", True),
}
DEPTH_CASES = {
    "empty": (b"", False),
    "half": (DEPTH_PNG[: len(DEPTH_PNG) // 2], False),
    "noise": (np.random.default_rng(1).bytes(3000), False),
    "lfs": (LFS, False),
    "swapped with colour": (PNG, False),
    "8 bit": (encoded((DEPTH // 8).astype(np.uint8)), False),
    "rgba": (encoded(np.dstack([RGB, RGB[..., :1]])), False),
    "three equal channels": (encoded(np.dstack([DEPTH] * 3)), True),
    "three unequal channels": (encoded(np.dstack([DEPTH, DEPTH, DEPTH + 1])), False),
    "all zero": (encoded(np.zeros_like(DEPTH)), True),
    "all far": (encoded(np.full_like(DEPTH, 65535)), True),
    "half the size": (encoded(DEPTH[::2, ::2].copy()), True),
    "another shape": (encoded(DEPTH[:, : W // 2].copy()), False),
    "1 pixel": (encoded(DEPTH[:1, :1]), False),
}


@pytest.mark.parametrize("layout", ["bop", "folder", "tum", "linemod_preprocessed", "ycb_video"])
@pytest.mark.parametrize("case", COLOUR)
def test_colour_image(tmp_path: Path, layout: str, case: str) -> None:
    data, loads = COLOUR[case]
    root = getattr(world, layout)(tmp_path / "data")
    next(p for p in sorted(root.rglob("*.png")) if "rgb" in p.parts or "color" in p.name
         ).write_bytes(data)  # fmt: skip
    error = survives(tmp_path, lambda: read_all(root))
    if loads is not None:
        assert (error is None) == loads, error


@pytest.mark.parametrize("layout", ["bop", "folder", "tum", "linemod_preprocessed", "ycb_video"])
@pytest.mark.parametrize("case", DEPTH_CASES)
def test_depth_image(tmp_path: Path, layout: str, case: str) -> None:
    data, loads = DEPTH_CASES[case]
    root = getattr(world, layout)(tmp_path / "data")
    images = sorted(p for p in root.rglob("*.png") if "depth" in str(p.relative_to(root)))
    images[0].write_bytes(data)
    error = survives(tmp_path, lambda: read_all(root))
    assert (error is None) == loads, error
    if error is not None:
        assert error.path == images[0]


ARRAYS = {
    "nan": (lambda d: np.full_like(d, np.nan), True),
    "inf": (lambda d: np.where(d > 0.8, np.inf, d), True),
    "negative": (lambda d: -d, True),
    "huge": (lambda d: d * 1e30, True),
    "tiny": (lambda d: d * 1e-30, True),
    "text": (lambda d: np.array([["a"]]), False),
    "objects": (lambda d: np.array([[None]], dtype=object), False),
    "complex": (lambda d: d * 1j, False),
    "one row": (lambda d: d[0], False),
    "four dimensions": (lambda d: np.stack([np.stack([d, d])] * 2), False),
    "empty": (lambda d: d[:0], False),
    "whole numbers": (lambda d: (d * 1000).astype(np.int32), True),
    "double": (lambda d: d.astype(np.float64), True),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_depth_array(tmp_path: Path, case: str) -> None:
    make, loads = ARRAYS[case]
    root = world.folder(tmp_path / "data", depth=False)
    camera = json.loads((root / "camera.json").read_text())
    del camera["depth_scale"]
    world.dump(root / "camera.json", camera)
    (root / "depth").mkdir()
    for n in range(4):
        array = (world.shot(n).depth_mm / 1000).astype(np.float32)
        np.save(root / "depth" / f"{n:04d}.npy", make(array) if n == 0 else array, True)
    error = survives(tmp_path, lambda: read_all(root))
    assert (error is None) == loads, error


def test_a_pickled_array_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    root = world.folder(tmp_path / "data", depth=False)
    (root / "depth").mkdir()
    np.save(root / "depth" / "0000.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    error = survives(tmp_path, lambda: read_all(root))
    assert error is not None
    assert not (tmp_path / "sprung").exists()


# --- cameras ------------------------------------------------------------------------------------
CAMERAS = {
    "all zero": [0] * 9,
    "singular": [1, 2, 3, 1, 2, 3, 1, 2, 3],
    "no focal length": [0, 0, 30, 0, 0, 20, 0, 0, 1],
    "negative focal length": [-60, 0, 30, 0, -60, 20, 0, 0, 1],
    "transposed": [60, 0, 0, 0, 60, 0, 30, 20, 1],
    "nan": [float("nan")] * 9,
    "inf": [float("inf"), 0, 30, 0, 60, 20, 0, 0, 1],
    "huge": [1e300] * 9,
    "eight numbers": [60, 0, 30, 0, 60, 20, 0, 0],
    "four by four": [[60, 0, 30, 0]] * 3,
    "text": "600 600 320 240",
    "texts": ["a"] * 9,
    "ragged": [[60, 0, 30], [0, 60], [0, 0, 1]],
    "nested": [[[60, 0, 30], [0, 60, 20], [0, 0, 1]]],
    "null": None,
    "object": {"fx": 60},
    "true": True,
    "a number too long": 10**400,
    "empty": [],
}
MUST_FAIL = {"all zero", "singular", "no focal length", "nan", "inf", "text", "null", "empty"}


@pytest.mark.parametrize("case", CAMERAS)
def test_bop_camera(tmp_path: Path, case: str) -> None:
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    table["2"]["cam_K"] = CAMERAS[case]
    world.dump(path, table)
    error = survives(tmp_path, lambda: read_all(root))
    assert error is not None or case not in MUST_FAIL


@pytest.mark.parametrize("case", CAMERAS)
def test_folder_camera(tmp_path: Path, case: str) -> None:
    root = world.folder(tmp_path / "data")
    world.dump(root / "camera.json", {"K": CAMERAS[case], "depth_scale": 1.0})
    error = survives(tmp_path, lambda: read_all(root))
    assert error is not None or case not in MUST_FAIL


@pytest.mark.parametrize("value", [0, -1, "x", None, [], {}, 1e400, float("nan"), True, 10**400])
def test_depth_scale_of_a_scene(tmp_path: Path, value) -> None:
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_camera.json"
    table = json.loads(path.read_text())
    table["2"]["depth_scale"] = value
    world.dump(path, table)
    error = survives(tmp_path, lambda: read_all(root))
    assert (error is None) == (value is True)


# --- tables of the wrong shape ------------------------------------------------------------------
TEXTS = {
    "empty": "",
    "space": "  \n",
    "null": "null",
    "number": "12",
    "list": "[]",
    "list of lists": "[[[1]]]",
    "text": '"hello"',
    "empty object": "{}",
    "unfinished": '{"0": {"cam_K": [1, 2',
    "list entries": '{"0": [1, 2, 3]}',
    "null entries": '{"0": null}',
    "text key": '{"zero": {"cam_K": [60, 0, 30, 0, 60, 20, 0, 0, 1]}}',
    "negative key": '{"-1": {"cam_K": [60, 0, 30, 0, 60, 20, 0, 0, 1]}}',
    "deep": "[" * 100_000,
    "huge number": '{"0": {"cam_K": [1' + "0" * 5000 + "]}}",
    "not utf-8": b"\xff\xfe{\x00}\x00",
    "binary": bytes(range(256)),
    "lfs": LFS,
    "nan": '{"0": NaN}',
}
TABLES = (
    "scene_camera.json", "scene_gt.json", "scene_gt_info.json", "../../splits.json",
    "../../test_targets_bop19.json", "../../models/models_info.json",
)  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("case", TEXTS)
def test_table(tmp_path: Path, name: str, case: str) -> None:
    root = world.bop(tmp_path / "data")
    content = TEXTS[case]
    path = root / "test" / "000001" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    survives(tmp_path, lambda: read_all(root))
    survives(tmp_path, lambda: load_models(root / "models"))


@pytest.mark.parametrize("name", ["gt.yml", "info.yml"])
@pytest.mark.parametrize("case", TEXTS)
def test_yaml_table(tmp_path: Path, name: str, case: str) -> None:
    root = world.linemod_preprocessed(tmp_path / "data")
    content = TEXTS[case]
    (root / "data" / "01" / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    survives(tmp_path, lambda: read_all(root))


LABELS = {
    "non-unit rotation": {"cam_R_m2c": [2, 0, 0, 0, 2, 0, 0, 0, 2]},
    "mirrored": {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, -1]},
    "zero rotation": {"cam_R_m2c": [0] * 9},
    "nan rotation": {"cam_R_m2c": [float("nan")] * 9},
    "huge rotation": {"cam_R_m2c": [1e308] * 9},
    "short rotation": {"cam_R_m2c": [1, 0, 0]},
    "text rotation": {"cam_R_m2c": "identity"},
    "no rotation": {"cam_R_m2c": None},
    "nan translation": {"cam_t_m2c": [float("nan"), 0, 1]},
    "inf translation": {"cam_t_m2c": [float("inf"), 0, 1]},
    "short translation": {"cam_t_m2c": [1, 2]},
    "text object": {"obj_id": "ape"},
    "no object": {"obj_id": None},
    "huge object": {"obj_id": float("inf")},
}


@pytest.mark.parametrize("case", LABELS)
def test_label(tmp_path: Path, case: str) -> None:
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_gt.json"
    table = json.loads(path.read_text())
    table["1"][0].update(LABELS[case])
    world.dump(path, table)
    error = survives(tmp_path, lambda: read_all(root))
    assert error is not None
    assert error.path == path


def test_slightly_rounded_rotations_are_mended(tmp_path: Path) -> None:
    root = world.bop(tmp_path / "data")
    path = root / "test" / "000001" / "scene_gt.json"
    table = json.loads(path.read_text())
    R = np.round(np.array(table["0"][0]["cam_R_m2c"]), 3)
    table["0"][0]["cam_R_m2c"] = R.tolist()
    world.dump(path, table)
    R = open_dataset(root).truth(0)[0].pose.R_m2c
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
