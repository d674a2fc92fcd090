"""Using trained networks: evaluation, prediction, pictures of stage-1 images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from self6d.datasets import Dataset, open_dataset
from self6d.datasets.images import RGB_SUFFIXES, read_rgb
from self6d.errors import InputError, StorageError
from self6d.evaluation.bop_results import write_bop_results
from self6d.evaluation.html import write_html
from self6d.evaluation.predictions import (
    NetworkPredictor,
    Prediction,
    Refiner,
    with_predictions,
)
from self6d.evaluation.protocols import evaluate as score_predictions
from self6d.evaluation.report import Report
from self6d.evaluation.results import Results
from self6d.events import Listener, Progress
from self6d.geometry import Camera, matrix_to_quaternion
from self6d.jobs.config import build_config
from self6d.jobs.prepare import (
    Paths,
    TrainedNetwork,
    default_split,
    load_given_models,
    load_network,
    resolve_camera,
    resolve_device,
)
from self6d.losses.objective import SelfSupervision
from self6d.network.outputs import Detections
from self6d.refinement.refine import refine_detections
from self6d.refinement.task import sensor_of
from self6d.render import pack_models
from self6d.runs.folder import RunFolder
from self6d.scene import Frame, ObjectModel
from self6d.stage1.recorded_ranges import with_recorded_ranges
from self6d.storage import atomic_write


def evaluate(
    data: str | Path,
    models: Paths | None,
    runs: Sequence[str | Path],
    *,
    split: str | None = None,
    refine: bool = False,
    latest: bool = False,
    device: str = "auto",
    bop: bool = False,
    min_visible: float = 0.1,
    views: int | None = None,
    json_path: Path | None = None,
    csv_path: Path | None = None,
    latex_path: Path | None = None,
    html_path: Path | None = None,
    bop_path: Path | None = None,
    listener: Listener | None = None,
) -> Report:
    """Score runs on the labelled frames of a recording; predictions see RGB and K alone.

    Args:
        models: CAD files; None: each run's own copy.
        runs: run folders.
        split: named split; None: "eval" if the recording has it, else every labelled frame.
        refine: a row more for each run, its poses optimised on the frames' depth as well.
        latest: take each run's newest checkpoint instead of its best.
        bop: also VSD, MSSD, MSPD and average recalls.
        min_visible: instances less visible than this share are no targets.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: each run's own.
        json_path, csv_path, latex_path, html_path: also write the table there; all but the page
            anew after each run.
        bop_path: folder for BOP results files, one a run.

    Raises:
        InputError: no labels, unknown split, unreadable data.
        CheckpointError: a run without an intact checkpoint.
    """
    for file in (html_path, bop_path):
        if file is not None and file.exists():
            raise InputError("exists already", path=file, remedy="Name a new file.")
    place = resolve_device(device)
    dataset = open_dataset(data)
    chosen = default_split(dataset, split, "eval")
    results: list[Results] = []
    report = Report(())
    for path in runs:
        newest = RunFolder.open(path).latest_checkpoint() if latest else None
        trained = load_network(path, device=place, checkpoint=newest, models=models, views=views)
        for refined in (False, True)[: 1 + refine]:
            predictor = NetworkPredictor(
                trained.network, place, refine=_refiner(trained, path, place) if refined else None
            )
            result = score_predictions(
                dataset,
                trained.models,
                predictor,
                chosen,
                label=Path(path).name + (" + depth" if refined else ""),
                min_visible=min_visible,
                bop=bop,
                listener=listener,
            )
            results.append(result)
            report = Report(tuple(results))  # what is there stays if the rest is interrupted
            _write_tables(report, json_path, csv_path, latex_path)
    if html_path is not None:
        shown = dataset if chosen is None else dataset.split(chosen)
        curves = {Path(path).name: RunFolder.open(path).curves() for path in runs}
        write_html(html_path, report, dataset=shown, models=trained.models, curves=curves)
    if bop_path is not None:
        for result in results:
            name = f"{result.label}_{result.dataset}-{result.split}.csv"
            write_bop_results(bop_path / name, result.predictions)
    return report


def _write_tables(
    report: Report, json_path: Path | None, csv_path: Path | None, latex_path: Path | None
) -> None:
    """The table in each form that has a path."""
    forms = ((json_path, report.json), (csv_path, report.csv), (latex_path, report.latex))
    for file, text in forms:
        if file is not None:
            write_file(file, text())


def predict(
    images: str | Path,
    from_run: str | Path,
    *,
    camera: Camera | str | Path | None = None,
    refine: bool = False,
    score_threshold: float = 0.3,
    views: int | None = None,
    device: str = "auto",
    overlay: Path | None = None,
    listener: Listener | None = None,
) -> list[dict[str, Any]]:
    """Poses in images, from RGB and K alone.

    Args:
        images: recording, folder of images or one image.
        camera: for images that come without one.
        refine: optimise each pose on its frame, depth included.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: the run's own.
        overlay: folder to make, for pictures with the poses drawn in.

    Returns:
        rows of {"image", "scene_id", "image_id", "object", "object_id", "score", "R_m2c",
        "t_m2c" (metres), "quaternion_wxyz"}.
    """
    place = resolve_device(device)
    trained = load_network(from_run, device=place, views=views)
    predictor = NetworkPredictor(
        trained.network,
        place,
        score_threshold=score_threshold,
        refine=_refiner(trained, from_run, place) if refine else None,
    )
    names = {model.object_id: model.name for model in trained.models}
    frames = _Frames(images, camera)
    if overlay is not None and overlay.exists():
        raise InputError("exists already", path=overlay, remedy="Name a new folder.")
    rows = []
    for index, (frame, found) in enumerate(with_predictions(frames, predictor)):
        rows += [_row(frame.name, names, prediction) for prediction in found]
        if overlay is not None:
            picture = draw_poses(frame.rgb, frame.camera, found, trained.models)
            name = f"{frame.scene_id:06d}_{frame.image_id:06d}.png"
            write_picture(overlay / name, picture)
        if listener is not None:
            listener(Progress(index + 1, len(frames), None, "predict"))
    return rows


def export(
    run: str | Path,
    to: str | Path,
    *,
    onnx: bool = True,
    program: bool = False,
    size: tuple[int, int] | None = None,
    views: int | None = None,
) -> list[Path]:
    """Write a run's network to a folder that stands alone; see `self6d.export.export_run`."""
    from self6d.export import export_run

    return export_run(run, to, onnx=onnx, program=program, size=size, views=views)


def synth_preview(
    models: Paths,
    out: str | Path,
    *,
    images: int = 12,
    **choices: Any,
) -> Path:
    """Write a contact sheet (PNG) of the images that stage 1 would train on.

    Args:
        choices: as `synthetic_sheet`.

    Raises:
        InputError: the file exists, or models, camera or configuration cannot be used.
    """
    out = Path(out)
    if out.exists():
        raise InputError("exists already", path=out, remedy="Name a new file.")
    columns = max(1, round(images**0.5))
    write_picture(out, synthetic_sheet(models, images=images, columns=columns, **choices))
    return out


def synthetic_sheet(
    models: Paths,
    *,
    preset: str | Path = "standard",
    camera: Camera | str | Path | None = None,
    images: int = 12,
    columns: int = 4,
    seed: int = 0,
    device: str = "auto",
    overrides: dict[str, Any] | list[str] | None = None,
) -> np.ndarray:
    """Images that stage 1 would train on, side by side, (H, W, 3) uint8.

    Raises:
        InputError: models, camera or configuration cannot be used.
    """
    from self6d.synthesis import SceneMaker, gallery, scaled_camera

    objects = load_given_models(models)
    config, _ = with_recorded_ranges(build_config(preset, overrides).synthesis, camera, objects)
    view = scaled_camera(resolve_camera(camera), config.height)
    maker = SceneMaker(objects, view, config, resolve_device(device))
    return gallery(maker.make(images, seed, 0), columns=columns, images=images)


def _refiner(trained: TrainedNetwork, run: str | Path, device: torch.device) -> Refiner:
    """Pulls detections onto their frames with the run's [loss] and [optimize]."""
    config = build_config(None, base=RunFolder.open(run).config)
    objective = SelfSupervision(config.loss, device)
    packed = pack_models(trained.models, device)

    def refine(frames: Sequence[Frame], found: Detections) -> Detections:
        refined = refine_detections(
            sensor_of(frames, device),
            found,
            packed,
            trained.network.objects,
            objective,
            config.optimize,
            seed=frames[0].image_id,
            chunk=config.optimize.chunk,
        )
        return replace(found, R=refined.R, t=refined.t)

    return refine


def draw_poses(
    rgb: np.ndarray,
    camera: Camera,
    predictions: Sequence[Prediction],
    models: Sequence[ObjectModel],
) -> np.ndarray:
    """Each predicted object's bounding box and axes (x red, y green, z blue) over the image.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    picture = rgb.copy()
    by_id = {model.object_id: model for model in models}
    for p in predictions:
        low, high = by_id[p.object_id].extents
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        points = np.where(corners, high, low)
        centre = (low + high) / 2
        ends = centre + np.diag(high - low) / 2
        xyz = np.concatenate((points, centre[None], ends)) @ p.R.T + p.t
        if (xyz[:, 2] <= 0.01).any():
            continue
        uv = xyz @ camera.K.T
        pixels = np.round(uv[:, :2] / uv[:, 2:] - 0.5).astype(int).tolist()
        for a in range(8):
            for b in range(a + 1, 8):
                if np.abs(corners[a] - corners[b]).sum() == 1:
                    cv2.line(picture, pixels[a], pixels[b], (255, 210, 60), 1, cv2.LINE_AA)
        for axis, end in enumerate(pixels[9:]):
            colour = [int(255 * (axis == i)) for i in range(3)]
            cv2.line(picture, pixels[8], end, colour, 2, cv2.LINE_AA)
    return picture


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG.

    Raises:
        StorageError: it cannot be written.
    """
    _, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    write_file(path, data.tobytes())


def write_file(path: Path, content: str | bytes) -> None:
    """Write a result; the folder is made.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror})", path=path, remedy="Name another file."
        ) from error


def _row(image: str, names: dict[int, str], p: Prediction) -> dict[str, Any]:
    quaternion = matrix_to_quaternion(torch.from_numpy(np.asarray(p.R, np.float64)))
    return {
        "image": image,
        "scene_id": p.scene_id,
        "image_id": p.image_id,
        "object": names[p.object_id],
        "object_id": p.object_id,
        "score": p.score,
        "R_m2c": np.asarray(p.R).tolist(),
        "t_m2c": np.asarray(p.t).tolist(),
        "quaternion_wxyz": quaternion.tolist(),
    }


class _Frames(Sequence[Frame]):
    """Frames read on demand: of a recording, or of bare images with a camera given apart."""

    def __init__(self, images: str | Path, camera: Camera | str | Path | None) -> None:
        self._camera = resolve_camera(camera)
        path = Path(images)
        self._files: list[Path] = []
        self._dataset: Dataset | None = None
        if self._camera is None:
            self._dataset = open_dataset(path)
            return
        entries = sorted(path.iterdir()) if path.is_dir() else [path]
        self._files = [p for p in entries if p.suffix.lower() in RGB_SUFFIXES]
        if not self._files:
            raise InputError("holds no colour images", path=path, remedy="Name a folder of images.")

    def __len__(self) -> int:
        return len(self._files) if self._dataset is None else len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        if self._dataset is not None:
            return self._dataset.frame(index)
        assert self._camera is not None
        rgb = read_rgb(self._files[index])
        h, w = rgb.shape[:2]
        camera = self._camera if self._camera.size == (h, w) else self._camera.resized(w, h)
        return Frame(rgb, None, camera, 0, index, self._files[index].name)
