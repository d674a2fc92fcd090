"""Poses in images, from RGB and K alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from self6d.arguments import checked
from self6d.config_fields import Limits
from self6d.datasets import Dataset, FrameKey, open_dataset
from self6d.datasets.images import read_rgb
from self6d.datasets.pairing import paired
from self6d.datasets.readers.film import FILM_SUFFIXES, FilmRecording
from self6d.datasets.readers.one_name import images_in
from self6d.datasets.recording import frame_of
from self6d.errors import InputError
from self6d.evaluation.predictions import (
    NetworkPredictor,
    Prediction,
    best_of_each,
    with_predictions,
)
from self6d.events import Listener, Note, Progress
from self6d.geometry import Camera, matrix_to_quaternion
from self6d.jobs.pictures import draw_poses, write_picture
from self6d.jobs.prepare import resolve_device, resolve_intrinsics
from self6d.jobs.refiner import Refine, pose_refiner
from self6d.packaging import load_trained
from self6d.scene import Frame


@checked
def predict(
    images: str | Path,
    from_run: str | Path,
    *,
    camera: Camera | str | Path | None = None,
    split: str | None = None,
    refine: Refine = "none",
    refiner: str | Path | None = None,
    score_threshold: Annotated[float, Limits(0, 1)] = 0.3,
    views: int | None = None,
    instances: int | None = None,
    device: str | torch.device = "auto",
    overlay: str | Path | None = None,
    listener: Listener | None = None,
) -> list[dict[str, Any]]:
    """Poses in images, from RGB and K alone unless `refine` says otherwise.

    Args:
        images: recording, folder of images, one image or a film.
        from_run: run folder, or exported package.
        camera: for images that come without one.
        split: named split of a recording; None: all of it.
        refine: "depth" optimises each pose on its frame with the run's settings, "rgb" moves it by
            a refiner. refiner: see `pose_refiner`.
        views, instances: boxes looked at per detection, and most instances of an object in an
            image, see `NetworkConfig`; None: the run's own. Where a frame shows more, a note says
            so.
        overlay: folder to make, for pictures with the poses drawn in.

    Returns:
        rows of {"image", "scene_id", "image_id", "object", "object_id", "score", "R_m2c",
        "t_m2c" (metres), "quaternion_wxyz"}; refined by "rgb" also "confidence", the probability
        that the pose is within a tenth of the diameter, as learned on synthetic images.

    Raises:
        InputError: no such split, images that cannot be read, an overlay folder that exists, or
            views or instances out of range.

    >>> rows = predict(recording, out / "adapted", score_threshold=0.0)
    >>> len(rows[0]["t_m2c"]), len(rows[0]["quaternion_wxyz"])
    (3, 4)
    """
    device = resolve_device(device)
    trained = load_trained(from_run, device, views=views, instances=instances)
    most = trained.network.config.instances
    # one more than are given, to know whether any is left out
    trained.network.config = replace(trained.network.config, instances=most + 1)
    improve, _ = pose_refiner(refine, trained, from_run, device, refiner=refiner, listener=listener)
    predictor = NetworkPredictor(
        trained.network,
        device,
        score_threshold=score_threshold,
        refine=improve,
    )
    names = {model.object_id: model.name for model in trained.models}
    frames = _Frames(images, camera, split)
    drawn = None if overlay is None else Path(overlay)
    if drawn is not None and drawn.exists():
        raise InputError("exists already", path=drawn, remedy="Name a new folder.")
    rows = []
    left_out: Counter[int] = Counter()  # frames that show more, by object
    said = ""
    for index, (frame, found) in enumerate(with_predictions(frames, predictor)):
        if not said and listener is not None:
            said = trained.unlike_learned(frame.camera.height)
            if said:
                listener(Note("warning", said))
        detections = best_of_each(found, most)
        shown = Counter(p.object_id for p in found)
        left_out.update(i for i in shown if shown[i] > most)
        rows += [_row(frame.name, names, prediction) for prediction in detections]
        if drawn is not None:
            picture = draw_poses(frame.rgb, frame.camera, detections, trained.models)
            name = f"{frame.scene_id:06d}_{frame.image_id:06d}.png"
            write_picture(drawn / name, picture)
        if listener is not None:
            listener(Progress(index + 1, len(frames), None, "predict"))
    if listener is not None:
        for object_id, count in sorted(left_out.items()):
            text = (
                f"{names[object_id]}: {count} of {len(frames)} frames show more than {most}; the "
                "best are given (more: --instances)"
            )
            listener(Note("warning", text))
    return rows


def _row(image: str, names: dict[int, str], p: Prediction) -> dict[str, Any]:
    quaternion = matrix_to_quaternion(torch.from_numpy(np.asarray(p.R, np.float64)))
    sure = {} if p.confidence is None else {"confidence": round(p.confidence, 4)}
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
        **sure,
    }


class _Frames(Sequence[Frame]):
    """Frames read on demand: of a recording, or of bare images with a camera given apart."""

    def __init__(
        self, images: str | Path, camera: Camera | str | Path | None, split: str | None
    ) -> None:
        self._camera = None if camera is None else resolve_intrinsics(camera)
        path = Path(images)
        self._files: list[Path] = []
        self._numbers = [0]
        self._dataset: Dataset | None = None
        if self._camera is None:
            self._dataset = open_dataset(path)
            if split is not None:
                self._dataset = self._dataset.split(split)
            return
        if split is not None:
            raise InputError(
                "bare images have no splits",
                path=path,
                remedy="Leave out --split, or name a recording and leave out --camera.",
            )
        if path.suffix.lower() in FILM_SUFFIXES and path.is_file():
            self._dataset = FilmRecording.open(path, camera=self._camera)
            return
        self._files = images_in(path)
        if not self._files:
            raise InputError("holds no colour images", path=path, remedy="Name a folder of images.")
        if path.is_dir():  # numbered, and taken once, as the frames of a folder are
            pairs = paired([file.name for file in self._files], [], path)
            self._numbers = sorted(pairs)
            self._files = [path / pairs[number].rgb for number in self._numbers]

    def __len__(self) -> int:
        return len(self._files) if self._dataset is None else len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        if self._dataset is not None:
            return self._dataset.frame(index)
        assert self._camera is not None
        path = self._files[index]
        key = FrameKey(0, self._numbers[index])
        return frame_of(key, path.name, read_rgb(path), None, self._camera, image=path)
