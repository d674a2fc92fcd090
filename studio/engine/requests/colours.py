"""The recording's colours on the CAD models, and a picture of before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self6d.events import Event, count_listener
from self6d.recolouring import recolour
from self6d.rendering import pack_models, render
from self6d.scene import ObjectModel
from self6d.scene.mesh_io import load_models
from studio.engine.requests.stopping import stop_where_asked
from studio.engine.types import ColoursTaken, ModelFiles

SIDE = 112  # pixels of a view
VIEWS = (0.6, 0.6 + np.pi)  # radians about the object's vertical: a side and the one behind it
TILT = -2.0
MOST = 6  # objects shown
PAPER = 225


def take_colours(
    data: str, poses: str, models: ModelFiles, out: str, partial: Callable[[Any], None],
    stop_file: str | None = None,
) -> ColoursTaken:  # fmt: skip
    """Write coloured models, reporting (done, total) frames; see `self6d.recolouring.recolour`.

    Raises:
        Cancelled: `stop_file` came meanwhile; nothing is written.
    """
    paths, count = [Path(path) for path in models.paths], count_listener(partial)

    def listen(event: Event) -> None:
        stop_where_asked(stop_file)
        count(event)

    report = recolour(data, poses, paths, out, unit=models.unit, listener=listen)
    before = load_models(paths[0] if len(paths) == 1 else paths, models.unit, drawn=False)
    return ColoursTaken(out, tuple(report.lines()), before_after(before, report.models))


def before_after(before: Sequence[ObjectModel], after: Sequence[ObjectModel]) -> np.ndarray:
    """A row an object: two sides before, the same after; (rows, 4 SIDE, 3) uint8."""
    rows = []
    for pair in list(zip(before, after, strict=True))[:MOST]:
        rows.append(np.concatenate([view for model in pair for view in _views(model)], axis=1))
    return np.concatenate(rows)


def _views(model: ObjectModel) -> list[np.ndarray]:
    """(SIDE, SIDE, 3) uint8 each."""
    c, s = np.cos(TILT), np.sin(TILT)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turns = [
        np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in VIEWS
    ]
    R = np.stack([tilt @ turn for turn in turns])
    t = np.array([0, 0, 2 * model.diameter]) - R @ model.extents.mean(0)
    K = np.array([[1.9 * SIDE, 0, SIDE / 2], [0, 1.9 * SIDE, SIDE / 2], [0, 0, 1]])
    R_m2c, t_m2c, camera = (torch.tensor(x, dtype=torch.float32) for x in (R, t, K))
    drawn = render(
        R_m2c, t_m2c, camera, pack_models([model]), (SIDE, SIDE),
        object_index=torch.zeros(len(R), dtype=torch.int32), soft_mask=False,
        near_m=model.diameter / 10,
    )  # fmt: skip
    rgb = (drawn.rgb.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()
    return list(np.where(drawn.covered.numpy()[..., None], rgb, np.uint8(PAPER)))
