"""How many images a second are evaluated, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from self6d.benchmarks.timer import Stopwatch, Timer, device_name
from self6d.datasets import open_dataset
from self6d.datasets.splits import default_split, some_frames
from self6d.evaluation import protocols
from self6d.evaluation.predictions import NetworkPredictor
from self6d.jobs.prepare import resolve_device
from self6d.runs.load_network import load_network
from self6d.scene.error_models import error_models


def bench_evaluate(
    data: str | Path,
    from_run: str | Path,
    *,
    frames: int = 100,
    bop: bool = False,
    device: str | torch.device = "auto",
) -> list[dict[str, Any]]:
    """Time an evaluation as `evaluate` does it, without its files.

    Args:
        data: recording with labels, of which the split "eval" is taken if it has one.
        frames: most of its frames used, evenly spread.
        bop: also VSD, MSSD, MSPD.

    Returns:
        rows of {"network", "stage", "ms" (an image), "images_per_s", "frames", "objects" (that the
        network knows), "device"}. "network" says how many images it looks at together; on a GPU one
        by one is timed too, last. "first" is the whole evaluation with all that is made once
        (kernels, graphs), "again" the same once more, in which prediction is waited for: of it
        "read" (images and labels) runs in threads beside it, "score" (comparing with truth) in
        threads after each group of images, both sums over all threads; "table" (errors and
        averages) comes last.

    Raises:
        InputError: no labels, or unusable data. CheckpointError: no network in the run.
    """
    device = resolve_device(device)
    recording = open_dataset(data)
    chosen = some_frames(recording, default_split(recording, None, "eval"))
    chosen = some_frames(chosen, None, min(1.0, frames / len(chosen)))
    trained = load_network(from_run, device=device)
    measured, _ = error_models(recording.models_eval_path, trained.models)
    timer, rows = Timer(device), []
    for batch in (None, 1) if device.type == "cuda" else (None,):
        predictor = NetworkPredictor(trained.network, device, batch=batch)

        def work(predictor: NetworkPredictor = predictor) -> None:
            protocols.evaluate(chosen, trained.models, predictor, bop=bop, error_models=measured)

        times = {"first": timer.ms(work)}
        here, there = Stopwatch(Timer(torch.device("cpu"))), Stopwatch(timer)
        here.watch(chosen, "frame", "read")
        here.watch(chosen, "truth", "read")
        there.watch(predictor, "on_frames", "predict")
        here.watch(protocols, "_sights", "score")
        here.watch(protocols, "_score", "table")
        try:
            times["again"] = timer.ms(work)
        finally:
            here.release()
            there.release()
        spent = here.seconds | there.seconds
        times |= {name: 1000 * spent[name] for name in ("read", "predict", "score", "table")}
        rows += [
            {
                "network": f"{predictor.batch} together",
                "stage": stage,
                "ms": ms / len(chosen),
                "images_per_s": 1000 * len(chosen) / max(ms, 1e-9),
                "frames": len(chosen),
                "objects": len(trained.network.object_ids),
                "device": device_name(device),
            }
            for stage, ms in times.items()
        ]
    return rows
