"""Configuration forms, predictions and scores for the window."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from studio.engine.types import FormField, PoseData
from studio.jobs.run_info import checkpoint_file, network_key

SCORE = 0.3  # detections less sure than this are not shown
KEPT = 3  # networks
SECTIONS = {
    "train": ("train", "synthesis", "network", "loop"),
    "adapt": ("loss", "adapt", "loop"),
    "optimize": ("loss", "optimize"),
}


def describe(kind: str, preset: str | None) -> list[FormField]:
    """Fields that a kind of run reads, with the preset's values."""
    from self6d import config
    from self6d.run_config import build_config

    return [
        FormField(
            f.key, f.kind.__name__, f.optional, f.value, f.doc, f.minimum, f.maximum, f.choices
        )
        for f in config.describe(build_config(preset))
        if f.key.split(".")[0] in SECTIONS[kind]
    ]


class Networks:
    """The networks used last, kept loaded: two that are compared need not take turns to load."""

    def __init__(self) -> None:
        self._predictors: OrderedDict[tuple[str, str, int], Any] = OrderedDict()

    def predict(self, run: str, frame: Any, step: int | None = None) -> tuple[int, list[PoseData]]:
        """Step of the checkpoint, and poses from colours and K alone: by object, best score first.

        Args:
            step: of the checkpoint to use; None is the run's best.

        Raises:
            CheckpointError: that checkpoint is gone or damaged.
        """
        from self6d.evaluation.predictions import NetworkPredictor
        from self6d.runs.folder import RunFolder
        from self6d.runs.load_network import load_network

        best_one = RunFolder.open(run).best_checkpoint()
        checkpoint = best_one if step is None else checkpoint_file(Path(run), step)
        key = network_key(run, checkpoint)
        if key not in self._predictors:
            network = load_network(run, checkpoint=checkpoint).network
            self._predictors[key] = NetworkPredictor(network, score_threshold=SCORE, masks=False)
        self._predictors.move_to_end(key)
        while len(self._predictors) > KEPT:
            self._predictors.popitem(last=False)
        predictor = self._predictors[key]
        found = [PoseData(p.object_id, p.R, p.t, float(p.score)) for p in predictor(frame)]
        at = int(Path(str(checkpoint)).stem.removeprefix("step_"))
        return at, sorted(found, key=lambda p: (p.object_id, -p.score))
