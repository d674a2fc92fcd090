"""Pictures of what stage 1 would train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from self6d.files import check_new
from self6d.geometry import Camera
from self6d.jobs.pictures import write_picture
from self6d.jobs.prepare import resolve_camera, resolve_device
from self6d.run_config import build_config
from self6d.runs.load_network import (
    Paths,
    load_given_models,
)
from self6d.stage1.recorded_ranges import with_recorded_ranges


def synth_preview(
    models: Paths,
    out: str | Path,
    *,
    images: int = 12,
    **choices: Any,
) -> Path:
    """Write a contact sheet (PNG) of the images that stage 1 would train on.

    Args:
        choices: as `synthetic_sheet`.

    Raises:
        InputError: the file exists, or models, camera or configuration cannot be used.
    """
    out = Path(out)
    check_new(out)
    columns = max(1, round(images**0.5))
    write_picture(out, synthetic_sheet(models, images=images, columns=columns, **choices))
    return out


def synthetic_sheet(
    models: Paths,
    *,
    preset: str | Path = "standard",
    camera: Camera | str | Path | None = None,
    images: int = 12,
    columns: int = 4,
    seed: int = 0,
    device: str = "auto",
    overrides: dict[str, Any] | list[str] | None = None,
) -> np.ndarray:
    """Images that stage 1 would train on, side by side, (H, W, 3) uint8.

    Raises:
        InputError: models, camera or configuration cannot be used.
    """
    from self6d.synthesis import SceneMaker, gallery, scaled_camera

    asked = build_config(preset, overrides, stage=1)
    objects = load_given_models(models, asked.models.unit)
    config, _ = with_recorded_ranges(
        asked.synthesis.for_instances(asked.network.instances), camera, objects
    )
    view = scaled_camera(resolve_camera(camera), config.height)
    maker = SceneMaker(objects, view, config, resolve_device(device))
    return gallery(maker.make(images, seed, 0), columns=columns, images=images)
