"""Write a recording as a BOP dataset: the way from any layout here to BOP's tools."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.bop import BopRecording
from self6d.datasets.recording import Recording
from self6d.errors import InputError, StorageError
from self6d.scene import Frame, GroundTruth

_FINE_MM, _COARSE_MM = 0.1, 1.0  # depth units; the finer where 16 bits hold the range


def write_bop(
    dataset: Recording,
    out: str | Path,
    *,
    split: str = "test",
    models: str | Path | None = None,
) -> Path:
    """Write a recording as OUT/SPLIT/SCENE/..., with its splits and models.

    A BOP recording is copied: image files byte for byte, labels as they stand. Any other is
    encoded: PNG, depth in 0.1 mm where 16 bits hold it, labels from its truth.

    Args:
        dataset: from `open_dataset`; a subset writes only its frames.
        out: folder to make.
        models: folder copied to OUT/models; the recording's own by default.

    Returns:
        `out`.

    Raises:
        InputError: `out` exists and is not empty.
        StorageError: it cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("exists and is not empty", path=out, remedy="Name a new folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            _write(dataset, partial, split, Path(models) if models else dataset.models_path)
            partial.chmod(0o755)  # mkdtemp makes it private
            partial.replace(out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})",
            path=out,
            remedy="Free space or name another folder.",
        ) from None
    return out


def _write(dataset: Recording, root: Path, split: str, models: Path | None) -> None:
    scenes: dict[int, list[int]] = {}
    for index, key in enumerate(dataset.keys):
        scenes.setdefault(key.scene_id, []).append(index)
    for scene_id, indices in scenes.items():
        _write_scene(dataset, indices, root / split / f"{scene_id:06d}")
    present = set(dataset.keys)
    splits: dict[str, Any] = {}
    for name in dataset.split_names():
        keys = [k for k in dataset.split_keys(name) if k in present]
        if keys:
            splits[name] = _by_scene(keys)
    if splits:
        _dump(root / "splits.json", splits)
    if models is not None and models.is_dir():
        shutil.copytree(models, root / "models")


def _by_scene(keys: Sequence[FrameKey]) -> dict[str, list[int]]:
    table: dict[str, list[int]] = {}
    for key in keys:
        table.setdefault(str(key.scene_id), []).append(key.image_id)
    return table


def _write_scene(dataset: Recording, indices: Sequence[int], folder: Path) -> None:
    cameras: dict[str, Any] = {}
    labels: dict[str, list] = {}
    infos: dict[str, list] = {}
    for index in indices:
        key = dataset.keys[index]
        image = str(key.image_id)
        if isinstance(dataset, BopRecording):
            cameras[image] = _copy_images(dataset, key, folder)
            entries, extra = dataset.label_entries(key)
            _copy_masks(dataset, key, folder, len(entries))
        else:
            frame = dataset.frame(index)
            cameras[image] = _encode_images(frame, folder)
            entries, extra = _encode_labels(dataset.truth(index), frame, folder)
        if entries:
            labels[image] = entries
        if extra:
            infos[image] = extra
    _dump(folder / "scene_camera.json", cameras)
    if labels:
        _dump(folder / "scene_gt.json", labels)
    if infos:
        _dump(folder / "scene_gt_info.json", infos)


def _copy_images(dataset: BopRecording, key: FrameKey, folder: Path) -> dict[str, Any]:
    source = dataset.source(key)
    for path in (source.rgb, source.depth):
        if path is not None:
            target = folder / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return dataset.camera_entry(key)


def _copy_masks(dataset: BopRecording, key: FrameKey, folder: Path, count: int) -> None:
    scene = dataset.scene_folder(key.scene_id)
    for name in ("mask", "mask_visib"):
        for number in range(count):
            path = scene / name / f"{key.image_id:06d}_{number:06d}.png"
            if path.is_file():
                (folder / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name / path.name)


def _encode_images(frame: Frame, folder: Path) -> dict[str, Any]:
    name = f"{frame.image_id:06d}.png"
    _save_png(folder / "rgb" / name, cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
    entry: dict[str, Any] = {"cam_K": [float(v) for v in frame.camera.K_opencv.reshape(-1)]}
    if frame.depth_m is not None:
        far = float(frame.depth_m.max(initial=0)) * 1000
        unit = _FINE_MM if far / _FINE_MM < 65535 else _COARSE_MM
        raw = np.round(frame.depth_m.astype(np.float64) * 1000 / unit).clip(0, 65535)
        _save_png(folder / "depth" / name, raw.astype(np.uint16))
        entry["depth_scale"] = unit
    return entry


def _encode_labels(
    truth: Sequence[GroundTruth], frame: Frame, folder: Path
) -> tuple[list[dict], list[dict]]:
    entries, infos = [], []
    for number, instance in enumerate(truth):
        entries.append(
            {
                "cam_R_m2c": [float(v) for v in instance.pose.R_m2c.reshape(-1)],
                "cam_t_m2c": [float(v) * 1000 for v in instance.pose.t_m2c],
                "obj_id": instance.object_id,
            }
        )
        info: dict[str, Any] = {}
        if instance.box_visible is not None:
            x0, y0, x1, y1 = (float(v) for v in instance.box_visible)
            info["bbox_visib"] = [x0, y0, x1 - x0, y1 - y0]
        if instance.visible_fraction is not None:
            info["visib_fract"] = float(instance.visible_fraction)
        if instance.mask_visible is not None:
            info["px_count_visib"] = int(instance.mask_visible.sum())
            path = folder / "mask_visib" / f"{frame.image_id:06d}_{number:06d}.png"
            _save_png(path, instance.mask_visible.astype(np.uint8) * 255)
        infos.append(info)
    return entries, infos if any(infos) else []


def _save_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise InputError("image cannot be encoded as PNG", path=path)
    path.write_bytes(data.tobytes())


def _dump(path: Path, table: dict[str, Any]) -> None:
    """One line an image, as BOP writes its files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in table.items()]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
