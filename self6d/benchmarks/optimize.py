"""How long the single-image optimiser takes, on one frame or on many at once."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from self6d.benchmarks.timer import Timer, device_name
from self6d.datasets import Recording, open_dataset
from self6d.errors import InputError
from self6d.jobs.prepare import Changes, changes_of, resolve_device
from self6d.losses.objective import SelfSupervision
from self6d.network import PoseNetwork
from self6d.network.outputs import Detections
from self6d.refinement.optimizer import PoseOptimiser
from self6d.refinement.refine import problem_of_detections
from self6d.refinement.starts import with_starts
from self6d.rendering import pack_models
from self6d.rng import step_generator
from self6d.run_config import build_config
from self6d.runs.load_network import load_network
from self6d.scene.batch import FrameBatch


def bench_optimize(
    data: str | Path,
    from_run: str | Path,
    *,
    frames: int = 1,
    steps: int | None = None,
    repeats: int = 3,
    preset: str | Path = "self6d-paper",
    overrides: Changes = None,
    device: str | torch.device = "auto",
) -> list[dict[str, Any]]:
    """Time the optimiser alone: one object's pose in each frame, all frames as one batch.

    The network gives its best detection of each frame, however unsure. The optimiser is made and
    run anew for every repeat, so that on a GPU capturing its graph counts.

    Args:
        data: recording with depth. from_run: run whose network gives start poses and masks.
        frames: how many; those of a shorter recording are repeated.
        steps: instead of the preset's. repeats: runs timed, after one that is not.
        preset, overrides: [loss] and [optimize], as `self6d-studio optimize` takes them.

    Returns:
        one row: "frames", "starts" (poses optimised, see `plausible_starts`), "steps", "seconds"
        (median), "s_per_frame", "ms_per_step", "first_step_ms" (on a GPU the graph is captured in
        it), "terms" (names of those with a weight), "device".

    Raises:
        InputError: no or different frames, or a setting that cannot be. CheckpointError: no network
            in the run.
    """
    device = resolve_device(device)
    built = build_config(preset, changes_of(overrides, {"optimize.steps": steps}))
    config, objective = built.optimize, SelfSupervision(built.loss, device)
    trained = load_network(from_run, device=device)
    models = pack_models(trained.models, device)
    sensor = _sensor(open_dataset(data), frames, device)
    detections = _best_of_each(trained.network, sensor)
    problem = problem_of_detections(sensor, detections, models, objective, config)
    tried = with_starts(problem, step_generator(0, 0))
    timer = Timer(device)
    whole, first = [], []
    for _ in range(1 + repeats):
        optimiser = PoseOptimiser(tried)
        marks = [timer.now()]

        def mark(done: int, marks: list[float] = marks) -> bool:
            if done == 1:
                marks.append(timer.now())
            return True

        optimiser.run(mark)
        whole.append(timer.now() - marks[0])
        first.append(1000 * (marks[1] - marks[0]))
    seconds = statistics.median(whole[1:])
    return [
        {
            "frames": frames,
            "starts": len(tried),
            "steps": config.steps,
            "seconds": seconds,
            "s_per_frame": seconds / frames,
            "ms_per_step": 1000 * seconds / config.steps,
            "first_step_ms": statistics.median(first[1:]),
            "terms": " ".join(k for k, weight in objective.weights.items() if weight > 0),
            "device": device_name(device),
        }
    ]


def _sensor(recording: Recording, count: int, device: torch.device) -> FrameBatch:
    """The first frames of a recording, those of a shorter one again and again."""
    some = [recording.frame(i) for i in range(min(count, len(recording)))]
    if len({(frame.camera.size, frame.depth_m is None) for frame in some}) != 1:
        raise InputError(
            f"its first {count} frames differ in size or some lack depth",
            path=recording.root,
            remedy="Time fewer frames with --frames.",
        )
    return FrameBatch.of([some[i % len(some)] for i in range(count)], device)


def _best_of_each(network: PoseNetwork, sensor: FrameBatch) -> Detections:
    """The surest detection of each image; one image at a time, as memory is bounded."""
    parts = []
    for i in range(len(sensor.images)):
        here = slice(i, i + 1)
        detections = network.predict(
            sensor.images[here], sensor.K[here], score_threshold=-1.0, max_per_image=1
        )
        parts.append(replace(detections, image_index=detections.image_index + i))
    return Detections.cat(parts)
