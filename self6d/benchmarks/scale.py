"""What more work costs: faces, images, objects in one network, frames of a recording."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from self6d.benchmarks.predict import network_times
from self6d.benchmarks.render import bench_render
from self6d.benchmarks.timer import Timer, device_name
from self6d.datasets import open_dataset
from self6d.engine.schedule import TrainConfig
from self6d.errors import InputError
from self6d.evaluation.figures import PALETTE, as_png, axes_of
from self6d.files import read_json
from self6d.jobs.prepare import resolve_device
from self6d.network import NetworkConfig, PoseNetwork
from self6d.stage1.task import SyntheticTask
from self6d.synthesis import SynthesisConfig
from self6d.synthesis.shapes.generated import generated_models

PARTS = ("faces", "batch", "objects", "frames")
FACES = (980, 5120, 20480, 81920, 327680)
BATCHES = {"cuda": (1, 4, 16, 64, 256), "cpu": (1, 2, 4, 8, 16)}
OBJECTS = (1, 8, 21, 100)
FRAMES = (100, 1000, 10_000, 100_000)
LINKS = 50_000  # to one file; ext4 has 65000 at most


@dataclass(frozen=True)
class Cost:
    """One measurement.

    Attributes:
        part: what grows. what: what is measured. work: how much of it, such as 8 objects.
        ms: time. mb: memory: of a GPU the most that was allocated, of opening a recording the most
            that Python held; None where it says nothing.
        growth: log of the ratio of times over log of the ratio of work, from the row before: 1 is
            linear, 0 costs nothing; None for the first.
        device: where.
    """

    part: str
    what: str
    work: int
    ms: float
    mb: float | None
    growth: float | None
    device: str


def read_costs(path: str | Path, parts: Sequence[str] = PARTS) -> list[dict]:
    """What `bench scale --json` wrote, of `parts`.

    Raises:
        InputError: the file is no such table, or holds none of these parts.
    """
    names = {field.name for field in fields(Cost)}
    rows = read_json(path, "measurements", list)
    if not all(isinstance(row, dict) and names <= row.keys() for row in rows):
        raise InputError(
            "holds no costs", path=path, remedy="Name a file that bench scale --json wrote."
        )
    if not (found := [row for row in rows if row["part"] in parts]):
        raise InputError(
            f"holds no costs of {', '.join(parts)}", path=path, remedy="Measure them: no --read."
        )
    return found


def bench_scale(
    parts: Sequence[str] = PARTS,
    *,
    device: str | torch.device = "auto",
    preset: str = "standard",
    height: int = 480,
    quick: bool = False,
    listener: Callable[[Cost], None] | None = None,
) -> list[dict]:
    """Measure cost against work; nothing is kept.

    Args:
        parts: of `PARTS`. "faces" and "batch": colour, depth and soft mask of a bumpy sphere at
            256x256, backward to the pose. "objects": networks of so many generated shapes,
            untrained: prediction of one image with a place for each object ("graph" on a GPU,
            "eager" else), and a training step, images made. "frames": opening a recording of so
            many frames up to its first picture; the images are links to one.
        preset: of the networks. height: of their images, pixels, 4:3.
        quick: fewer repeats, and none of the two largest sizes.
        listener: told each row as it is done.

    Returns:
        `Cost`s as plain data, part by part.
    """
    device = resolve_device(device)
    makers = {
        "faces": lambda: _faces(device, quick),
        "batch": lambda: _batches(device, quick),
        "objects": lambda: _objects(device, preset, height, quick),
        "frames": lambda: _frames(quick),
    }
    rows: list[Cost] = []
    before: dict[tuple[str, str], Cost] = {}
    for part in parts:
        for cost in makers[part]():
            last = before.get((part, cost.what))
            if last is not None:
                growth = math.log(cost.ms / last.ms) / math.log(cost.work / last.work)
                cost = replace(cost, growth=growth)
            before[part, cost.what] = cost
            rows.append(cost)
            if listener is not None:
                listener(cost)
    return [asdict(cost) for cost in rows]


def _sizes(sizes: Sequence[int], quick: bool) -> Sequence[int]:
    return sizes[:-2] if quick else sizes


def _faces(device: torch.device, quick: bool) -> Iterator[Cost]:
    batch = 32 if device.type == "cuda" else 1
    for faces in _sizes(FACES, quick):
        yield _rendered("faces", f"render, batch {batch}", faces, batch, device, quick)


def _batches(device: torch.device, quick: bool) -> Iterator[Cost]:
    for batch in _sizes(BATCHES[device.type], quick):
        yield _rendered("batch", "render, 20480 faces", 20480, batch, device, quick)


def _rendered(
    part: str, what: str, faces: int, batch: int, device: torch.device, quick: bool
) -> Cost:
    case = (faces, batch, 256, 256)
    (row,) = bench_render(device.type, repeats=5 if quick else 15, cases=[case])
    on_gpu = device.type == "cuda"
    return Cost(
        part, what, row["faces"] if part == "faces" else batch, row["forward_backward_ms"],
        row["peak_mb"] if on_gpu else None, None, device_name(device),
    )  # fmt: skip


def _objects(device: torch.device, preset: str, height: int, quick: bool) -> Iterator[Cost]:
    """Prediction and a training step of networks that know more and more things."""
    every = generated_models(OBJECTS[-1])
    config = NetworkConfig.preset(preset)
    config.weights = config.crop_weights = "none"
    repeats, steps = (3, 2) if quick else (15, 10)
    for count in _sizes(OBJECTS, quick):
        models = every[:count]
        torch.manual_seed(0)
        network = PoseNetwork(config, models).eval().to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _reset_peak(device)
        (form, times), *_ = network_times(network, device, (height, height * 4 // 3), repeats)
        name = f"predict, {form}"
        yield Cost("objects", name, count, min(times), _peak_mb(device), None, device_name(device))
        del network
        yield _training_step(config, models, height, device, steps)


def _training_step(
    config: NetworkConfig, models: Sequence, height: int, device: torch.device, steps: int
) -> Cost:
    """A step of stage 1, not compiled: compiling would be most of the time."""
    batch = 32 if device.type == "cuda" else 2
    train = TrainConfig(batch=batch, validate_every=0, compile="off")
    scenes = SynthesisConfig(
        height=height, background_pool=16
    )  # more take long to paint and cost nothing later
    task = SyntheticTask(models, None, config, scenes, train, device=device)
    timer = Timer(device)
    for i in range(2):
        task.step(i)
    _reset_peak(device)
    began = timer.now()
    for i in range(2, 2 + steps):
        task.step(i)
    ms = 1000 * (timer.now() - began) / steps
    peak = _peak_mb(device)
    name = f"train, batch {batch}"
    return Cost("objects", name, len(models), ms, peak, None, device_name(device))


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mb(device: torch.device) -> float | None:
    on_gpu = device.type == "cuda"
    return torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None


def _frames(quick: bool) -> Iterator[Cost]:
    """Opening longer and longer BOP recordings."""
    with tempfile.TemporaryDirectory(prefix="self6d-scale-") as folder:
        for count in _sizes(FRAMES, quick):
            scene = Path(folder, f"{count}", "test", "000001")
            write_linked(scene, count)
            times = []
            for _ in range(3):
                began = time.perf_counter()
                open_dataset(scene.parent.parent).frame(0)
                times.append(1000 * (time.perf_counter() - began))
            tracemalloc.start()
            open_dataset(scene.parent.parent).frame(0)
            mb = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            yield Cost("frames", "open, first picture", count, min(times), mb, None, "CPU")


def write_linked(scene: Path, count: int) -> None:
    """A BOP scene of `count` frames with colour, depth and one label, whose images are one."""
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    images = {"rgb": ("jpg", pixels), "depth": ("png", pixels[..., 0].astype(np.uint16) + 600)}
    for name, (suffix, image) in images.items():
        (scene / name).mkdir(parents=True)
        first = scene / name / f"{0:06d}.{suffix}"
        first.write_bytes(cv2.imencode(f".{suffix}", image)[1].tobytes())
        for number in range(1, count):
            image_file = scene / name / f"{number:06d}.{suffix}"
            if number % LINKS:
                os.link(first, image_file)
            else:
                first = Path(shutil.copy(first, image_file))
    camera = {"cam_K": [572.4, 0, 325.3, 0, 573.6, 242.0, 0, 0, 1], "depth_scale": 1.0}
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 700], "obj_id": 1}
    for name, entry in (("scene_camera.json", camera), ("scene_gt.json", [pose])):
        text = json.dumps(entry)
        rows = ",\n".join(f'  "{number}": {text}' for number in range(count))
        (scene / name).write_text(f"{{\n{rows}\n}}\n")


def scale_figure(rows: Sequence[dict]) -> bytes:
    """Time against work, both logarithmic, an axis a part; a PNG file.

    Args:
        rows: of `bench_scale`.
    """
    parts = list(dict.fromkeys(row["part"] for row in rows))
    figure, axes = axes_of(len(parts))
    for axis, part in zip(axes, parts, strict=False):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row["part"] == part:
                lines.setdefault(row["what"], []).append((row["work"], row["ms"]))
        for (what, points), color in zip(lines.items(), PALETTE, strict=False):
            work, ms = np.array(points).T
            axis.plot(work, ms, color=color, marker="o", markersize=3, label=what)
            axis.plot(work, ms[0] * work / work[0], color=color, linewidth=0.6, linestyle=":")
        axis.set(xscale="log", yscale="log", xlabel=part, ylabel="ms")
        axis.legend(frameon=False, fontsize=7)
    return as_png(figure)
