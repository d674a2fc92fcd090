"""How long the network's whole prediction takes: image and K in, poses and masks out."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from self6d.benchmarks.timer import Timer, device_name
from self6d.geometry import Camera
from self6d.jobs.prepare import resolve_device
from self6d.network import PoseNetwork
from self6d.network.captured import CapturedForward
from self6d.network.outputs import Detections
from self6d.packaging import load_package
from self6d.packaging.int8 import session
from self6d.refinement.rgb.refine import RgbRefined, RgbRefiner
from self6d.runs.load_network import load_network
from self6d.scene import Frame, ObjectModel
from self6d.scene.batch import FrameBatch

WARM = 3  # predictions before timing
Forward = Callable[[Tensor, Tensor], Any]


def bench_predict(
    source: str | Path,
    *,
    device: str | torch.device = "auto",
    size: tuple[int, int] = (480, 640),
    repeats: int = 30,
    views: int | None = None,
    refiner: str | Path | None = None,
    bfloat16: bool = False,
) -> list[dict[str, Any]]:
    """Time the prediction of one image: boxes, masks and poses of all objects of a network.

    Args:
        source: run, or folder that `export` wrote.
        size: (height, width) of the image.
        repeats: predictions timed, after a few that are not.
        views: boxes looked at per detection, see `NetworkConfig.views`; None: as configured.
        refiner: run, file or "shipped": also times how it moves one pose of each object, alone, by
            one look and by as many as it is configured for.
        bfloat16: also times the network converted to it, see `CapturedForward`.

    Returns:
        rows of {"form", "ms" (median), "fastest_ms", "images_per_s", "objects", "views", "height",
        "width", "device"}: "eager", every place for a detection looked at; on a CPU "found", as
        many detections as objects, which is what a package runs there; of a package exported for
        this size also "onnx" and "onnx, int8", on as many threads; on a GPU "graph" (replayed,
        the copy of the inputs included); "refiner, N looks", on a GPU as a graph and "eager". The
        image is on the device already.

    Raises:
        CheckpointError, InputError: the network or the refiner cannot be read.
    """
    device = resolve_device(device)
    network, models = _network(Path(source), device)
    if views is not None:
        network.config = replace(network.config, views=views)
    height, width = size
    rows = []
    forms: Iterable[tuple[str, Forward]] = _forms(network, models, device, refiner, bfloat16)
    if device.type == "cpu":
        forms = itertools.chain(forms, _onnx_forms(Path(source), size))
    for form, times in _times(forms, device, size, repeats):
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


def network_times(
    network: PoseNetwork, device: torch.device, size: tuple[int, int], repeats: int
) -> Iterator[tuple[str, list[float]]]:
    """The fixed form of a network, as a package runs it on the device: name, milliseconds."""
    form = "graph" if device.type == "cuda" else "eager"
    return _times([(form, CapturedForward(network))], device, size, repeats)


def _times(
    forms: Iterable[tuple[str, Forward]],
    device: torch.device,
    size: tuple[int, int],
    repeats: int,
) -> Iterator[tuple[str, list[float]]]:
    """Each form's name and times, milliseconds, on one image of noise."""
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    f = float(max(size))
    camera = Camera(np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]), width, height)
    batch = FrameBatch.of([Frame(pixels, None, camera)], device)
    timer = Timer(device)
    for form, forward in forms:
        with torch.no_grad():
            work = partial(forward, batch.images, batch.K)
            yield form, [timer.ms(work) for _ in range(WARM + repeats)][WARM:]


def _forms(
    network: PoseNetwork,
    models: list[ObjectModel],
    device: torch.device,
    refiner: str | Path | None,
    bfloat16: bool,
) -> Iterator[tuple[str, Forward]]:
    """What is timed, each made when its turn comes: the last ones convert the network."""
    yield "eager", network.forward_export
    if device.type == "cuda":
        yield "graph", CapturedForward(network)
    else:
        yield "found", partial(_found, CapturedForward(network))
    if refiner is not None:
        looker = RgbRefiner.load(refiner, models, device)
        for looks in sorted({1, looker.network.config.looks}):
            name = f"refiner, {looks} look{'s' * (looks > 1)}"
            if device.type == "cuda":
                looker.graph = False
                yield f"{name}, eager", partial(_refined, looker, looks)
                looker.graph = True
            yield name, partial(_refined, looker, looks)
    if bfloat16:
        converted = CapturedForward(network, bfloat16=True)
        if device.type == "cuda":
            yield "graph, bfloat16", converted
        else:
            yield "eager, bfloat16", converted
            yield "found, bfloat16", partial(_found, converted)


def _onnx_forms(package: Path, size: tuple[int, int]) -> Iterator[tuple[str, Forward]]:
    """What `export` wrote for ONNX runtimes, if it is there and for images of this size."""
    for form, name in (("onnx", "model.onnx"), ("onnx, int8", "model.int8.onnx")):
        if not (package / name).is_file():
            continue
        running = session(package / name)
        if tuple(running.get_inputs()[0].shape[2:]) == size:

            def run(images: Tensor, K: Tensor, running: Any = running) -> Any:
                return running.run(None, {"image": images.numpy(), "K": K.numpy()})

            yield form, run


def _found(forward: CapturedForward, images: Tensor, K: Tensor) -> Detections:
    """As many detections as there are objects, however unsure."""
    count = len(forward.network.object_ids)
    return forward.predict(images, K, score_threshold=-1.0, max_per_image=count)


def _refined(looker: RgbRefiner, looks: int, images: Tensor, K: Tensor) -> RgbRefined:
    """One pose of each object, in the middle of the image and three diameters away, refined."""
    diameter = looker.diameter
    count, nothing = len(diameter), torch.zeros_like(diameter)
    each = torch.arange(count, device=images.device)
    R = torch.eye(3, device=images.device).expand(count, 3, 3)
    t = torch.stack((nothing, nothing, 3 * diameter), 1)
    return looker.refine(images, K, torch.zeros_like(each), each, R, t, looks)


def _network(source: Path, device: torch.device) -> tuple[PoseNetwork, list[ObjectModel]]:
    """The network of a run or package, and its models in the order of `object_index`."""
    if not (source / "model.json").is_file():
        trained = load_network(source, device=device)
        return trained.network, trained.models
    package = load_package(source, device)
    return package.network, package.models
