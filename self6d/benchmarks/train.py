"""How many images a second a training on synthetic images makes and learns from, by stages."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from self6d.benchmarks.timer import Timer, device_name
from self6d.config import from_dict, load_preset
from self6d.datasets import load_models
from self6d.network import NetworkConfig
from self6d.paths import resource
from self6d.refinement.rgb.config import RefinerConfig
from self6d.stage1.refiner_task import RefinerTask
from self6d.stage1.task import SyntheticTask, TrainConfig
from self6d.stage1.training import SyntheticTraining
from self6d.synthesis import SynthesisConfig, augment
from self6d.synthesis.shapes.generated import generated_models

WARM = 5  # steps before timing: compilation, caches, memory pools


def bench_train(
    models: str | Path | Sequence[str | Path] | None = None,
    *,
    preset: str = "tiny",
    device: str = "auto",
    steps: int = 20,
    overrides: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Time stage 1, or the training of an RGB refiner.

    Args:
        models: CAD files or their folder; None: the sample's.
        preset: its synthesis, network or refiner, and train sections are used; whose training it is
            follows from its stage.
        device: "auto": CUDA if there is one.
        steps: how many are timed, after a few that are not.
        overrides: sections merged over the preset's, such as {"train": {"batch": 8}}.

    Returns:
        rows of {"stage", "ms" (of a batch), "images_per_s", "batch", "device"}: "make" (without
        camera effects), "augment", "forward", "backward", "update" (medians, one after the other),
        "step", all of them as training does it (mean), where making overlaps learning on CUDA, and
        "first steps", what the five before took together: compiling, caches, memory.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    config = load_preset(preset)
    for section, values in (overrides or {}).items():
        config[section] = {**config.get(section, {}), **values}
    task = _task(config, models, device)
    timer = Timer(task.device)
    first = timer.ms(lambda: [task.step(i) for i in range(WARM)])
    whole = timer.ms(lambda: [task.step(i) for i in range(steps)]) / steps
    rows = _stages(task, timer, steps)
    rows += [("step", [whole]), ("first steps", [first])]
    return [
        {
            "stage": stage,
            "ms": (ms := statistics.median(times)),
            "images_per_s": 1000 * task.batch_size * (WARM if stage == "first steps" else 1) / ms,
            "batch": task.batch_size,
            "device": device_name(task.device),
        }
        for stage, times in rows
    ]


def _task(
    config: dict[str, Any], models: str | Path | Sequence[str | Path] | None, device: str
) -> SyntheticTraining:
    """The task of a preset's stage."""
    unit = config.get("models", {}).get("unit", "auto")
    given = load_models(resource("sample/models") if models is None else models, unit)
    synthesis = from_dict(SynthesisConfig, config.get("synthesis", {}))
    train = from_dict(TrainConfig, {**config.get("train", {}), "validate_every": 0})
    if "refiner" not in config:
        network = from_dict(NetworkConfig, config.get("network", {}))
        return SyntheticTask(given, None, network, synthesis, train, device=device)
    refiner = from_dict(RefinerConfig, config.get("refiner", {}))
    given = [*given, *generated_models(refiner.generated, 0)]
    return RefinerTask(given, None, refiner, synthesis, train, device=device)


def _stages(task: SyntheticTraining, timer: Timer, steps: int) -> list[tuple[str, list[float]]]:
    """The parts of a step, timed apart."""
    n, maker = task.batch_size, task.maker
    times: dict[str, list[float]] = {}
    generator = torch.Generator(device=task.device).manual_seed(0)
    for i in range(steps):
        kept: dict[str, Any] = {}

        def make(i: int = i, kept: dict[str, Any] = kept) -> None:
            kept["batch"] = maker.make(n, 0, i, effects=False)

        def effects(i: int = i, kept: dict[str, Any] = kept) -> None:
            batch = kept["batch"]
            batch.images = augment(batch.images, i, task.synthesis.camera_effects)

        def forward(kept: dict[str, Any] = kept) -> None:
            task.network.train()
            with task.autocast():
                kept["loss"] = task.losses(kept["batch"], generator)["total"]

        def backward(kept: dict[str, Any] = kept) -> None:
            kept["loss"].backward()

        def update(kept: dict[str, Any] = kept) -> None:
            task.optimizer.step()
            task.average.update(0)
            task.optimizer.zero_grad(set_to_none=True)

        for stage in (make, effects, forward, backward, update):
            times.setdefault(stage.__name__, []).append(timer.ms(stage))
    times["augment"] = times.pop("effects")
    order = ("make", "augment", "forward", "backward", "update")
    return [(name, times[name]) for name in order]
