"""How long the network's whole prediction takes: image and K in, poses and masks out."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from self6d.benchmarks.timer import Timer, device_name
from self6d.geometry import Camera
from self6d.jobs.prepare import resolve_device
from self6d.network import PoseNetwork
from self6d.network.captured import CapturedForward
from self6d.packaging import load_package
from self6d.runs.load_network import load_network
from self6d.scene import Frame
from self6d.scene.batch import FrameBatch

WARM = 3  # predictions before timing


def bench_predict(
    source: str | Path,
    *,
    device: str | torch.device = "auto",
    size: tuple[int, int] = (480, 640),
    repeats: int = 30,
    views: int | None = None,
) -> list[dict[str, Any]]:
    """Time the prediction of one image: boxes, masks and poses of all objects of a network.

    Args:
        source: run, or folder that `export` wrote.
        size: (height, width) of the image.
        repeats: predictions timed, after a few that are not.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: as configured.

    Returns:
        rows of {"form", "ms" (median), "fastest_ms", "images_per_s", "objects", "views", "height",
        "width", "device"}: "eager" and, on a GPU, "graph" (replayed, the copy of the inputs
        included). The image is on the device already.

    Raises:
        CheckpointError, InputError: the network cannot be read.
    """
    device = resolve_device(device)
    network = _network(Path(source), device)
    if views is not None:
        network.config = replace(network.config, views=views)
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    f = float(max(size))
    camera = Camera(np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]), width, height)
    batch = FrameBatch.of([Frame(pixels, None, camera)], device)
    images, K = batch.images, batch.K
    forms = {"eager": network.forward_export}
    if device.type == "cuda":
        forms["graph"] = CapturedForward(network)
    timer = Timer(device)
    rows = []
    for form, forward in forms.items():
        with torch.no_grad():
            work = partial(forward, images, K)
            times = [timer.ms(work) for _ in range(WARM + repeats)][WARM:]
        ms = statistics.median(times)
        rows.append(
            {
                "form": form,
                "ms": ms,
                "fastest_ms": min(times),
                "images_per_s": 1000 / ms,
                "objects": len(network.object_ids),
                "views": network.config.views,
                "height": height,
                "width": width,
                "device": device_name(device),
            }
        )
    return rows


def _network(source: Path, device: torch.device) -> PoseNetwork:
    if (source / "model.json").is_file():
        return load_package(source, device).network
    return load_network(source, device=device).network
