"""Write a recording as a BOP dataset: the way from any layout here to BOP's tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.datasets.base import FrameKey
from self6d.datasets.labels import box_for_bop
from self6d.datasets.readers.bop import BopRecording
from self6d.datasets.recording import Recording
from self6d.errors import InputError, StorageError
from self6d.files import check_free, note, read_json
from self6d.scene import Frame, GroundTruth, ObjectModel, Symmetry
from self6d.scene.models_copy import save_models
from self6d.storage import whole_folder

_FINE_MM, _COARSE_MM = 0.1, 1.0  # depth units; the finer where 16 bits hold the range


@dataclass(frozen=True)
class Corrections:
    """What to change on the way.

    Attributes:
        depth_factor: depth is this many times what it was read as.
        k_factor: fx, fy, cx, cy are this many times what they were.
        skip: (scene number, image number) of frames to leave out.
        symmetries: object number -> symmetry to state in models_info.json, metres.
        encode: encode images anew, as the reader mended them, instead of copying their files.
    """

    depth_factor: float = 1.0
    k_factor: float = 1.0
    skip: frozenset[tuple[int, int]] = frozenset()
    symmetries: Mapping[int, Symmetry] = field(default_factory=dict)
    encode: bool = False


_NONE = Corrections()


@dataclass(frozen=True)
class FrameLabels:
    """What a frame is labelled with instead of its recording's truth.

    Attributes:
        entries: of scene_gt.json. infos: of scene_gt_info.json, one each.
        masks: name of a folder, such as "mask_visib" -> (H, W) bool, one each.
    """

    entries: list[dict[str, Any]]
    infos: list[dict[str, Any]]
    masks: Mapping[str, Sequence[np.ndarray]]


Labeller = Callable[[Frame], FrameLabels]


def write_bop(
    dataset: Recording,
    out: str | Path,
    *,
    split: str = "test",
    models: str | Path | Sequence[ObjectModel] | None = None,
    corrections: Corrections = _NONE,
    labels: Labeller | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a recording as OUT/SPLIT/SCENE/..., with its splits and models.

    A BOP recording is copied: image files byte for byte, labels and targets files as they stand
    (targets of frames left out are dropped), models_eval too. Any other is encoded: PNG, depth in
    0.1 mm where 16 bits hold it, labels from its truth.

    Args:
        dataset: from `open_dataset`; a subset writes only its frames.
        out: folder to make.
        models: folder copied to OUT/models, or models written there in millimetres; the
            recording's own folder by default.
        corrections: what to change on the way.
        labels: labels each frame anew; the recording's own, its targets files among them, are then
            not looked at.
        on_frame: told the number of frames written and of all.

    Returns:
        `out`.

    Raises:
        InputError: `out` exists and is not empty, or no frame can be written.
        StorageError: it cannot be written.
    """
    out = Path(out)
    check_free(out)
    try:
        with whole_folder(out) as partial:
            job = _Job(dataset, corrections, labels, on_frame)
            given = Path(models) if isinstance(models, str) else models
            job.write(partial, split, given or dataset.models_path)
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})",
            path=out,
            remedy="Free space or name another folder.",
        ) from None
    return out


class _Job:
    """One recording on its way to a folder."""

    def __init__(
        self,
        dataset: Recording,
        corrections: Corrections,
        labels: Labeller | None,
        on_frame: Callable[[int, int], None] | None,
    ) -> None:
        self.dataset = dataset
        self.corrections = corrections
        self.labels = labels
        self.on_frame = on_frame
        self.written: set[FrameKey] = set()

    def write(self, root: Path, split: str, models: Path | Sequence[ObjectModel] | None) -> None:
        dataset = self.dataset
        scenes: dict[int, list[int]] = {}
        for index, key in enumerate(dataset.keys):
            if (key.scene_id, key.image_id) not in self.corrections.skip:
                scenes.setdefault(key.scene_id, []).append(index)
        for scene_id, indices in scenes.items():
            self._write_scene(indices, root / split / f"{scene_id:06d}")
        if not self.written:
            raise InputError(
                "no frame can be written, so no copy was made",
                path=dataset.root,
                remedy="Mend what the doctor says of its frames first.",
            )
        splits = {}
        targets = dataset.target_files if isinstance(dataset, BopRecording) else {}
        for path in targets.values() if self.labels is None else ():
            _copy_targets(path, root / path.name, self.written)
        for name in sorted(set(dataset.split_names()) - targets.keys()):
            try:
                keys = [k for k in dataset.split_keys(name) if k in self.written]
            except InputError:
                note(dataset.root / name, "is not part of the copy, a folder of its own")
                continue
            if keys:
                splits[name] = _by_scene(keys)
        if splits:
            _dump(root / "splits.json", splits)
        if isinstance(models, Path):
            if models.is_dir():
                _copy_models(models, root / "models", dataset)
        elif models:
            save_models(models, root / "models")
        if (root / "models").is_dir():
            _state_symmetries(root / "models", self.corrections.symmetries)
        if dataset.models_eval_path not in (None, models):
            assert dataset.models_eval_path is not None
            shutil.copytree(dataset.models_eval_path, root / "models_eval")
            _state_symmetries(root / "models_eval", self.corrections.symmetries)

    def _write_scene(self, indices: Sequence[int], folder: Path) -> None:
        cameras: dict[str, Any] = {}
        labels: dict[str, list] = {}
        infos: dict[str, list] = {}
        for index in indices:
            key = self.dataset.keys[index]
            image = str(key.image_id)
            try:
                camera, entries, extra = self._write_frame(index, key, folder)
            except InputError as error:
                if not self.corrections.encode:
                    raise
                note(error.path or folder, f"frame left out: {error.what}")
                continue
            cameras[image] = self._corrected(camera)
            if entries:
                labels[image] = entries
            if extra:
                infos[image] = extra
            self.written.add(key)
            if self.on_frame is not None:
                self.on_frame(len(self.written), len(self.dataset))
        _dump(folder / "scene_camera.json", cameras)
        if labels:
            _dump(folder / "scene_gt.json", labels)
        if infos:
            _dump(folder / "scene_gt_info.json", infos)

    def _write_frame(self, index: int, key: FrameKey, folder: Path) -> tuple[dict, list, list]:
        """Images, masks; camera entry, label entries, info entries."""
        dataset = self.dataset
        if self.labels is not None:
            return self._write_labelled(index, key, folder, self.labels)
        if isinstance(dataset, BopRecording):
            entries, extra = dataset.label_entries(key)
            if dataset.source(key).intrinsics.distortion is not None:  # a copy would not state it
                camera = _encode_images(dataset.frame(index), folder)
                return camera, *_encode_labels(dataset.truth(index), dataset.frame(index), folder)
            _copy_masks(dataset, key, folder, len(entries))
            if self.corrections.encode:
                return _encode_images(dataset.frame(index), folder), entries, extra
            return _copy_images(dataset, key, folder), entries, extra
        frame = dataset.frame(index)
        camera = _encode_images(frame, folder)
        return camera, *_encode_labels(dataset.truth(index), frame, folder)

    def _write_labelled(
        self, index: int, key: FrameKey, folder: Path, labels: Labeller
    ) -> tuple[dict, list[dict], list[dict]]:
        dataset, frame = self.dataset, self.dataset.frame(index)
        straight = dataset.source(key).intrinsics.distortion is None  # a copy would not state it
        if isinstance(dataset, BopRecording) and straight and not self.corrections.encode:
            camera = _copy_images(dataset, key, folder)
        else:
            camera = _encode_images(frame, folder)
        found = labels(frame)
        for name, masks in found.masks.items():
            for number, mask in enumerate(masks):
                path = folder / name / f"{key.image_id:06d}_{number:06d}.png"
                _save_png(path, mask.astype(np.uint8) * 255)
        return camera, found.entries, found.infos

    def _corrected(self, entry: dict[str, Any]) -> dict[str, Any]:
        if self.corrections.depth_factor != 1:
            scale = entry.get("depth_scale", 1.0) * self.corrections.depth_factor
            entry = {**entry, "depth_scale": scale}
        if self.corrections.k_factor != 1:
            K = np.array(entry["cam_K"], dtype=np.float64).reshape(3, 3)
            K[:2, 2] += 0.5  # pixel corners, not centres, scale with the image
            K[:2] *= self.corrections.k_factor
            K[:2, 2] -= 0.5
            entry = {**entry, "cam_K": [float(v) for v in K.reshape(-1)]}
        return entry


def _copy_models(models: Path, to: Path, dataset: Recording) -> None:
    """Copy the models' folder; of the recording's own, what is no frame of it."""
    if models.absolute() != dataset.root.absolute():
        shutil.copytree(models, to)
        return
    frames = {path for key in dataset.keys for path in _files(dataset, key)}
    to.mkdir()
    for path in sorted(dataset.root.iterdir()):
        if path.is_file() and path not in frames:
            shutil.copyfile(path, to / path.name)


def _copy_targets(path: Path, to: Path, written: set[FrameKey]) -> None:
    """A BOP targets file without the lines of frames that are not in the copy."""
    lines = read_json(path, "targets file", list)
    kept = [t for t in lines if FrameKey(int(t["scene_id"]), int(t["im_id"])) in written]
    if kept:
        rows = ",\n".join(f"  {json.dumps(t)}" for t in kept)
        to.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def _files(dataset: Recording, key: FrameKey) -> tuple[Path | None, ...]:
    source = dataset.source(key)
    return source.rgb, source.depth


def _state_symmetries(models: Path, symmetries: Mapping[int, Symmetry]) -> None:
    """Add symmetries to models_info.json, in BOP's millimetres."""
    if not symmetries:
        return
    path = models / "models_info.json"
    table = read_json(path, "models_info") if path.is_file() else {}
    for object_id, symmetry in symmetries.items():
        entry = table.setdefault(str(object_id), {})
        if len(symmetry.discrete):
            mm = symmetry.discrete.copy()
            mm[:, :3, 3] *= 1000
            entry["symmetries_discrete"] = mm.reshape(-1, 16).tolist()
        if len(symmetry.axes):
            entry["symmetries_continuous"] = [
                {"axis": axis.tolist(), "offset": (1000 * offset).tolist()}
                for axis, offset in zip(symmetry.axes, symmetry.offsets, strict=True)
            ]
    path.unlink(missing_ok=True)  # the copy may be read-only as its original is
    _dump(path, table)


def _by_scene(keys: Sequence[FrameKey]) -> dict[str, list[int]]:
    table: dict[str, list[int]] = {}
    for key in keys:
        table.setdefault(str(key.scene_id), []).append(key.image_id)
    return table


def _copy_images(dataset: BopRecording, key: FrameKey, folder: Path) -> dict[str, Any]:
    source = dataset.source(key)
    for path in (source.rgb, source.depth):
        if path is not None:
            target = folder / path.parent.name.split("_")[0] / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return dataset.camera_entry(key)


def _copy_masks(dataset: BopRecording, key: FrameKey, folder: Path, count: int) -> None:
    for name in ("mask", "mask_visib"):
        for number in range(count):
            path = dataset.scene_part(key.scene_id, name) / f"{key.image_id:06d}_{number:06d}.png"
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
            info["bbox_visib"] = box_for_bop(instance.box_visible)
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
