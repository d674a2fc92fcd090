"""Poses of a track as labels for other tools: BOP, COCO or BOP's results file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from self6d.arguments import checked
from self6d.config_fields import Limits
from self6d.datasets import Recording, open_dataset
from self6d.datasets.base import FrameKey
from self6d.datasets.bop_writer import FrameLabels, write_bop
from self6d.datasets.pose_track import TrackedPose, check_belongs, read_pose_track
from self6d.errors import InputError, StorageError
from self6d.evaluation.bop_results import results_name, write_bop_results
from self6d.evaluation.predictions import Prediction
from self6d.events import Listener, Progress
from self6d.files import check_free
from self6d.labelling.bop import bop_labels
from self6d.labelling.coco import CocoFile
from self6d.labelling.masks import draw_labels
from self6d.labelling.report import LabelReport, report_page
from self6d.rendering import PackedModels, pack_models
from self6d.runs.load_network import Paths, models_of_track
from self6d.scene import Frame, ObjectModel
from self6d.scene.models_copy import save_models
from self6d.scene.units import check_unit
from self6d.storage import whole_folder

LabelFormat = Literal["bop", "coco", "csv"]
FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)
SPLIT = "train_real"
"""BOP's name for real images to learn from, which is what these are."""


@checked
def label(
    data: str | Path,
    track: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    confidence: Annotated[float, Limits(0, 1)] = 0.8,
    format: LabelFormat = "bop",
    unit: str = "auto",
    listener: Listener | None = None,
) -> LabelReport:
    """Write the poses of a track that are sure enough as labels, with a report of them.

    Args:
        data: the recording. Its own labels are not looked at.
        track: run of `track`, or its poses.json.
        models: CAD files; None: the copy of the track's run, else the recording's own.
        out: folder to make. It holds report.html, labels.json and, by format: "bop": the frames
            with labels as a BOP dataset; "coco": images/ and annotations.json; "csv": a results
            file of BOP's.
        confidence: poses below are left out, and frames without any pose.
        unit: of the CAD files, see `load_models`.
        listener: receives `Progress`.

    Returns:
        what was taken and what was left out.

    Raises:
        InputError: `out` is not empty; no pose is sure enough; the track names frames that the
            recording has not, or objects without a model.
        StorageError: `out` cannot be written.
    """
    check_unit(unit)
    out, name = Path(out), Path(track).name
    check_free(out)
    poses, dataset = read_pose_track(track), open_dataset(data)
    objects = models_of_track(models, track, dataset, unit)
    check_belongs(poses, track, dataset, [model.object_id for model in objects])
    report = LabelReport.of(name, poses, confidence, len(dataset))
    if not report.accepted:
        best = max((t.confidence for t in poses), default=0.0)
        raise InputError(
            f"holds no pose with a confidence of {confidence:g}",
            path=track,
            remedy=f"Its surest has {best:.2f}: lower --confidence, or track again.",
        )
    by_key: dict[FrameKey, list[TrackedPose]] = {}
    for tracked in report.accepted:
        by_key.setdefault(tracked.key, []).append(tracked)
    chosen = dataset.subset([i for i, key in enumerate(dataset.keys) if key in by_key])
    packed = pack_models(objects)
    try:
        with whole_folder(out) as part:
            job = _Writing(chosen, by_key, objects, packed, report, listener)
            {"bop": job.bop, "coco": job.coco, "csv": job.csv}[format](part)
            page = report_page(report, chosen, objects, packed)
            (part / "report.html").write_text(page, encoding="utf-8")
            table = {**report.table(), "format": format}
            (part / "labels.json").write_text(json.dumps(table, indent=1) + "\n")
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})",
            path=out,
            remedy="Free space or name another folder.",
        ) from None
    return report


class _Writing:
    """Accepted poses on their way to a folder, in one of the formats."""

    def __init__(
        self,
        dataset: Recording,
        by_key: dict[FrameKey, list[TrackedPose]],
        objects: Sequence[ObjectModel],
        packed: PackedModels,
        report: LabelReport,
        listener: Listener | None,
    ) -> None:
        self.dataset, self.by_key, self.report = dataset, by_key, report
        self.objects, self.packed, self.listener = objects, packed, listener

    def poses(self, frame: Frame) -> list[TrackedPose]:
        """Of a frame, in the order of the track."""
        return self.by_key[FrameKey(frame.scene_id, frame.image_id)]

    def bop(self, part: Path) -> None:
        def labels(frame: Frame) -> FrameLabels:
            drawn = draw_labels(frame, self.poses(frame), self.objects, self.packed)
            self.report.unseen += [d.tracked for d in drawn if not d.px_count_visib]
            return bop_labels(drawn)

        write_bop(
            self.dataset, part, split=SPLIT, models=self.objects, labels=labels,
            on_frame=self._progress,
        )  # fmt: skip

    def coco(self, part: Path) -> None:
        file = CocoFile(part, self.objects, " ".join(self.report.lines()))
        for index in range(len(self.dataset)):
            frame = self.dataset.frame(index)
            drawn = draw_labels(frame, self.poses(frame), self.objects, self.packed)
            self.report.unseen += [d.tracked for d in drawn if not d.px_count_visib]
            file.add(frame, drawn)
            self._progress(index + 1, len(self.dataset))
        file.write()
        save_models(self.objects, part / "models")

    def csv(self, part: Path) -> None:
        rows = [
            Prediction(
                t.key.scene_id, t.key.image_id, t.object_id, t.confidence,
                t.pose.R_m2c, t.pose.t_m2c, seconds=-1.0,
            )
            for t in self.report.accepted
            if t.pose is not None
        ]  # fmt: skip
        write_bop_results(part / results_name("track", self.dataset.bop_name), rows)
        self._progress(len(self.dataset), len(self.dataset))

    def _progress(self, done: int, total: int) -> None:
        if self.listener is not None:
            self.listener(Progress(done, total, None, "label"))
