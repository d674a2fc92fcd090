"""The doctor: what a recording is, what is wrong with it, how to mend it.

Nothing is changed on disk; `write_fixed` makes a corrected copy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from self6d.datasets.bop_writer import Corrections, write_bop
from self6d.datasets.recording import Recording
from self6d.datasets.registry import open_dataset
from self6d.doctor import frames as doctor_frames
from self6d.doctor import models as doctor_models
from self6d.doctor.cameras import examine_cameras
from self6d.doctor.report import DoctorReport, Finding
from self6d.errors import InputError
from self6d.events import Listener, Progress
from self6d.files import log
from self6d.scene.mesh import Symmetry
from self6d.scene.mesh_io import load_models

__all__ = ["DoctorReport", "Finding", "examine", "write_fixed"]


def examine(
    path: str | Path,
    models: str | Path | None = None,
    *,
    listener: Listener | None = None,
    samples: int = 16,
) -> DoctorReport:
    """Look a recording and its CAD models over.

    Args:
        path: of the recording.
        models: folder or file of the CAD models; those that came with the recording by default.
        listener: receives `Progress`.
        samples: frames that are read whole; of all others only the file's ends are looked at.

    Returns:
        A report; faults that keep the recording from being opened are findings, not exceptions.
    """
    report = DoctorReport(Path(path))
    steps = _Steps(listener)
    with _noted(report):
        dataset = _open(report)
        models_path = Path(models) if models else (dataset.models_path if dataset else None)
        report.models_path = models_path
        loaded = []
        if models_path is not None:
            try:
                loaded = load_models(models_path)
            except InputError as error:
                report.findings.append(_of_error("model", error))
        elif dataset is not None:
            report.findings.append(
                Finding("no-models", "info", "no CAD models given", remedy="Name them: --models.")
            )
        for index, model in enumerate(loaded):
            steps.at(index, len(loaded), "models")
            doctor_models.examine_model(report, model)
        if dataset is not None:
            doctor_frames.examine_files(report, dataset, steps.at)
            frames = doctor_frames.sample(report, dataset, samples, steps.at)
            examine_cameras(report, dataset, frames, steps.at)
            doctor_frames.examine_depth(report, dataset, frames, [m.diameter for m in loaded])
            doctor_frames.examine_labels(report, dataset, {m.object_id for m in loaded})
    report.sort()
    return report


def write_fixed(report: DoctorReport, out: str | Path, *, listener: Listener | None = None) -> Path:
    """Write a copy of the recording, in BOP layout, with the report's corrections made.

    Args:
        report: from `examine`.
        out: folder to make; the original is never touched.
        listener: receives `Progress`.

    Raises:
        InputError: nothing to correct, the recording cannot be opened, or `out` is not empty.
        StorageError: `out` cannot be written.
    """
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
        models=report.models_path,
        corrections=corrections,
        on_frame=lambda i, n: steps.at(i, n, "frames"),
    )


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
            finding = Finding("note", "warning", what, place, correction=repair)
            if not any(f.what == what for f in report.findings):
                report.findings.append(finding)

    catcher = Catcher(logging.WARNING)
    propagate = log.propagate
    handlers = log.handlers[:]
    log.handlers = [catcher]
    log.propagate = False
    try:
        yield
    finally:
        log.handlers, log.propagate = handlers, propagate


def _open(report: DoctorReport) -> Recording | None:
    try:
        dataset = open_dataset(report.path)
    except InputError as error:
        report.findings.append(_of_error("recording", error))
        return None
    dataset.checked = False  # an impossible K is a finding
    report.kind, report.reason = dataset.kind, dataset.reason
    report.frames = len(dataset)
    for name in dataset.split_names():
        report.splits[name] = len(dataset.split(name))
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
