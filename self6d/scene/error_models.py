"""What pose errors are taken on: BOP's models_eval, where the recording has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from self6d.scene.mesh import ObjectModel
from self6d.scene.mesh_io import load_models
from self6d.scene.models_info import read_models_info

_ALIKE = 0.1  # of the diameter: how far the corners of one object's two boxes may lie apart


def error_models(
    folder: Path | None, models: Sequence[ObjectModel]
) -> tuple[list[ObjectModel], str]:
    """The set's models_eval of some objects, and a remark that says so.

    Args:
        folder: models_eval; None: the set has none.
        models: the objects, as they are drawn; kept where models_eval lacks one.

    Returns:
        a model each, and the remark; "" without a folder.

    Raises:
        InputError: models_eval cannot be read.
    """
    if folder is None:
        return list(models), ""
    stated = read_models_info(folder)
    found = {model.object_id: model for model in load_models(folder, drawn=False)}
    chosen, missing, other = [], [], []
    for model in models:
        measured = found.get(model.object_id)
        if measured is None:
            missing.append(str(model.object_id))
            measured = model
        elif model.object_id not in stated:
            measured = replace(measured, diameter=model.diameter, symmetry=model.symmetry)
        if np.abs(measured.extents - model.extents).max() > _ALIKE * model.diameter:
            other.append(str(model.object_id))
        chosen.append(measured)
    remark = "errors on models_eval"
    if missing:
        remark += f", but of object {', '.join(missing)}, which it lacks, on the model drawn"
    if other:
        remark += f"; of object {', '.join(other)} it shows another shape than the model drawn"
    return chosen, remark
