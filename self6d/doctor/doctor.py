"""The doctor: what a recording is, what is wrong with it, how to mend it.

Nothing is changed on disk; `write_fixed` makes a corrected copy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from self6d.datasets import depth_scale
from self6d.datasets.bop_writer import Corrections, write_bop
from self6d.datasets.recording import Recording
from self6d.datasets.registry import open_dataset
from self6d.doctor import frames as doctor_frames
from self6d.doctor import labels as doctor_labels
from self6d.doctor import models as doctor_models
from self6d.doctor.beside import examine_registration
from self6d.doctor.cameras import examine_cameras
from self6d.doctor.frames import spread
from self6d.doctor.report import DoctorReport, Finding, Severity
from self6d.errors import InputError
from self6d.events import Listener, Progress
from self6d.files import log
from self6d.scene import units
from self6d.scene.mesh import ObjectModel, Symmetry
from self6d.scene.mesh_io import load_models

__all__ = ["DoctorReport", "Finding", "examine", "shortcomings", "write_fixed"]

QUICK_FILES = 200
_HARDLY_IN_DOUBT = (units.UNSTATED, depth_scale.UNSTATED)


def examine(
    path: str | Path,
    models: str | Path | Sequence[str | Path | ObjectModel] | None = None,
    *,
    unit: str = "auto",
    listener: Listener | None = None,
    samples: int = 16,
    quick: bool = False,
) -> DoctorReport:
    """Look a recording and its CAD models over.

    Args:
        path: of the recording.
        models: folder or files of the CAD models, or what was read from them; those that came
            with the recording by default.
        unit: of the CAD files, see `load_models`.
        listener: receives `Progress`.
        samples: frames that are read whole; of all others only the file's ends are looked at.
        quick: what a job can afford before it starts: files of `QUICK_FILES` frames, a quarter of
            the samples, no search for symmetry, and neither labels nor folders beside the frames.

    Returns:
        A report; faults that keep the recording from being opened are findings, not exceptions.

    Raises:
        InputError: no such unit.
    """
    units.check_unit(unit)
    report = DoctorReport(Path(path), unit=unit)
    steps, read = _Steps(listener), 0
    with _noted(report):
        dataset = _open(report, quick)
        loaded = _models(report, dataset, models, quick=quick)
        report.objects = tuple(loaded)
        doctor_models.examine_twins(report, loaded)
        if not quick:
            for index, model in enumerate(loaded):
                steps.at(index, len(loaded), "models")
                doctor_models.examine_model(report, model)
        if dataset is not None:
            some = None
            if quick:
                samples = max(1, samples // 4)
                some = spread(len(dataset), QUICK_FILES)
            doctor_frames.examine_files(report, dataset, steps.at, some)
            frames = doctor_frames.sample(report, dataset, samples, steps.at)
            examine_cameras(report, dataset, frames, steps.at, some)
            doctor_frames.examine_depth(report, dataset, frames, loaded, labels=not quick)
            registered = not quick and examine_registration(report, frames)
            if not quick:
                doctor_labels.examine_labels(report, dataset, loaded)
            report.unchecked += _unchecked(
                dataset, len(frames), loaded, some, registered=registered
            )
            read = len(frames)
        doubted = any(f.code == "mesh-unit" for f in report.findings)
        doubted |= not all(units.is_plausible(m.diameter) for m in loaded)
        if loaded and unit != "auto" and not quick and not doubted:
            report.findings.append(_named_unit(report))
    if why := _hollow(report, dataset, read):
        report.give_up_copy(why)
    report.sort()
    return report


def _models(
    report: DoctorReport,
    dataset: Recording | None,
    models: str | Path | Sequence[str | Path | ObjectModel] | None,
    *,
    quick: bool,
) -> list[ObjectModel]:
    """Their colours are looked at by `examine_model`, unless it is quick."""
    named = [models] if isinstance(models, str | Path) else list(models or ())
    read = [m for m in named if isinstance(m, ObjectModel)]
    if read:
        return read
    paths = [Path(m) for m in named if not isinstance(m, ObjectModel)]
    if not paths and dataset is not None and dataset.models_path is not None:
        paths = [dataset.models_path]
    report.models_path = paths[0] if len(paths) == 1 else None
    if paths:
        try:
            named_once = paths[0] if len(paths) == 1 else paths
            return load_models(named_once, report.unit, drawn=quick)
        except InputError as error:
            report.findings.append(_of_error("model", error))
    elif dataset is not None:
        report.findings.append(
            Finding("no-models", "info", "no CAD models given", remedy="Name them: --models.")
        )
    return []


def _named_unit(report: DoctorReport) -> Finding:
    return Finding(
        "named-unit",
        "info",
        f"CAD files are read in {report.unit}, as named; they do not say so themselves",
        str(report.models_path or report.objects[0].source or ""),
        "Name it to every command, or use a corrected copy, whose models are in millimetres.",
        {"models": True},
    )


def _unchecked(
    dataset: Recording,
    read: int,
    models: Sequence[ObjectModel],
    some: list[int] | None,
    *,
    registered: bool,
) -> list[str]:
    """What this look leaves open, so that nobody takes silence for an all-clear."""
    total = len(dataset)
    texts = []
    if some is not None and len(some) < total:
        texts.append(f"files and K of {total - len(some)} of {total} frames")
    if read < total:
        texts.append(f"pixels of {total - read} of {total} frames (files seen at both ends only)")
    if some is None and total > doctor_labels.LABELLED_FRAMES:
        texts.append(f"labels of {total - doctor_labels.LABELLED_FRAMES} of {total} frames")
    if not models:
        texts.append("CAD models, and the depth scale against their size")
    try:
        source = dataset.source(dataset.keys[0])
    except InputError:
        return texts  # a finding of the first frame's
    if source.depth is not None and not registered:
        texts.append("whether depth is registered to colour and of the same instant")
    if source.intrinsics.distortion is None and not source.intrinsics.straight:
        texts.append("whether the lens distorts: no coefficients are stated")
    if some is not None:
        texts.append("labels, and models' symmetries")
    return texts


def write_fixed(report: DoctorReport, out: str | Path, *, listener: Listener | None = None) -> Path:
    """Write a copy of the recording, in BOP layout, with the report's corrections made.

    Args:
        report: from `examine`.
        out: folder to make; the original is never touched.
        listener: receives `Progress`.

    Raises:
        InputError: nothing to correct, the recording cannot be opened, the report says why there is
            no copy (`DoctorReport.no_copy`), or `out` is not empty.
        StorageError: `out` cannot be written.
    """
    if report.no_copy:
        raise InputError(
            report.no_copy, path=report.path, remedy="Mend what the report says of them first."
        )
    if not report.fixable:
        raise InputError(
            "has nothing a copy could correct",
            path=report.path,
            remedy="Follow the remedies of the report.",
        )
    changes: dict = {}
    skip: set = set()
    symmetries: dict[int, Symmetry] = {}
    for finding in report.findings:
        values = dict(finding.correction)
        skip |= {tuple(key) for key in values.pop("skip", [])}
        values.pop("models", None)  # written anew in any case, see `_models_of_copy`
        if "symmetry" in values:
            symmetries[values.pop("object_id")] = _symmetry(values.pop("symmetry"))
        changes |= values
    corrections = Corrections(skip=frozenset(skip), symmetries=symmetries, **changes)
    steps = _Steps(listener)
    dataset = open_dataset(report.path)
    dataset.checked = False
    return write_bop(
        dataset,
        out,
        models=_models_of_copy(report),
        corrections=corrections,
        on_frame=lambda i, n: steps.at(i, n, "frames"),
    )


def _hollow(report: DoctorReport, dataset: Recording | None, read: int) -> str:
    """Why a copy with all corrections made would hold next to nothing, or ""."""
    if not report.fixable:
        return ""
    if dataset is None:
        return "the recording cannot be opened"
    skip = {tuple(key) for f in report.findings for key in f.correction.get("skip", [])}
    lost = sum((key.scene_id, key.image_id) in skip for key in dataset.keys)
    if 2 * lost > len(dataset):
        return f"{lost} of {len(dataset)} frames would be left out of a corrected copy"
    return "" if read else "none of the frames that were looked at can be read"


def _models_of_copy(report: DoctorReport) -> Path | tuple[ObjectModel, ...]:
    """The models' folder as it stands, or the models where it leaves open what unit they have."""
    folder, objects = report.models_path, report.objects
    plain = report.unit == "auto" and all(m.guessed_unit in (None, "mm") for m in objects)
    return folder if folder is not None and folder.is_dir() and plain else objects


def shortcomings(report: DoctorReport, copy: str | Path) -> list[str]:
    """What a corrected copy lacks beside the frames that the report said it would leave out."""
    original, made = open_dataset(report.path), open_dataset(copy)
    original.checked = made.checked = False
    told = {tuple(key) for finding in report.findings for key in finding.correction.get("skip", [])}
    lost = [
        key
        for key in {(k.scene_id, k.image_id) for k in original.keys}
        - {(k.scene_id, k.image_id) for k in made.keys}
        if key not in told
    ]
    texts = [f"{len(lost)} of {len(original)} frames are not in it"] if lost else []
    whole = set(original.split_names()) - set(original.splits_of_these_frames())
    texts += [f"folder '{name}' is not in it: correct it by itself" for name in sorted(whole)]
    texts += [
        f"still wrong: {finding.what}"
        for finding in report.findings
        if finding.severity == "error" and not finding.fixable
    ]
    return texts


class _Steps:
    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener

    def at(self, step: int, total: int, phase: str) -> None:
        if self._listener is not None:
            self._listener(Progress(step, total, None, phase))


@contextmanager
def _noted(report: DoctorReport) -> Iterator[None]:
    """The readers' notes become findings instead of warnings."""

    class Catcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            place, _, what = record.getMessage().partition(": ")
            if not what:
                place, what = "", record.getMessage()
            repair = {"encode": True} if doctor_frames.is_repair(what) else {}
            doubt: Severity = "info" if what.startswith(_HARDLY_IN_DOUBT) else "warning"
            report.findings.append(Finding("note", doubt, what, place, correction=repair))

    catcher = Catcher(logging.WARNING)
    propagate = log.propagate
    handlers = log.handlers[:]
    log.handlers = [catcher]
    log.propagate = False
    try:
        yield
    finally:
        log.handlers, log.propagate = handlers, propagate


def _open(report: DoctorReport, quick: bool = False) -> Recording | None:
    try:
        dataset = open_dataset(report.path)
    except InputError as error:
        report.findings.append(_of_error("recording", error))
        return None
    dataset.checked = False  # an impossible K is a finding
    report.kind, report.reason = dataset.kind, dataset.reason
    report.frames = len(dataset)
    for name in dataset.splits_of_these_frames() if quick else dataset.split_names():
        try:
            report.splits[name] = len(dataset.split(name))
        except InputError as error:
            found = _of_error("split", error)
            what = f"split '{name}' cannot be opened: {error.what}"
            report.findings.append(replace(found, severity="warning", what=what))
    return dataset


def _of_error(code: str, error: InputError) -> Finding:
    path = "" if error.path is None else str(error.path)
    return Finding(code, "error", error.what, path, error.remedy or "")


def _symmetry(table: dict) -> Symmetry:
    import numpy as np

    return Symmetry(
        np.array(table["discrete"], dtype=np.float64).reshape(-1, 4, 4),
        np.array(table["axes"], dtype=np.float64).reshape(-1, 3),
        np.array(table["offsets"], dtype=np.float64).reshape(-1, 3),
    )
