"""Depth scale and the CAD's unit weighed against each other, the labels and what files state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from self6d.datasets.recording import Recording
from self6d.doctor.extents import UNITS, ScaleCheck, check_scale
from self6d.doctor.report import DoctorReport, Finding
from self6d.errors import InputError
from self6d.scene import Frame, ObjectModel
from self6d.scene.units import other_units

_SCENE_M = (0.15, 8.0)  # where the middle of a tabletop or room recording lies
_USUAL_M = 0.8


def weigh_scale(
    report: DoctorReport,
    dataset: Recording,
    stated: float,
    frames: Sequence[Frame],
    models: Sequence[ObjectModel],
    middle_m: float,
    path: str,
    *,
    labels: bool = True,
) -> None:
    """Add what is wrong with the depth scale or with the CAD's unit, whichever is to blame.

    Sizes alone cannot tell depth ten times too far from CAD ten times too small. A scale that
    labels support is never blamed; nor is one that shows a plausible scene while the CAD's unit
    was only guessed, or while another scale would make the scene less plausible.

    Args:
        stated: metres per depth unit the frames were read with. middle_m: median depth, metres.
        path: a depth file, for the finding. labels: whether labels may be read.
    """
    if models:
        check = check_scale(
            frames, [m.diameter for m in models], stated, mesh_units=_mesh_units(models)
        )
        if check.metres_per_unit != stated and _blames_depth(
            check, stated, dataset if labels else None, frames, models, middle_m
        ):
            why = (
                f"{100 * check.best_share:.0f} % of the frames then show things of the CAD models' "
                f"size, {100 * check.share:.0f} % as it stands"
            )
            add_scale(report, path, stated, check.metres_per_unit, why)
            return
        if check.mesh_unit:
            _add_mesh_unit(report, check, models)
    if not 0.1 < middle_m < 10:
        report.findings.append(
            Finding(
                "depth-scale",
                "warning",
                f"median depth is {middle_m:.3g} m, implausible for a depth camera",
                path,
                "Correct depth_scale in the camera file; with --models the doctor can tell it.",
            )
        )


def add_scale(report: DoctorReport, path: str, stated: float, unit: float, why: str) -> None:
    """Add the finding that depth is to be read with another scale."""
    report.findings.append(
        Finding(
            "depth-scale",
            "error",
            f"depth is read as {_unit(stated)} but looks like {_unit(unit)}: {why}",
            path,
            "Correct depth_scale in the camera file.",
            {"depth_factor": unit / stated},
        )
    )


def _unit(metres_per_unit: float) -> str:
    for unit, name in UNITS.items():
        if abs(metres_per_unit / unit - 1) < 1e-6:
            return name
    return f"{1000 * metres_per_unit:g} mm"


def _mesh_units(models: Sequence[ObjectModel]) -> dict[str, float]:
    """Other units that all models may be in, each with the factor it differs by."""
    taken = {m.unit for m in models}
    if len(taken) > 1:
        return {}
    (unit,) = taken
    fitting = [other_units(unit, m.diameter) for m in models]
    return {u: f for u, f in fitting[0].items() if all(u in other for other in fitting)}


def _blames_depth(
    check: ScaleCheck,
    stated: float,
    dataset: Recording | None,
    frames: Sequence[Frame],
    models: Sequence[ObjectModel],
    middle_m: float,
) -> bool:
    if dataset is not None and _labels_support(dataset, frames, models):
        return False
    low, high = _SCENE_M
    plausible = low <= middle_m <= high
    if plausible and check.mesh_unit and any(m.guessed_unit for m in models):
        return False
    there = middle_m * check.metres_per_unit / stated
    return abs(math.log(there / _USUAL_M)) < abs(math.log(middle_m / _USUAL_M))


def _labels_support(
    dataset: Recording, frames: Sequence[Frame], models: Sequence[ObjectModel]
) -> bool:
    """Whether depth where labels say objects are is what their poses say."""
    by_id = {m.object_id: m for m in models}
    ratios = []
    for frame in frames:
        try:
            truth = dataset.truth(dataset.index(frame.image_id, frame.scene_id))
        except InputError:
            continue  # told by `examine_labels`
        for label in truth:
            model, t = by_id.get(label.object_id), label.pose.t_m2c
            if model is None or frame.depth_m is None or t[2] <= 0:
                continue
            if np.linalg.norm(model.extents.mean(0)) > model.diameter / 2:
                continue  # its origin is not where it is seen
            x, y, _ = frame.camera.K @ (t / t[2])
            h, w = frame.depth_m.shape
            if 2 <= x < w - 2 and 2 <= y < h - 2:
                near = frame.depth_m[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3]
                ratios += [float(np.median(near[near > 0]) / t[2])] if (near > 0).any() else []
    return len(ratios) >= 3 and 0.6 < float(np.median(ratios)) < 1.5


def _add_mesh_unit(report: DoctorReport, check: ScaleCheck, models: Sequence[ObjectModel]) -> None:
    guessed = next((m.guessed_unit for m in models if m.guessed_unit), None)
    sizes = ", ".join(f"{1000 * m.diameter:.0f}" for m in models[:3])
    read = (
        f"guessed to be in {guessed}"
        if guessed
        else f"read in {models[0].unit}, as named or stated"
    )
    report.findings.append(
        Finding(
            "mesh-unit",
            "error" if guessed else "warning",
            f"CAD models, {read}, measure {sizes} mm but look like {check.mesh_unit}: "
            f"{100 * check.mesh_share:.0f} % of the frames then show things of their size, "
            f"{100 * check.share:.0f} % as it stands",
            str(report.models_path or models[0].source or ""),
            f"Name the unit: --unit {check.mesh_unit}, or --unit {guessed} if the guess is right: "
            "the depth scale is wrong then."
            if guessed
            else f"If so, name --unit {check.mesh_unit}, or correct the diameters where a "
            "models_info.json states them.",
        )
    )
