"""The recording's own colours on its CAD models: a new folder of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch

from self6d.arguments import checked
from self6d.config_fields import Limits
from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.errors import from_os_error
from self6d.events import Listener, Note
from self6d.files import check_free
from self6d.recolouring.fuse import FuseOptions
from self6d.recolouring.models import RecolourReport, recolour_models
from self6d.recolouring.poses import read_poses
from self6d.runs.load_network import Paths, models_of_track
from self6d.runs.provenance import absolute
from self6d.scene.models_copy import save_models
from self6d.scene.units import check_unit
from self6d.storage import whole_folder

FILE = "recolour.json"  # beside the models: where their colours are from


@checked
def recolour(
    data: str | Path,
    poses: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    confidence: Annotated[float, Limits(0, 1)] = 0.8,
    unit: str = "auto",
    options: FuseOptions | None = None,
    device: torch.device | str = "cpu",
    listener: Listener | None = None,
) -> RecolourReport:
    """Write models with the colours that a recording shows, as a folder for `--models`.

    Args:
        data: the recording. Its labels cannot be reached from here on.
        poses: poses.json of a track, a run that has one, or a run of `adapt` with pseudo-poses
            (such as `self6d-plus`), of which those it selected in this recording are taken.
        models: CAD files; None: the run's own copy, else the recording's.
        out: folder to make: a PLY with vertex colours a model, in millimetres, under its old file
            name, models_info.json, and recolour.json, which says where the colours are from.
        confidence: poses of a track below it give no colour.
        unit: of the CAD files, see `load_models`. options: see `recolour_models`.

    Returns:
        what was seen of each object and what was filled in.

    Raises:
        InputError: `out` is not empty; no pose is sure enough; poses of another recording or of
            objects without a model; nothing is seen clearly. StorageError: `out` cannot be written.
    """
    check_unit(unit)
    out = Path(out)
    check_free(out)
    recording = open_dataset(data)
    objects = models_of_track(models, poses, recording, unit)
    used = read_poses(poses, recording, objects, confidence)
    if listener is not None:
        listener(Note("info", used.source))
    frames = UnlabelledFrames(recording)
    report = recolour_models(
        frames, used.accepted, objects,
        doubtful=used.doubtful, options=options, device=device, listener=listener,
    )  # fmt: skip
    table = {
        "data": absolute(data), "poses": absolute(poses), "poses_are": used.source,
    } | report.table()  # fmt: skip
    try:
        with whole_folder(out) as part:
            save_models(report.models, part, keep_names=True)
            (part / FILE).write_text(json.dumps(table, indent=1) + "\n")
    except OSError as error:
        raise from_os_error(error, out) from error
    return report
