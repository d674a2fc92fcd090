"""The sample written as a plain recording in other people's ways; see `write`."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from self6d.datasets import open_dataset
from self6d.files import forget_notes
from self6d.sample.sample import make_sample


@dataclass(frozen=True)
class Shots:
    """Frames of the sample: rgb (N, H, W, 3) uint8, depth_mm (N, H, W) uint16, K of OpenCV."""

    rgb: np.ndarray
    depth_mm: np.ndarray
    K: np.ndarray
    models: Path

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[1:3]


def sample_shots(folder: Path, count: int = 3, size: tuple[int, int] = (96, 128)) -> Shots:
    """Some frames of a sample made in `folder`."""
    return shots_of(make_sample(folder / "sample", 7, count, 1, size), count)


def shots_of(sample: Path, count: int = 3) -> Shots:
    """The first frames of a sample."""
    dataset = open_dataset(sample)
    frames = [dataset.frame(i) for i in range(count)]
    depth = np.stack([np.round(f.depth_m * 1000).astype(np.uint16) for f in frames])
    # smooth, so that resampling and JPEG keep it nearly
    rgb = np.stack([cv2.GaussianBlur(f.rgb, (0, 0), 2.0) for f in frames])
    return Shots(rgb, depth, frames[0].camera.K_opencv, sample / "models")


@dataclass
class Way:
    """A way of writing a recording.

    Attributes:
        rgb_folder, depth_folder: where images go. rgb_names, depth_names: their stems.
        suffix: of colour; ".jpg" or ".png". bits: of colour values, stored in 16 if not 8.
        extra: "grey", "alpha" or "". exif: orientation that the JPEG states. tail: bytes after it.
        depth_suffix: ".png" or ".npy". unit_mm: of depth. hole: value of unknown depth.
        half_depth: every other pixel alone.
        camera: name of the camera file -> its text. distortion, model: the images are bent so.
    """

    rgb_names: Sequence[str]
    depth_names: Sequence[str]
    camera: dict[str, str]
    rgb_folder: str = "rgb"
    depth_folder: str = "depth"
    suffix: str = ".png"
    bits: int = 8
    extra: str = ""
    exif: int = 1
    tail: int = 0
    depth_suffix: str = ".png"
    unit_mm: float = 1.0
    hole: float = 0
    half_depth: bool = False
    distortion: Sequence[float] = ()
    model: str = ""
    macos: bool = False
    written: list[Path] = field(default_factory=list)


# what a viewer does to the stored image; stored = the inverse
_STORED = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1),
}  # fmt: skip


def write(root: Path, shots: Shots, way: Way) -> Path:
    """Write shots in a way; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for i, (name, depth_name) in enumerate(zip(way.rgb_names, way.depth_names, strict=True)):
        rgb, depth = shots.rgb[i], shots.depth_mm[i].astype(np.float64)
        if len(way.distortion):
            rgb, depth = bend(rgb, depth, shots.K, way.distortion, way.model)
        if way.half_depth:
            depth = depth[::2, ::2]
        _put(root / way.rgb_folder / f"{name}{way.suffix}", colour_file(rgb, way))
        _put(root / way.depth_folder / f"{depth_name}{way.depth_suffix}", depth_file(depth, way))
    if way.macos:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + b"\0" * 60)
    for name, text in way.camera.items():
        _put(root / name, text.encode())
        if way.macos:
            _put(root / f"._{name}", b"\0\5\x16\7\0\2\0\0Mac OS X")
    return root


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def colour_file(rgb: np.ndarray, way: Way) -> bytes:
    """An image file of (H, W, 3) uint8."""
    image = np.ascontiguousarray(_STORED[way.exif](rgb))
    if way.suffix == ".jpg":
        exif = Image.Exif()
        exif[0x0112] = way.exif
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=98, subsampling=0, exif=exif)
        return out.getvalue() + bytes(range(256)) * (way.tail // 256)
    stored = image[..., ::-1]
    if way.extra == "grey":
        stored = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if way.extra == "alpha":
        stored = np.dstack((stored, np.full(image.shape[:2], 255, np.uint8)))
    if way.bits > 8:
        stored = (stored.astype(np.uint32) * ((1 << way.bits) - 1) // 255).astype(np.uint16)
    ok, data = cv2.imencode(".png", np.ascontiguousarray(stored))
    assert ok
    return data.tobytes()


def depth_file(depth_mm: np.ndarray, way: Way) -> bytes:
    """A depth file of (H, W) millimetres, 0 unknown."""
    raw = depth_mm / way.unit_mm
    if way.depth_suffix == ".npy":
        values = np.where(raw > 0, raw, way.hole).astype(np.float32)
        out = io.BytesIO()
        np.save(out, values)
        return out.getvalue()
    values = np.where(raw > 0, np.round(raw), way.hole).astype(np.uint16)
    ok, data = cv2.imencode(".png", values)
    assert ok
    return data.tobytes()


def bend(
    rgb: np.ndarray, depth: np.ndarray, K: np.ndarray, D: Sequence[float], model: str
) -> tuple[np.ndarray, np.ndarray]:
    """What a lens of this distortion shows of pinhole images: the inverse of undoing it."""
    h, w = depth.shape
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 1, 2).astype(float)
    if model == "fisheye":
        found = cv2.fisheye.undistortPoints(grid, K, np.array(D, float), P=K)
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        found = cv2.undistortPoints(grid, K, np.array(D, float), R=None, P=K, criteria=criteria)
    x, y = found.reshape(h, w, 2).astype(np.float32).transpose(2, 0, 1)
    if model == "inverse":  # the polynomial leads from the image to the pinhole
        x, y = cv2.initUndistortRectifyMap(K, np.array(D, float), None, K, (w, h), cv2.CV_32FC1)
    bent = cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return bent, cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderValue=0)


def camera_table(shots: Shots, **more: object) -> str:
    """The plainest camera.json."""
    K, (h, w) = shots.K, shots.size
    table = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "width": w, "height": h}
    return json.dumps({**table, "depth_scale": 1.0, **more})


NAMES = ("000220", "000222", "000224")


def plain(shots: Shots, **changes: object) -> Way:
    way = {"rgb_names": NAMES, "depth_names": NAMES, "camera": {"camera.json": camera_table(shots)}}
    return Way(**{**way, **changes})  # type: ignore[arg-type]


def read(root: Path, caplog: pytest.LogCaptureFixture):
    """Every frame, and all notes as one text."""
    forget_notes()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "self6d"):
        dataset = open_dataset(root)
        frames = [dataset.frame(i) for i in range(len(dataset))]
    return frames, caplog.text


def same(frames: list, shots: Shots, *, colour: float = 1.0, depth_mm: float = 0.6) -> None:
    """Colours, metres and K are those of the shots."""
    assert len(frames) == len(shots.rgb)
    for frame, rgb, depth in zip(frames, shots.rgb, shots.depth_mm, strict=True):
        assert np.abs(frame.rgb.astype(float) - rgb).mean() <= colour
        np.testing.assert_allclose(frame.depth_m * 1000, depth, atol=depth_mm)
        np.testing.assert_allclose(frame.camera.K_opencv, shots.K, atol=1e-6)
