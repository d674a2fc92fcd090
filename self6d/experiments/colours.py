"""How near models, drawn at labelled poses, come to the colours of the frames they are seen in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from self6d.datasets import Recording, load_models, open_dataset
from self6d.datasets.splits import default_split
from self6d.errors import InputError
from self6d.events import Listener, Progress
from self6d.losses.color import rgb_to_lab
from self6d.rendering import pack_models, render
from self6d.scene import ObjectModel

LEAST_PIXELS = 50  # of an instance that counts


@dataclass(frozen=True)
class ColourDistance:
    """Of one object in one folder of models, means over the instances.

    Attributes:
        models: the folder. object_id: BOP object number. instances: how many counted.
        lab: mean distance in CIELAB over the visible pixels. chroma: of a and b alone.
    """

    models: str
    object_id: int
    instances: int
    lab: float
    chroma: float


def colour_distances(
    data: str | Path,
    folders: Sequence[str | Path],
    *,
    split: str | None = None,
    unit: str = "auto",
    listener: Listener | None = None,
) -> list[ColourDistance]:
    """Distances between unshaded renderings at labelled poses and frames, inside visible masks.

    The light of the frames is part of it: of the true paint, without any light, it is not 0.

    Args:
        data: recording with labels and masks. split: of it; None: "eval" where there is one.
        folders: folders or files of CAD models, each with the same objects.

    Raises:
        InputError: no labelled instance with a visible mask is large enough.
    """
    dataset = open_dataset(data)
    name = default_split(dataset, split, "eval")
    frames = dataset if name is None else dataset.split(name)
    rows = []
    for number, folder in enumerate(folders):
        found = _measured(
            frames, load_models(folder, unit, drawn=False), listener, number, len(folders)
        )
        for object_id, values in sorted(found.items()):
            lab, chroma = np.mean(values, axis=0).tolist()
            rows.append(ColourDistance(str(folder), object_id, len(values), lab, chroma))
    if not rows:
        raise InputError(
            "has no labelled instance with a visible mask", path=data, remedy="Name another split."
        )
    return rows


def _measured(
    frames: Recording,
    models: Sequence[ObjectModel],
    listener: Listener | None,
    number: int,
    count: int,
) -> dict[int, list[tuple[float, float]]]:
    """Object number -> (lab, chroma) of each instance."""
    place = {model.object_id: i for i, model in enumerate(models)}
    packed = pack_models(models)
    found: dict[int, list[tuple[float, float]]] = {}
    for index in range(len(frames)):
        frame = frames.frame(index, depth=False)
        seen = rgb_to_lab(torch.from_numpy(frame.rgb).permute(2, 0, 1) / 255)
        K = torch.tensor(frame.camera.K, dtype=torch.float32)
        for truth in frames.truth(index):
            mask = truth.mask_visible
            if truth.object_id not in place or mask is None:
                continue
            R, t = (
                torch.tensor(x[None], dtype=torch.float32)
                for x in (truth.pose.R_m2c, truth.pose.t_m2c)
            )
            which = torch.tensor([place[truth.object_id]])
            view = render(R, t, K, packed, frame.camera.size, object_index=which, soft_mask=False)
            shown = view.covered[0] & torch.from_numpy(mask)
            if int(shown.sum()) < LEAST_PIXELS:
                continue
            off = (rgb_to_lab(view.rgb[0]) - seen)[:, shown]
            values = (float(off.norm(dim=0).mean()), float(off[1:].norm(dim=0).mean()))
            found.setdefault(truth.object_id, []).append(values)
        if listener is not None:
            listener(Progress(number * len(frames) + index + 1, count * len(frames), None))
    return found
