"""The doctor's look at CAD models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from self6d.doctor.report import DoctorReport, Finding
from self6d.doctor.twins import REMEDY, twins
from self6d.scene import ObjectModel, Symmetry
from self6d.scene.symmetry import find_symmetry

_MANY_FACES = 300_000
_OFF_CENTRE = 0.25  # of the diameter


def examine_model(report: DoctorReport, model: ObjectModel) -> None:
    """Add a model's table and findings to the report."""
    path = "" if model.source is None else str(model.source)
    found = find_symmetry(model)
    color = "texture" if model.texture is not None else "vertex colours"
    report.models.append(
        {
            "object_id": model.object_id,
            "name": model.name,
            "diameter_m": model.diameter,
            "vertices": len(model.vertices),
            "faces": len(model.faces),
            "color": color if model.has_color else "no colour",
            "symmetry": describe(model.symmetry),
            "symmetry_found": describe(found.looks),
            "symmetry_of_shape": describe(found.shape),
        }
    )
    label = f"model {model.object_id} ({model.name})"
    _centre(report, model, label, path)
    _symmetry(report, model, found.looks, found.shape, label, path)
    if not model.has_color:
        report.findings.append(
            Finding(
                "no-colour",
                "warning",
                f"{label} has no colour, so the network must learn it by shape alone",
                path,
                "Export it with vertex colours or a texture, or turn the colour terms down.",
            )
        )
    if len(model.faces) > _MANY_FACES:
        report.findings.append(
            Finding(
                "many-faces",
                "info",
                f"{label} has {len(model.faces)} faces; rendering will be slow",
                path,
                "Reduce it to some 20 000 faces.",
            )
        )


def examine_twins(report: DoctorReport, models: Sequence[ObjectModel]) -> None:
    """Add what is said of models that are alike."""
    for pair in twins(models):
        report.findings.append(
            Finding(
                "twins",
                "warning" if pair.looks else "info",
                str(pair),
                "" if pair.second.source is None else str(pair.second.source),
                f"{REMEDY}." if pair.looks else "Keep the colour terms on.",
            )
        )


def _centre(report: DoctorReport, model: ObjectModel, label: str, path: str) -> None:
    offset = float(np.linalg.norm(model.extents.mean(0)))
    if offset > _OFF_CENTRE * model.diameter:
        report.findings.append(
            Finding(
                "off-centre",
                "info",
                f"{label} lies {100 * offset:.1f} cm from its own origin; poses are of that origin",
                path,
            )
        )


def _symmetry(
    report: DoctorReport,
    model: ObjectModel,
    looks: Symmetry,
    shape: Symmetry,
    label: str,
    path: str,
) -> None:
    if looks and not model.symmetry:
        report.findings.append(
            Finding(
                "symmetry",
                "warning",
                f"{label} looks symmetric ({describe(looks)}), which nothing states",
                path,
                "State it in models_info.json, so that ADD-S and symmetric losses apply.",
                {"object_id": model.object_id, "symmetry": _table(looks)},
            )
        )
    elif shape and not looks and not model.symmetry:
        report.findings.append(
            Finding(
                "shape-symmetry",
                "info",
                f"{label} is symmetric in shape ({describe(shape)}); its colours tell poses apart",
                path,
                "Keep the colour terms on: mask and geometry cannot tell these poses apart.",
            )
        )


def describe(symmetry: Symmetry) -> str:
    """A few words: "round about 1 axis, 1 discrete turn"; empty without symmetry."""
    words = []
    if len(symmetry.axes):
        words.append(f"round about {len(symmetry.axes)} axis" + "es" * (len(symmetry.axes) > 1))
    if len(symmetry.discrete):
        words.append(f"{len(symmetry.discrete)} discrete turn" + "s" * (len(symmetry.discrete) > 1))
    return ", ".join(words).replace("axises", "axes")


def _table(symmetry: Symmetry) -> dict[str, Any]:
    return {
        "discrete": symmetry.discrete.reshape(-1, 16).tolist(),
        "axes": symmetry.axes.tolist(),
        "offsets": symmetry.offsets.tolist(),
    }
