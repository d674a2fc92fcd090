"""Labels of a recording: whether they can be read, and whether they fit its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from self6d.datasets.recording import Recording
from self6d.doctor.frames import spread
from self6d.doctor.report import DoctorReport, Finding
from self6d.errors import InputError
from self6d.scene import Frame, ObjectModel

LABELLED_FRAMES = 50  # whose labels are read
WEIGHED_FRAMES = 12  # whose labels are held against the images
MISFIT = 0.1  # share of an object that its image contradicts; of right labels below 0.09


def examine_labels(report: DoctorReport, dataset: Recording, models: Sequence[ObjectModel]) -> None:
    """Whether labels can be read, name objects there are models of, and fit the images."""
    object_ids = {m.object_id for m in models}
    labelled: list[int] = []
    unknown: set[int] = set()
    skip = {tuple(key) for f in report.findings for key in f.correction.get("skip", [])}
    for index in spread(len(dataset), LABELLED_FRAMES):
        key = dataset.keys[index]
        if (key.scene_id, key.image_id) in skip:
            continue  # its fault is told already
        try:
            truth = dataset.truth(int(index))
        except InputError as error:
            report.findings.append(
                Finding("labels", "error", error.what, str(error.path or ""), error.remedy or "")
            )
            return
        labelled += [int(index)] if truth else []
        unknown |= {t.object_id for t in truth} - object_ids
    if not labelled:
        report.findings.append(
            Finding("no-labels", "info", "no labels: adapt works, evaluate needs labelled frames")
        )
    if unknown and object_ids:
        names = ", ".join(str(n) for n in sorted(unknown))
        report.findings.append(
            Finding(
                "unknown-objects",
                "info",
                f"labels name object(s) {names}, of which there is no model",
                remedy="Add their models, or leave those labels unused.",
            )
        )
    if not {"depth-scale", "mesh-unit"} & {f.code for f in report.findings}:
        _weigh_labels(
            report, dataset, [labelled[i] for i in spread(len(labelled), WEIGHED_FRAMES)], models
        )


def _weigh_labels(
    report: DoctorReport, dataset: Recording, indices: Sequence[int], models: Sequence[ObjectModel]
) -> None:
    """Say so where the labels fit the images better when they are read in another way."""
    by_id = {m.object_id: m for m in models}
    costs: dict[str, list[float]] = {name: [] for name in _READINGS}
    for index in indices:
        try:
            frame, truth = dataset.frame(index), dataset.truth(index)
        except InputError:
            continue  # told already
        for label in truth:
            if (model := by_id.get(label.object_id)) is not None:
                for name, read in _READINGS.items():
                    pose = read(label.pose.R_m2c, label.pose.t_m2c)
                    costs[name].append(_misfit(*pose, model, frame))
    stated = costs.pop("")
    if len(stated) < 3:
        return
    middle = float(np.median(stated))
    other = min(costs, key=lambda name: float(np.median(costs[name])))
    if middle < MISFIT:
        return
    best = float(np.median(costs[other]))
    fits = best < 0.4 * middle and best < 2 * MISFIT
    if not fits and middle < 0.5:
        return
    report.findings.append(
        Finding(
            "labels-misfit",
            "warning",
            f"labels do not fit the images: in half of {len(stated)} poses at least "
            f"{100 * middle:.0f} % of the object lies out of view or off what depth sees"
            + (f", {100 * best:.0f} % if {other}" if fits else ""),
            str(dataset.root),
            "Write poses as model to camera, rotations by rows, translations in the layout's unit "
            "(BOP: millimetres).",
        )
    )


_Turn = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
_READINGS: dict[str, _Turn] = {
    "": lambda R, t: (R, t),
    "rotations are written by columns": lambda R, t: (R.T, t),
    "poses are written camera to model": lambda R, t: (R.T, -R.T @ t),
    "translations are written in metres": lambda R, t: (R, 1000 * t),
    "translations are written in centimetres": lambda R, t: (R, 10 * t),
    "translations are written in millimetres": lambda R, t: (R, t / 1000),
}


def _misfit(R: np.ndarray, t: np.ndarray, model: ObjectModel, frame: Frame) -> float:
    """Share of an object's vertices that its image contradicts.

    1 where three quarters are out of view; else of those in view that have depth: nearer than it by
    0.15 diameters, or so far behind it that the whole object is hidden.
    """
    points = model.vertices[:: max(1, len(model.vertices) // 500)].astype(np.float64) @ R.T + t
    ahead = points[points[:, 2] > 0]
    h, w = frame.rgb.shape[:2]
    at = np.floor((ahead @ frame.camera.K.T)[:, :2] / ahead[:, 2:])
    inside = ((at >= 0) & (at < [w, h])).all(1)
    if inside.sum() < 0.25 * len(points):
        return 1.0
    if frame.depth_m is None:
        return 1 - float(inside.sum()) / len(points)
    column, row = at[inside].astype(int).T
    seen, z = frame.depth_m[row, column], ahead[inside, 2]
    known = seen > 0
    if known.sum() < 20:
        return 0.0
    behind = (z[known] - seen[known]) / model.diameter
    return float(((behind < -0.15) | (behind > 1.15)).mean())
